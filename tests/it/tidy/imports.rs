//! Layers and import circles of `src`.

use std::collections::{BTreeMap, BTreeSet};

use super::sources::{Source, is_word, mentions, report, sources};

/// The modules of `src`; each may import only itself and those before it. `embedded` and
/// `compression` are independent of the rest, so that the embedded nsqd does not share a mistake
/// with the client.
const LAYERS: &[&str] = &[
    "protocol",
    "compression",
    "secret",
    "metrics",
    "error",
    "conn",
    "config",
    "link",
    "lookup",
    "admin",
    "runtime",
    "producer",
    "pool",
    "consumer",
    "handle",
    "testing",
];

/// Modules that import nothing of the crate but themselves, and these.
const INDEPENDENT: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("compression", &[]),
    ("secret", &[]),
    ("metrics", &[]),
    ("embedded", &["compression", "TlsVersion"]),
];

/// Modules that take bytes and times and return bytes and decisions: no actor, socket or clock.
const PURE: &[&str] = &[
    "src/protocol",
    "src/compression",
    "src/metrics",
    "src/producer/queue",
    "src/link/retry",
    "src/lookup/answer",
    "src/lookup/rounds",
    "src/pool/health",
    "src/pool/route",
    "src/consumer/backoff",
    "src/consumer/flow",
];

#[test]
fn module_imports_only_the_layers_before_it() {
    let order = |name: &str| LAYERS.iter().position(|layer| *layer == name);
    report(code(), |source| {
        let module = top_module(source);
        let mut found = Vec::new();
        for import in imports(source).iter().filter(|import| import[0] == "crate") {
            let Some(target) = import.get(1) else {
                continue;
            };
            let independent = INDEPENDENT.iter().find(|(name, _)| *name == module);
            let is_allowed = match independent {
                Some((_, allowed)) => *target == module || allowed.contains(&target.as_str()),
                None => match (order(&module), order(target)) {
                    (Some(module), Some(target)) => target <= module,
                    // The root of the crate re-exports, and `embedded` may be imported by tests
                    // only.
                    _ => module == "lib",
                },
            };
            if !is_allowed {
                found.push((1, format!("{module} must not import {}", import.join("::"))));
            }
        }
        found
    });
}

#[test]
fn every_module_has_its_layer() {
    report(sources(&["src"], "rs"), |source| {
        let module = top_module(source);
        let is_known = LAYERS.contains(&module.as_str()) || ["lib", "embedded"].contains(&&*module);
        (!is_known).then(|| (1, format!("{module} has no place in LAYERS")))
    });
}

#[test]
fn pure_module_uses_no_actor_socket_or_clock() {
    let impure = [
        "actix::",
        "actix_rt::",
        "tokio::",
        "std::net::",
        "std::io::",
        "Instant::now",
        "SystemTime",
    ];
    report(code(), |source| {
        let path = source.path.to_string_lossy();
        let is_pure = PURE.iter().any(|folder| path.starts_with(folder));
        let code = without_tests(source);
        let found = impure
            .iter()
            .filter(|word| code.lines().any(|line| mentions(line, word)));
        found
            .filter(|_| is_pure)
            .map(|word| (1, format!("`{word}` in a pure module")))
            .collect::<Vec<_>>()
    });
}

/// Two files import each other, directly or through others, if each uses an item that the other
/// defines.
#[test]
fn files_do_not_import_each_other_in_a_circle() {
    let sources = code();
    let files: BTreeMap<String, File> = sources
        .iter()
        .map(|source| (module_path(source), File::parse(source)))
        .collect();
    let edges: BTreeMap<&str, BTreeSet<String>> = files
        .iter()
        .map(|(name, file)| (name.as_str(), file.uses(name, &files)))
        .collect();
    let mut circles = Vec::new();
    for (from, targets) in &edges {
        for target in targets {
            if let Some(back) = path_between(&edges, target, from) {
                circles.push(format!("{from} -> {}", back.join(" -> ")));
            }
        }
    }
    assert!(circles.is_empty(), "\n{}", circles.join("\n"));
}

fn path_between(
    edges: &BTreeMap<&str, BTreeSet<String>>,
    from: &str,
    to: &str,
) -> Option<Vec<String>> {
    let mut seen = BTreeSet::from([from.to_owned()]);
    let mut paths = vec![vec![from.to_owned()]];
    while let Some(path) = paths.pop() {
        let last = path.last()?;
        if last == to {
            return Some(path);
        }
        for next in edges.get(last.as_str()).into_iter().flatten() {
            if seen.insert(next.clone()) {
                paths.push([path.clone(), vec![next.clone()]].concat());
            }
        }
    }
    None
}

/// What a file defines, and what it imports.
struct File {
    items: BTreeSet<String>,
    imports: Vec<Vec<String>>,
}

impl File {
    fn parse(source: &Source) -> Self {
        const KEYWORDS: &[&str] = &[
            "struct ", "enum ", "trait ", "type ", "fn ", "const ", "static ", "union ",
        ];
        let code = without_tests(source);
        let mut items = BTreeSet::new();
        for line in code.lines().map(str::trim_start) {
            let visible = line.strip_prefix("pub").map_or(line, |rest| {
                rest.trim_start().strip_prefix('(').map_or(rest, |rest| {
                    rest.split_once(')').map_or(rest, |(_, rest)| rest)
                })
            });
            let visible = visible.trim_start();
            let visible = visible.strip_prefix("async ").unwrap_or(visible);
            for keyword in KEYWORDS {
                if let Some(rest) = visible.strip_prefix(keyword) {
                    let name = rest.split(|c| !is_word(c)).next().unwrap_or_default();
                    items.insert(name.to_owned());
                }
            }
        }
        Self {
            items,
            imports: imports(source),
        }
    }

