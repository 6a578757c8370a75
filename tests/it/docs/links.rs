//! Links in the pages, and the guide.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::path;

#[test]
fn link_to_a_file_or_heading_exists() {
    let pages = pages();
    assert!(pages.len() >= 10, "{pages:?}");
    let mut broken = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in links(&text) {
            if !exists(page, &link) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "broken links:\n{}", broken.join("\n"));
}

/// docs.rs and crates.io do not have the files of the repository. A picture may be missing there.
#[test]
fn readme_has_no_relative_link() {
    let links = links(&super::read("README.md"));
    let is_relative = |link: &&String| !link.contains("://") && !link.ends_with(".png");
    let relative: Vec<_> = links.iter().filter(is_relative).collect();
    assert!(relative.is_empty(), "{relative:?}");
}

/// docs.rs has the pages as modules: `src/lib.rs` defines each link to another page a second time.
#[test]
fn link_between_guide_pages_is_defined_for_docs_rs() {
    let crate_docs = super::read("src/lib.rs");
    let pages = pages();
    let in_docs = |page: &&PathBuf| page.parent() == Some(&path("docs"));
    for page in pages.iter().filter(in_docs) {
        let text = fs::read_to_string(page).unwrap();
        for link in inline_links(&text) {
            let ok = link.starts_with('#') || link.contains("://");
            assert!(ok, "{}: define {link} at the end", page.display());
        }
        for (name, target) in definitions(&text) {
            let Some((page, anchor)) = target.split_once(".md") else {
                continue;
            };
            let module = page.replace('-', "_");
            let definition = format!("#[doc = \"[{name}]: crate::guide::{module}{anchor}\"]");
            let defined = crate_docs.contains(&definition);
            assert!(defined, "src/lib.rs lacks {definition}");
        }
    }
}

#[test]
fn every_page_of_docs_is_in_the_guide() {
    let crate_docs = super::read("src/lib.rs");
    let pages = pages();
    for page in pages
        .iter()
        .filter(|page| page.parent() == Some(&path("docs")))
    {
        let name = page.file_name().unwrap().to_string_lossy();
        let included = format!("include_str!(\"../docs/{name}\")");
        assert!(
            crate_docs.contains(&included),
            "src/lib.rs lacks {included}"
        );
    }
}

#[test]
fn readme_has_at_most_130_lines() {
    let lines = super::read("README.md").lines().count();
    assert!(lines <= 130, "README.md has {lines} lines");
}

#[test]
fn anchor_of_a_heading_is_that_of_github() {
    for (heading, name) in [
        ("By nsqd's code", "by-nsqds-code"),
        ("`E_PUB_FAILED`", "e_pub_failed"),
        ("`Closed`, of a connection", "closed-of-a-connection"),
        ("`Ok`, and no message", "ok-and-no-message"),
    ] {
        assert_eq!(anchor(heading), name);
    }
}

/// Every Markdown file of the repository.
fn pages() -> BTreeSet<PathBuf> {
    let mut pages = BTreeSet::new();
    let mut folders = vec![path("")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.insert(path);
            }
        }
    }
    pages
}

/// The targets of the links in a page, without those in code.
fn links(text: &str) -> Vec<String> {
    let mut links = inline_links(text);
    links.extend(definitions(text).map(|(_, target)| target.to_owned()));
    links
}

/// Names and targets of the link definitions in a page.
fn definitions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    prose(text).filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
}

fn inline_links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(text) {
        for piece in line.split("](").skip(1) {
            links.extend(piece.split(')').next().map(str::to_owned));
        }
    }
    links
}

fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

fn exists(page: &Path, link: &str) -> bool {
    // rustdoc checks links to items.
    let is_item = link.starts_with("crate");
    if is_item || link.contains("://") || link.starts_with("mailto:") {
        return true;
    }
    let (file, name) = link
        .split_once('#')
        .map_or((link, None), |(file, name)| (file, Some(name)));
    let target = match file {
        "" => page.to_owned(),
        file => page.parent().unwrap().join(file),
    };
    let Some(name) = name else {
        return target.exists();
    };
    fs::read_to_string(target).is_ok_and(|text| {
        let headings = prose(&text).filter(|line| line.starts_with('#'));
        let mut anchors = headings.map(|line| anchor(line.trim_start_matches('#').trim()));
        anchors.any(|anchor| anchor == name)
    })
}

/// GitHub's anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    heading
        .to_lowercase()
        .chars()
        .filter(kept)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}
