//! The known mistakes in `tests/mutants` can still be made, and name tests that exist: see the page there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

const FOLDER: &str = "tests/mutants";

/// Of an item of the lists that no patch can break yet.
const LATER: &str = "Comes with automatic batching.";

/// A mistake as a patch describes it.
struct Patch {
    name: String,
    text: String,
}

#[test]
fn every_mistake_can_still_be_made() {
    for patch in patches() {
        let hunks = hunks(&patch.text);
        assert!(!hunks.is_empty(), "{}: changes nothing", patch.name);
        for (file, before, after) in hunks {
            let text = format!("\n{}", read(&file));
            let found = text.matches(&format!("\n{before}")).count();
            let place = format!("{}: what it changes in {file}", patch.name);
            assert_eq!(found, 1, "{place} is there so many times:\n{before}");
            assert_ne!(before, after, "{place}");
            // git takes a hunk without one for the end of the file.
            let last = [&before, &after].map(|lines| lines.lines().last());
            assert_eq!(last[0], last[1], "{place}: no line of context behind it");
            assert!(file.starts_with("src/"), "{place}");
        }
    }
}

#[test]
fn every_mistake_says_what_it_is_and_names_tests_that_exist() {
    for Patch { name, text } in patches() {
        let words = text.split("\n\n").next().unwrap_or_default();
        let says_so = words.ends_with('.') && !words.contains("Source:");
        assert!(says_so, "{name}: no sentence on top");
        assert!(!fields(&text, "Source: ").is_empty(), "{name}: no source");
        let tests = fields(&text, "Test: ");
        assert!(!tests.is_empty(), "{name}: names no test");
        for test in tests {
            assert!(exists(test), "{name}: there is no test {test}");
        }
    }
}

#[test]
fn every_known_fault_and_every_rule_is_broken_at_least_once() {
    let page = read(&format!("{FOLDER}/README.md"));
    let crate_docs = read("src/lib.rs").replace("//! ", "");
    let contract = section(&crate_docs, "# The delivery contract");
    let mut wanted = BTreeSet::new();
    for (what, list) in [
        ("known fault", section(&page, "## Known faults of clients")),
        ("queue rule", section(&page, "## Rules of the queue")),
        ("contract line", contract),
    ] {
        let items = items(list);
        assert!(items.len() > 10, "{what}: {} items", items.len());
        let now = items.into_iter().filter(|(_, text)| !text.contains(LATER));
        wanted.extend(now.map(|(number, _)| format!("{what} {number}")));
    }
    let patches = patches();
    let sources = patches.iter().flat_map(|Patch { text, .. }| {
        fields(text, "Source: ")
            .into_iter()
            .flat_map(|sources| sources.split("; "))
            .map(|source| source.split(" (").next().unwrap_or_default().to_owned())
    });
    let broken: BTreeSet<String> = sources.collect();
    let left: Vec<_> = wanted.difference(&broken).collect();
    assert!(left.is_empty(), "broken by no patch: {left:?}");
    let strange: Vec<_> = broken.difference(&wanted).collect();
    assert!(strange.is_empty(), "on no list: {strange:?}");
}

#[test]
fn a_patch_is_read_as_git_reads_it() {
    let text = "Words.\n\n--- a/src/x.rs\n+++ b/src/x.rs\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n@@ -9 +9,2 @@\n+\n d\n";
    let hunks = hunks(text);
    let hunk = |before: &str, after: &str| ("src/x.rs".into(), before.into(), after.into());
    assert_eq!(hunks, [hunk("a\nb\n", "a\nc\n"), hunk("d\n", "\nd\n")]);
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn patches() -> Vec<Patch> {
    let folder = fs::read_dir(root().join(FOLDER)).expect("a folder of patches");
    let files = folder.map(|entry| entry.expect("a patch").path());
    let mut patches: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|it| it == "patch"))
        .collect();
    patches.sort();
    assert!(patches.len() >= 30, "only {} patches", patches.len());
    let patches = patches.into_iter().map(|file| Patch {
        name: file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into(),
        text: fs::read_to_string(&file).expect("a patch can be read"),
    });
    patches.collect()
}

/// What stands behind `label`, line by line.
fn fields<'a>(text: &'a str, label: &str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| line.strip_prefix(label))
        .collect()
}

/// The file of each hunk, and its lines before and after.
fn hunks(text: &str) -> Vec<(String, String, String)> {
    let (mut hunks, mut file) = (Vec::new(), "");
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("+++ b/") {
            file = name;
        } else if line.starts_with("@@ ") {
            hunks.push((file.to_owned(), String::new(), String::new()));
        } else if let Some((_, before, after)) = hunks.last_mut()
            && !line.starts_with("--- a/")
            && let Some(sign) = line.chars().next()
        {
            let rest = format!("{}\n", &line[1..]);
            if sign != '+' {
                before.push_str(&rest);
            }
            if sign != '-' {
                after.push_str(&rest);
            }
        }
    }
    hunks
}

/// Whether the test is in the sources: a function of that name, in a file that the module's path leads to.
fn exists(test: &str) -> bool {
    let Some((binary, path)) = test.split_once(' ') else {
        return false;
    };
    let mut modules: Vec<&str> = path.split("::").collect();
    let name = modules.pop().unwrap_or_default();
    if binary == "broker" {
        // A scenario is called by its broker first.
        modules.remove(0);
    }
    let folder = match binary {
        "--lib" => "src".to_owned(),
        _ => format!("tests/{binary}"),
    };
    // The last module may be inside of the file of the one before it.
    (1..=modules.len()).rev().any(|depth| {
        let file = format!("{folder}/{}", modules[..depth].join("/"));
        [format!("{file}.rs"), format!("{file}/mod.rs")]
            .iter()
            .filter_map(|file| fs::read_to_string(root().join(file)).ok())
            .any(|text| text.contains(&format!("fn {name}(")))
    })
}

/// The text from a heading to the next one.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text
        .split_once(&format!("{heading}\n"))
        .unwrap_or_else(|| panic!("no {heading:?}"));
    rest.split("\n#").next().unwrap_or_default()
}

/// The items of a numbered list, each with its number.
fn items(list: &str) -> Vec<(usize, &str)> {
    let numbered = list.lines().filter_map(|line| {
        let (number, text) = line.split_once(". ")?;
        Some((number.parse().ok()?, text))
    });
    numbered.collect()
}
