//! The files of the repository, and how a rule is reported.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A file: its path from the root of the repository, and its text.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    /// The lines with their numbers, without comments. Text behind `//` counts as a comment, even
    /// in a string.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .map(|line| line.split_once("//").map_or(line, |(code, _)| code))
            .enumerate()
            .map(|(index, code)| (index + 1, code))
            .filter(|(_, code)| !code.trim().is_empty())
    }
}

/// The files below these folders with this ending. Build output and hidden folders are left out.
pub(super) fn sources(folders: &[&str], extension: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pending: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut found = Vec::new();
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("a folder can be read").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    pending.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).expect("a source file can be read");
                let path = path
                    .strip_prefix(root)
                    .expect("it is below the root")
                    .into();
                found.push(Source { path, text });
            }
        }
    }
    assert!(!found.is_empty(), "no .{extension} files in {folders:?}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Applies a rule to every file, and fails with all violations: line number and explanation.
#[track_caller]
pub(super) fn report<V>(sources: Vec<Source>, rule: impl Fn(&Source) -> V)
where
    V: IntoIterator<Item = (usize, String)>,
{
    let violations: Vec<String> = sources
        .iter()
        .flat_map(|source| {
            rule(source)
                .into_iter()
                .map(|(line, what)| format!("{}:{line}: {what}", source.path.display()))
        })
        .collect();
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

/// Whether the line contains this text as a name of its own, not as the end of a longer one.
pub(super) fn mentions(line: &str, name: &str) -> bool {
    line.match_indices(name)
        .any(|(at, _)| !line[..at].ends_with(is_word))
}

pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
