//! Words that this crate does not use in prose, names and messages; CONTRIBUTING.md has the
//! standard terms. This file is exempt from its own rule.

use super::sources::{Source, is_word, report, sources};

/// Whole words, whatever their case.
const BANNED: &[&str] = &[
    "dead-line",
    "time-out",
    "for ever",
    "whoever",
    "whom",
    "heed",
    "heeds",
    "innocent",
    "innocents",
    "guilty",
    "verdict",
    "verdicts",
    "so many",
    "so much",
    "is told",
    "are told",
    "let go of",
    "nobody",
];

#[test]
fn banned_words_do_not_occur() {
    for extension in ["rs", "md", "toml", "py"] {
        let mut sources = sources(&[""], extension);
        sources.retain(|source| !source.path.ends_with("tidy/words.rs"));
        report(sources, violations);
    }
}

fn violations(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in source.text.lines().enumerate() {
        // What stands between backticks is code.
        let prose: Vec<_> = line.split('`').step_by(2).collect();
        let prose = prose.join(" ").to_lowercase();
        let banned = BANNED.iter().filter(|word| occurs(&prose, word));
        found.extend(banned.map(|word| (index + 1, format!("`{word}`: use the standard term"))));
    }
    found
}

fn occurs(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[test]
fn banned_word_is_found_alone_and_outside_of_code() {
    let count = |text: &str| {
        let source = Source {
            path: "x.rs".into(),
            text: text.into(),
        };
        violations(&source).len()
    };
    assert_eq!(count("// Nobody is told the verdict"), 3);
    assert_eq!(count("// `nobody`"), 0);
    assert_eq!(count("// somebody, untold"), 0);
}
