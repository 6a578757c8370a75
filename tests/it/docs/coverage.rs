//! `tests/COVERAGE.md` lists for each row the modules with tests for it, generated from tags such
//! as `/// contract: 4`.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
};

use super::{UPDATE, path, read};

const PAGE: &str = "tests/COVERAGE.md";
const KINDS: [&str; 5] = [
    "contract",
    "consumer contract",
    "pool contract",
    "fault",
    "checklist",
];

/// A row without tests says so.
const NOT_AUTOMATED: &str = "Not automated: ";

/// A tag: its kind and a row.
type Row = (String, String);

/// The tests of each row, each with its module.
type Tests = BTreeMap<Row, BTreeSet<(String, String)>>;

#[test]
fn coverage_page_lists_every_tagged_test() {
    let (tests, mut problems) = tagged_tests();
    let page = read(PAGE);
    let (generated, rows) = render(&page, &tests);
    let unknown = tests.iter().filter(|(row, _)| !rows.contains(row));
    problems.extend(unknown.map(|((kind, id), tests)| format!("no row {kind} {id}: {tests:?}")));
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    if generated == page {
        return;
    }
    if env::var_os(UPDATE).is_some_and(|value| value == "1") {
        fs::write(path(PAGE), generated).unwrap();
        return;
    }
    let mut lines = page.lines().zip(generated.lines());
    let (is, should) = lines.find(|(is, should)| is != should).unwrap_or_default();
    panic!(
        "{PAGE} is out of date: it says\n  {is}\nand should say\n  {should}\n\
         {UPDATE}=1 cargo test --test it docs updates it",
    );
}

#[test]
fn coverage_page_has_a_test_for_every_row() {
    let (tests, _) = tagged_tests();
    let page = read(PAGE);
    let empty: Vec<_> = rows(&page)
        .filter(|(row, text)| !tests.contains_key(row) && !text.contains(NOT_AUTOMATED))
        .map(|(row, _)| row)
        .collect();
    assert!(empty.is_empty(), "rows without a test: {empty:?}");
}

#[test]
fn tag_above_attributes_belongs_to_the_next_test() {
    let text = "/// Words.\n/// fault: P1, P2\n#[test]\n#[ignore]\nfn a() {}\n\n/// contract: 3\nfn b() {}\n";
    let mut tests = Tests::new();
    let problems = read_tags(text, "it::x", &mut tests);
    let a = BTreeSet::from([("it::x".to_owned(), "a".to_owned())]);
    let row = |id: &str| ("fault".to_owned(), id.to_owned());
    assert_eq!(tests, Tests::from([(row("P1"), a.clone()), (row("P2"), a)]));
    assert_eq!(problems, ["it::x: `b` is tagged and not a test"]);
}

/// The rows of the page: kind, id and text.
fn rows(page: &str) -> impl Iterator<Item = (Row, &str)> {
    let mut kind = "";
    page.lines().filter_map(move |line| {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        let (first, text) = (cells.next()?, cells.next()?);
        if KINDS.contains(&first) {
            kind = first;
            return None;
        }
        Some(((kind.to_owned(), first.to_owned()), text))
    })
}

/// The page with its last column generated from the tags, and its rows.
fn render(page: &str, tests: &Tests) -> (String, BTreeSet<Row>) {
    let mut rows = rows(page);
    let (mut out, mut seen) = (String::new(), BTreeSet::new());
    for line in page.lines() {
        let is_row = line.starts_with("| ")
            && !KINDS
                .iter()
                .any(|kind| line.starts_with(&format!("| {kind} |")));
        if !is_row {
            out += &format!("{line}\n");
            continue;
        }
        let (row, text) = rows.next().unwrap_or_else(|| panic!("not a row: {line}"));
        let cell = tests.get(&row).map(modules).unwrap_or_default();
        out += &format!("| {} | {text} |{cell} |\n", row.1);
        assert!(seen.insert(row.clone()), "{row:?} is there twice");
    }
    (out, seen)
}

/// The modules of the tests with the number of tests in each.
fn modules(tests: &BTreeSet<(String, String)>) -> String {
    let mut counts = BTreeMap::<&str, usize>::new();
    for (module, _) in tests {
        *counts.entry(module).or_default() += 1;
    }
    let cells: Vec<_> = counts
        .iter()
        .map(|(module, count)| format!(" `{module}` {count}"))
        .collect();
    cells.join(",")
}

/// The tagged tests below `src` and `tests`, and invalid tags.
fn tagged_tests() -> (Tests, Vec<String>) {
    let (mut tests, mut problems) = (Tests::new(), Vec::new());
    let mut folders = vec![path("src"), path("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            if file.is_dir() {
                folders.push(file);
            } else if file.extension().is_some_and(|extension| extension == "rs") {
                let name = file.strip_prefix(path("")).unwrap().with_extension("");
                let name = name.to_string_lossy().replace('/', "::");
                let name = name.trim_start_matches("tests::").trim_end_matches("::mod");
                problems.extend(read_tags(
                    &fs::read_to_string(&file).unwrap(),
                    name,
                    &mut tests,
                ));
            }
        }
    }
    (tests, problems)
}

/// Reads the tags of a file, and returns the invalid ones.
fn read_tags(text: &str, module: &str, tests: &mut Tests) -> Vec<String> {
    let (mut problems, mut rows) = (Vec::new(), Vec::new());
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some((kind, ids)) = tag(line) {
            rows.extend(ids.split(", ").map(|id| (kind.to_owned(), id.to_owned())));
        } else if line.starts_with("#[") {
            is_test |= line.contains("test]") || line.contains("test(");
        } else if let Some(name) = function(line) {
            if !rows.is_empty() && !is_test && !is_scenario(text, name) {
                problems.push(format!("{module}: `{name}` is tagged and not a test"));
                rows.clear();
            }
            for row in rows.drain(..) {
                let test = (module.to_owned(), name.to_owned());
                tests.entry(row).or_default().insert(test);
            }
            is_test = false;
        } else if line.is_empty() && !rows.is_empty() {
            problems.push(format!("{module}: a tag without a test: {rows:?}"));
            rows.clear();
        } else if line.is_empty() {
            is_test = false;
        }
    }
    problems
}

fn tag(line: &str) -> Option<(&str, &str)> {
    let (kind, ids) = line.strip_prefix("/// ")?.split_once(": ")?;
    KINDS.contains(&kind).then_some((kind, ids))
}

/// The name of the function that begins in this line.
fn function(line: &str) -> Option<&str> {
    let (head, rest) = line.split_once("fn ")?;
    let is_head = head
        .split_whitespace()
        .all(|word| word == "async" || word.starts_with("pub"));
    let name = rest.split(['(', '<']).next()?;
    is_head.then_some(name)
}

/// Whether the function is in the table of a module of `tests/broker`.
fn is_scenario(text: &str, name: &str) -> bool {
    let table = text.split_once("scenarios![").map_or("", |(_, rest)| rest);
    let table = table.split_once(']').map_or("", |(table, _)| table);
    let mut names = table.split(|c: char| !c.is_alphanumeric() && c != '_');
    names.any(|other| other == name)
}
