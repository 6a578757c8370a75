//! Links between pages, and into them, lead somewhere.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::path;

#[test]
fn every_link_to_a_file_leads_to_it() {
    let pages = pages();
    assert!(pages.len() >= 10, "{pages:?}");
    let mut broken = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).unwrap();
        for link in links(&text) {
            if !leads_somewhere(page, &link) {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "links that lead nowhere:\n{}",
        broken.join("\n")
    );
}

#[test]
fn every_page_is_linked_from_the_readme() {
    let readme = super::read("README.md");
    for page in pages()
        .iter()
        .filter(|page| page.parent() == Some(&path("docs")))
    {
        let name = page.file_name().unwrap().to_string_lossy();
        assert!(
            readme.contains(&format!("(docs/{name})")),
            "README.md does not link docs/{name}"
        );
    }
    for page in [
        "MIGRATION.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ] {
        assert!(
            readme.contains(&format!("({page})")),
            "README.md does not link {page}"
        );
    }
}

#[test]
fn the_readme_can_be_read_in_one_sitting() {
    let lines = super::read("README.md").lines().count();
    assert!(lines <= 200, "README.md has {lines} lines");
}

#[test]
fn a_heading_is_named_as_on_github() {
    for (heading, name) in [
        ("By nsqd's code", "by-nsqds-code"),
        ("`E_PUB_FAILED`", "e_pub_failed"),
        ("`Refused`, of a connection", "refused-of-a-connection"),
        ("`Ok`, and no message", "ok-and-no-message"),
    ] {
        assert_eq!(anchor(heading), name);
    }
}

/// Every page of the repository that git would know.
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

fn leads_somewhere(page: &Path, link: &str) -> bool {
    if link.contains("://") || link.starts_with("mailto:") {
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

/// What GitHub calls a heading in a link.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    heading
        .to_lowercase()
        .chars()
        .filter(kept)
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}
