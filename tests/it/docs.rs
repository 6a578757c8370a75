//! The pages: generated parts are up to date, quoted texts are those of the crate, links exist.

mod cancellation;
mod code;
mod coverage;
mod go_nsq;
mod links;
mod metrics;
mod options;
mod scale;
mod texts;
mod variants;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// Environment variable: with `1`, generated parts of pages are rewritten instead of compared.
const UPDATE: &str = "UPDATE_DOCS";

fn path(page: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(page)
}

#[track_caller]
fn read(page: &str) -> String {
    fs::read_to_string(path(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

/// Compares the part of a page between `<!-- begin NAME -->` and `<!-- end NAME -->` with what is
/// generated for it.
#[track_caller]
fn is_up_to_date(page: &str, name: &str, generated: &str) {
    let text = read(page);
    let (begin, end) = (
        format!("<!-- begin {name} -->\n"),
        format!("<!-- end {name} -->"),
    );
    let (head, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("{page} has no {begin}"));
    let (part, tail) = rest
        .split_once(&end)
        .unwrap_or_else(|| panic!("{page} has no {end}"));
    if part == generated {
        return;
    }
    if env::var_os(UPDATE).is_some_and(|value| value == "1") {
        fs::write(path(page), [head, &begin, generated, &end, tail].concat()).unwrap();
        return;
    }
    let differs = |(stands, wanted): &(&str, &str)| stands != wanted;
    let (stands, wanted) = part
        .lines()
        .chain([""])
        .zip(generated.lines().chain([""]))
        .find(differs)
        .unwrap_or_default();
    panic!(
        "{page}, part {name}, is out of date: it says\n  {stands}\nand should say\n  {wanted}\n\
         {UPDATE}=1 cargo test --test it docs updates it",
    );
}
