//! The house rules that a machine can keep: see CONTRIBUTING.md.

use std::fs;
use std::path::{Path, PathBuf};

/// Maximum number of lines of a source file.
const LONGEST: usize = 600;

/// Which paths a module of `src` must not say. The roles stack as layers, and each sees only what stands before it.
const LAYERS: &[(&str, &[&str])] = &[
    ("src/protocol", SOCKETS_AND_CLOCKS),
    (
        "src/compression",
        &[
            "actix::",
            "tokio::",
            "std::net::",
            "Instant::",
            "SystemTime::",
        ],
    ),
    ("src/config", ABOVE_CONN),
    ("src/error", ABOVE_CONN),
    ("src/backoff", ABOVE_CONN),
    ("src/conn", ABOVE_CONN),
    ("src/producer", &["consumer::"]),
    ("src/consumer", &["producer::"]),
];
#[rustfmt::skip]
const SOCKETS_AND_CLOCKS: &[&str] =
    &["actix::", "actix_rt::", "tokio::", "std::net::", "std::io::", "Instant::", "SystemTime::"];
const ABOVE_CONN: &[&str] = &["producer::", "consumer::", "lookup::"];

/// The folders of `src` that import nothing of the crate but themselves, and these.
const ISLANDS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("compression", &[]),
    // Codecs that are held against nsqd's own, and a name of the public interface.
    ("embedded", &["compression", "TlsVersion"]),
];

#[test]
fn every_source_file_says_on_top_what_it_is() {
    report(source_files(), |_, text| {
        let first = text.lines().next().unwrap_or_default();
        let says_so = first
            .strip_prefix("//! ")
            .is_some_and(|words| !words.trim().is_empty());
        (!says_so)
            .then(|| (1, "the first line is no `//!` line".to_owned()))
            .into_iter()
            .collect()
    });
}

#[test]
fn every_source_file_can_be_read_in_one_sitting() {
    report(source_files(), |_, text| {
        let lines = text.lines().count();
        let complaint = || {
            (
                LONGEST + 1,
                format!("{lines} lines are more than {LONGEST}"),
            )
        };
        (lines > LONGEST).then(complaint).into_iter().collect()
    });
}

#[test]
fn every_layer_sees_only_what_stands_before_it() {
    report(source_files(), |file, text| {
        let forbidden: Vec<&str> = LAYERS
            .iter()
            .filter(|(folder, _)| is_in(file, folder))
            .flat_map(|(_, words)| *words)
            .copied()
            .collect();
        let said = |line: &str| {
            forbidden
                .iter()
                .find(|word| mentions(line, word))
                .map(|word| format!("`{word}`"))
        };
        code_lines(text)
            .filter_map(|(number, line)| Some((number, said(line)? + " is not for this layer")))
            .collect()
    });
}

#[test]
fn the_protocol_and_the_embedded_nsqd_use_nothing_else_of_the_crate() {
    report(source_files(), |file, text| {
        let Some((island, allowed)) = ISLANDS
            .iter()
            .find(|(name, _)| is_in(file, &format!("src/{name}")))
        else {
            return Vec::new();
        };
        let leaves = |line: &str| {
            let others = ["crate::", "actix_nsq::"].into_iter().flat_map(|root| {
                line.match_indices(root)
                    .map(move |(at, _)| &line[at + root.len()..])
            });
            // `crate::protocol::...`, but not `crate::protocols` and not `crate::{protocol, conn}`.
            let is_home = |path: &str| {
                [island].into_iter().chain(*allowed).any(|name| {
                    path.strip_prefix(name)
                        .is_some_and(|rest| !rest.starts_with(is_word))
                })
            };
            others.into_iter().any(|path| !is_home(path))
        };
        let found = code_lines(text).filter(|(_, line)| leaves(line));
        found
            .map(|(number, line)| (number, format!("outside of {island}: {}", line.trim())))
            .collect()
    });
}

/// Whatever is timed keeps its time when somebody sets the clock: only the moment that the embedded nsqd stamps on a message,
/// as nsqd does, is one of the wall's.
/// fault: P31
#[test]
fn only_clocks_that_nobody_sets_tell_the_time() {
    report(source_files(), |file, text| {
        if file == Path::new("src/embedded/topic.rs") {
            return Vec::new();
        }
        let set = |line: &str| {
            let clocks = [
                "SystemTime",
                "UNIX_EPOCH",
                "chrono::",
                "time::OffsetDateTime",
            ];
            clocks.into_iter().find(|clock| mentions(line, clock))
        };
        code_lines(text)
            .filter_map(|(number, line)| Some((number, format!("{} can be set", set(line)?))))
            .collect()
    });
}

#[test]
fn a_path_is_found_where_it_is_said_and_nowhere_else() {
    assert!(mentions("use tokio::io;", "tokio::"));
    assert!(mentions("    actix::spawn(x);", "actix::"));
    assert!(mentions("    producer::{Publish, Drain},", "producer::"));
    assert!(!mentions("let agent = \"actix-nsq/1.0\";", "actix::"));
    assert!(!mentions("use not_tokio::x;", "tokio::"));
    let code: Vec<_> = code_lines("a\n// tokio\n  //! tokio\nb // tokio").collect();
    assert_eq!(code, [(1, "a"), (4, "b ")]);
}

/// Asks `complaints` about every file, and fails with all of them, each with its place.
#[track_caller]
fn report(files: Vec<PathBuf>, complaints: impl Fn(&Path, &str) -> Vec<(usize, String)>) {
    assert!(!files.is_empty(), "no source files were found");
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(root().join(&file)).expect("a source file can be read");
        found.extend(
            complaints(&file, &text)
                .into_iter()
                .map(|(line, what)| format!("{}:{line}: {what}", file.display())),
        );
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `src`, as a path from the root of the repository.
fn source_files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(
                    path.strip_prefix(root())
                        .expect("src is below the root")
                        .to_owned(),
                );
            }
        }
    }
    files.sort();
    files
}

/// Whether a file belongs to a module: `src/conn/reader.rs` and `src/conn.rs` to `src/conn`.
fn is_in(file: &Path, module: &str) -> bool {
    file.starts_with(module) || file == Path::new(&format!("{module}.rs"))
}

/// The lines with their numbers, without comments (what stands behind `//`, be it in a string, is taken for one).
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| {
            (
                index + 1,
                line.split_once("//").map_or(line, |(code, _)| code),
            )
        })
        .filter(|(_, code)| !code.trim().is_empty())
}

/// Whether a path that begins like this is in the line: as a name of its own, not as the end of a longer one.
fn mentions(line: &str, path: &str) -> bool {
    line.match_indices(path)
        .any(|(at, _)| !line[..at].ends_with(is_word))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
