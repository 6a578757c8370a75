//! `docs/troubleshooting.md` has an entry for every nsqd code, error kind, connection error and
//! answer error.

use actix_nsq::{AnswerError, protocol::ErrorCode};

use super::read;

const PAGE: &str = "docs/troubleshooting.md";

#[test]
fn every_nsqd_code_has_an_entry() {
    let tokens = tokens();
    assert!(tokens.len() >= 19, "{tokens:?}");
    for token in tokens
        .iter()
        .map(String::as_str)
        .chain([ErrorCode::Unknown.as_str()])
    {
        has_entry("## nsqd error codes", token);
    }
}

#[test]
fn every_error_kind_has_an_entry() {
    for kind in variants("src/error/publish.rs", "ErrorKind", 12) {
        has_entry("## Publish errors", &kind);
    }
}

#[test]
fn every_connection_error_has_an_entry() {
    for error in variants("src/error/connection.rs", "ConnectionError", 25) {
        has_entry("## Connection errors", &error);
    }
    for failure in variants("src/error/tls.rs", "TlsFailure", 10) {
        has_entry("### TLS errors", &failure);
    }
}

#[test]
fn every_lookup_error_has_an_entry() {
    let page = section(&read(PAGE), "## Errors of nsqlookupd");
    for error in variants("src/error/lookup.rs", "LookupError", 12) {
        assert!(page.contains(&format!("`{error}`")), "no entry for {error}");
    }
}

#[test]
fn every_answer_error_has_an_entry_with_its_text() {
    let page = section(&read(PAGE), "## Answers of consumers");
    let errors = [
        AnswerError::ConnectionLost,
        AnswerError::Expired,
        AnswerError::Closed,
    ];
    assert_eq!(variants("src/error/answer.rs", "AnswerError", 3).len(), 3);
    for error in errors {
        let entry = format!("| `{error:?}` | `{error}` |");
        assert!(page.contains(&entry), "{PAGE}: no {entry}");
    }
}

/// The tokens of all codes, read from the table in the source.
pub(super) fn tokens() -> Vec<String> {
    let source = read("src/protocol/error_code.rs");
    let (_, table) = source
        .split_once("\nerror_codes! {")
        .expect("the table of codes");
    let (table, _) = table.split_once("\n}").unwrap();
    let token = |row: &str| row.split('"').nth(1).map(str::to_owned);
    table.lines().filter_map(token).collect()
}

/// The variants of an enum, read from its source, because the enum is non-exhaustive.
fn variants(file: &str, name: &str, at_least: usize) -> Vec<String> {
    let source = read(file);
    let (_, rest) = source
        .split_once(&format!("pub enum {name} {{\n"))
        .expect("the enum");
    let (body, _) = rest.split_once("\n}").unwrap();
    let variant = |line: &str| {
        let name = line.strip_prefix("    ")?;
        let end = name
            .find(|c: char| !c.is_alphanumeric())
            .unwrap_or(name.len());
        name.starts_with(char::is_uppercase)
            .then(|| name[..end].to_owned())
    };
    let found: Vec<_> = body.lines().filter_map(variant).collect();
    assert!(found.len() >= at_least, "{name}: only {found:?}");
    found
}

#[track_caller]
fn has_entry(heading: &str, name: &str) {
    let begin = format!("| `{name}` |");
    let section = section(&read(PAGE), heading);
    let found = section.lines().any(|line| line.starts_with(&begin));
    assert!(found, "{PAGE}, {heading}: no entry for {name}");
}

/// A section of a page, up to the next one of its level.
pub(super) fn section(page: &str, heading: &str) -> String {
    let (_, rest) = page.split_once(&format!("{heading}\n")).expect(heading);
    rest.split("\n## ").next().unwrap_or_default().to_owned()
}
