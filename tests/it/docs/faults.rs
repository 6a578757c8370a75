//! The table of faults names tests that exist, and leaves out no row.

use std::collections::BTreeSet;

use super::{path, read};

const PAGE: &str = "tests/FAULTS.md";

/// The rows of all its tables: what stands in the first column, and in the last.
fn rows(page: &str) -> Vec<(String, String)> {
    let cells = page.lines().filter_map(|line| {
        let line = line.strip_prefix("| ")?.strip_suffix(" |")?;
        let cells: Vec<_> = line.split(" | ").collect();
        assert_eq!(cells.len(), 3, "{line}");
        Some((cells[0].to_owned(), cells[2].to_owned()))
    });
    cells
        .filter(|(first, _)| !["row", "where"].contains(&&first[..]))
        .collect()
}

/// What stands in backticks.
fn names(cell: &str) -> impl Iterator<Item = &str> {
    cell.split('`').skip(1).step_by(2)
}

/// What is wrong with the name of a test, if anything: `it::callers::a_thing_holds` is `fn a_thing_holds` in `tests/it/callers.rs`.
fn problem(name: &str) -> Option<String> {
    let Some((place, test)) = name.rsplit_once("::") else {
        return Some("it names no file".to_owned());
    };
    let file = match place.split_once("::") {
        Some(("src", _)) => format!("{}.rs", place.replace("::", "/")),
        _ => format!("tests/{}.rs", place.replace("::", "/")),
    };
    let Ok(text) = std::fs::read_to_string(path(&file)) else {
        return Some(format!("there is no {file}"));
    };
    let Some((before, _)) = text.split_once(&format!("fn {test}(")) else {
        return Some(format!("{file} has no {test}"));
    };
    // A scenario is in its module's table, and any other test marked as one.
    let is_run = match place.starts_with("broker::") {
        true => {
            let table = text.split_once("scenarios![").map_or("", |(_, rest)| rest);
            let table = table.split_once("\n    ]").map_or("", |(table, _)| table);
            let mut names = table.split(|c: char| !c.is_alphanumeric() && c != '_');
            names.any(|name| name == test)
        }
        false => {
            let head = before.rsplit("\n\n").next().unwrap_or_default();
            ["#[test]", "::test]", "::test("]
                .iter()
                .any(|mark| head.contains(mark))
        }
    };
    (!is_run).then(|| format!("{test} of {file} is never run"))
}

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let rows = rows(&read(PAGE));
    let tests = rows.iter().flat_map(|(_, cell)| names(cell));
    let problems: Vec<_> = tests
        .filter(|name| name.contains("::"))
        .filter_map(|name| Some(format!("`{name}`: {}", problem(name)?)))
        .collect();
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn every_fault_has_a_test_or_a_reason_for_none() {
    let rows = rows(&read(PAGE));
    let (mut named, mut seen) = (0, BTreeSet::new());
    for (row, cell) in &rows {
        let has_test = names(cell).any(|name| name.contains("::"));
        assert!(
            has_test || cell.contains("not automated: "),
            "{row}: {cell}"
        );
        named += usize::from(has_test);
        seen.insert(row.as_str());
    }
    let wanted = (1..=32).map(|row| format!("P{row}"));
    let wanted = wanted.chain((1..=9).map(|row| format!("T{row}")));
    for row in wanted.chain((1..=7).map(|row| format!("A{row}"))) {
        assert!(seen.contains(&row[..]), "{row} is missing");
    }
    assert!(named >= 80, "only {named} faults are named");
}

#[test]
fn a_name_that_leads_nowhere_is_found() {
    let here = "it::docs::faults::a_name_that_leads_nowhere_is_found";
    assert_eq!(problem(here), None);
    for wrong in [
        "somewhere",
        "it::nowhere::a_test",
        "it::docs::faults::nothing",
        "it::docs::faults::problem",
        "broker::harness::run",
        "broker::loops::run",
    ] {
        assert!(problem(wrong).is_some(), "{wrong}");
    }
}
