//! The rules of CONTRIBUTING.md that a machine can check.

mod imports;
mod sources;
mod words;

use std::path::Path;

use self::sources::{Source, report, sources};

/// Maximum number of lines of a file in `src`; one concept rarely needs more.
const MAX_LINES: usize = 600;

/// Maximum number of characters of a line of code, comment or prose.
const MAX_WIDTH: usize = 100;

/// Maximum number of characters of the name of a test.
const MAX_TEST_NAME: usize = 60;

#[test]
fn first_line_of_each_file_says_what_it_is() {
    report(
        sources(&["src", "tests", "examples", "benches", "fuzz"], "rs"),
        |source| {
            let is_doc = source
                .text
                .lines()
                .next()
                .and_then(|first| first.strip_prefix("//! "))
                .is_some_and(|words| !words.trim().is_empty());
            (!is_doc).then(|| (1, "the first line is not `//! ...`".to_owned()))
        },
    );
}

#[test]
fn source_file_has_at_most_600_lines() {
    report(sources(&["src"], "rs"), |source| {
        let lines = source.text.lines().count();
        (lines > MAX_LINES).then(|| (lines, format!("{lines} lines, more than {MAX_LINES}")))
    });
}

#[test]
fn line_is_at_most_100_characters_wide() {
    // rustfmt keeps the width of code; it does not break comments. Tables cannot be broken.
    let is_comment = |line: &str| line.trim_start().starts_with("//") && !line.contains("//! |");
    report(
        sources(&["src", "tests", "examples", "benches", "fuzz"], "rs"),
        |source| too_wide(source, |line| is_comment(line) && !line.contains("://")),
    );
    report(sources(&[""], "md"), |source| {
        // Tables and generated parts cannot be broken.
        let mut is_generated = false;
        too_wide(source, |line| {
            is_generated |= line.starts_with("<!-- begin ");
            is_generated &= !line.starts_with("<!-- end ");
            !is_generated && !line.trim_start().starts_with('|') && !line.contains("://")
        })
    });
}

fn too_wide(source: &Source, mut counts: impl FnMut(&str) -> bool) -> Vec<(usize, String)> {
    let lines = source.text.lines().enumerate();
    lines
        .filter(|(_, line)| counts(line) && line.chars().count() > MAX_WIDTH)
        .map(|(index, line)| {
            (
                index + 1,
                format!("{} characters wide", line.chars().count()),
            )
        })
        .collect()
}

#[test]
fn test_name_has_at_most_60_characters() {
    report(sources(&["src", "tests", "examples"], "rs"), |source| {
        let mut found = Vec::new();
        let mut is_test = false;
        for (number, line) in source.code() {
            let line = line.trim();
            let is_scenario = line.starts_with("async fn ") && line.contains(": Broker)");
            if let Some(name) = function_name(line) {
                if (is_test || is_scenario) && name.len() > MAX_TEST_NAME {
                    found.push((number, format!("`{name}` has {} characters", name.len())));
                }
                is_test = false;
            } else if line.starts_with("#[") {
                is_test |= line.contains("test]") || line.contains("test(");
            }
        }
        found
    });
}

fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let is_function = before.is_empty() || before.ends_with(' ');
    let end = after.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    is_function.then(|| &after[..end])
}

/// Timers must not change when somebody sets the clock. The wall clock is read for the timestamps
/// of the embedded nsqd's messages, and to show when nsqlookupd answered.
#[test]
fn only_monotonic_clocks_are_used() {
    let wall_clocks = ["SystemTime", "UNIX_EPOCH", "chrono::", "OffsetDateTime"];
    report(sources(&["src"], "rs"), |source| {
        let shown = ["src/embedded/topic.rs", "src/lookup/peer.rs"];
        if shown.iter().any(|path| source.path == Path::new(path)) {
            return Vec::new();
        }
        let found = source.code().filter(|(_, line)| {
            wall_clocks
                .into_iter()
                .any(|clock| sources::mentions(line, clock))
        });
        found
            .map(|(number, line)| (number, format!("a wall clock: {}", line.trim())))
            .collect::<Vec<_>>()
    });
}