    /// The other files whose items this file imports.
    fn uses(&self, name: &str, files: &BTreeMap<String, File>) -> BTreeSet<String> {
        self.imports
            .iter()
            .filter_map(|import| definition(name, import, files, 0))
            .filter(|target| target != name)
            .collect()
    }
}

/// The file that defines what is imported, through re-exports.
fn definition(
    from: &str,
    import: &[String],
    files: &BTreeMap<String, File>,
    depth: usize,
) -> Option<String> {
    let mut module = from.to_owned();
    for (index, part) in import.iter().enumerate() {
        match part.as_str() {
            "crate" => module = String::new(),
            "self" => {}
            "super" => module = parent(&module),
            _ => {
                let child = join(&module, part);
                if files.contains_key(&child) {
                    module = child;
                    continue;
                }
                let file = files.get(&module)?;
                if file.items.contains(part) || depth > 8 {
                    return Some(module);
                }
                let reexport = file
                    .imports
                    .iter()
                    .find(|import| import.len() > 1 && import.last() == Some(part))?;
                let rest = [reexport.clone(), import[index + 1..].to_vec()].concat();
                return definition(&module, &rest, files, depth + 1);
            }
        }
    }
    // A module itself, whose items are named by longer paths.
    None
}

fn parent(module: &str) -> String {
    module
        .rsplit_once("::")
        .map_or("", |(parent, _)| parent)
        .into()
}

fn join(module: &str, name: &str) -> String {
    if module.is_empty() {
        name.into()
    } else {
        format!("{module}::{name}")
    }
}

/// `conn::reader` for `src/conn/reader.rs`; the root of the crate is empty.
fn module_path(source: &Source) -> String {
    let path = source.path.with_extension("");
    let parts: Vec<_> = path
        .iter()
        .skip(1)
        .map(|part| part.to_string_lossy().into_owned())
        .filter(|part| part != "mod" && part != "lib")
        .collect();
    parts.join("::")
}

fn top_module(source: &Source) -> String {
    let path = source.path.with_extension("");
    path.iter()
        .nth(1)
        .map(|part| part.to_string_lossy().into_owned())
        .unwrap_or_default()
}

/// The source files without those of unit tests.
fn code() -> Vec<Source> {
    let mut sources = sources(&["src"], "rs");
    sources.retain(|source| !is_test(source));
    sources
}

fn is_test(source: &Source) -> bool {
    source
        .path
        .iter()
        .any(|part| part == "tests" || part == "tests.rs")
}

/// The code without its comments and its test module, which stands last.
fn without_tests(source: &Source) -> String {
    let text: Vec<_> = source.code().map(|(_, line)| line).collect();
    let text = text.join("\n");
    let end = text.find("#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end].into()
}

/// All paths that begin with `crate`, `super` or `self`, of `use` declarations, groups taken apart,
/// and within the code; and those within the code that begin with a module that the file imports or
/// declares.
fn imports(source: &Source) -> Vec<Vec<String>> {
    let code = without_tests(source);
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let is_start = !code[..at].ends_with(|c: char| is_word(c) || c == ':');
            if is_start {
                expand(&code[at..], &mut Vec::new(), &mut found);
            }
        }
    }
    let children = code
        .lines()
        .filter_map(|line| line.trim().strip_suffix(';'));
    let children = children.filter_map(|line| line.rsplit_once("mod "));
    found.extend(children.map(|(_, name)| vec!["self".into(), name.into()]));
    // `module::item`, where the module was imported or is declared in the file.
    let mut items = Vec::new();
    for import in &found {
        let Some(module) = import.last() else {
            continue;
        };
        for (at, _) in code.match_indices(&format!("{module}::")) {
            let is_start = !code[..at].ends_with(|c: char| is_word(c) || c == ':');
            if is_start {
                let mut path = import[..import.len() - 1].to_vec();
                expand(&code[at..], &mut path, &mut items);
            }
        }
    }
    found.extend(items);
    found
}

/// Reads one path or group of paths from the front of `text`; returns the rest.
fn expand<'a>(text: &'a str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(rest) = rest.strip_prefix('}') {
                return rest;
            }
            let length = prefix.len();
            let after = expand(rest, prefix, found).trim_start();
            prefix.truncate(length);
            let after = after.strip_prefix(',').unwrap_or(after);
            if after.len() == rest.len() {
                return after;
            }
            rest = after;
        }
    }
    let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() {
        return rest;
    }
    if name != "self" || prefix.is_empty() {
        prefix.push(name.to_owned());
    }
    match rest.strip_prefix("::") {
        Some(rest)
            if rest
                .trim_start()
                .starts_with(|c: char| is_word(c) || c == '{') =>
        {
            expand(rest, prefix, found)
        }
        _ => {
            found.push(prefix.clone());
            // `Name as Other`
            let trimmed = rest.trim_start();
            match trimmed.strip_prefix("as ") {
                Some(alias) => alias.trim_start_matches(is_word),
                None => rest,
            }
        }
    }
}
