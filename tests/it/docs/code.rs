//! Code in docs/integrations.md is that of the package `examples/integrations`.

use super::{is_up_to_date, read};

const PAGE: &str = "docs/integrations.md";

#[test]
fn code_on_the_page_is_that_of_the_examples() {
    let page = read(PAGE);
    let parts = page
        .lines()
        .filter_map(|line| line.strip_prefix("<!-- begin ")?.strip_suffix(" -->"));
    let mut count = 0;
    for name in parts {
        let (file, region) = name.split_once(' ').expect("a file and a region");
        let source = read(&format!("examples/integrations/{file}"));
        let code = code(&source, region).unwrap_or_else(|| panic!("{file} has no {region}"));
        is_up_to_date(PAGE, name, &format!("\n```rust,ignore\n{code}```\n\n"));
        count += 1;
    }
    assert!(count >= 9, "{count} parts");
}

/// The lines between `// begin REGION` and `// end REGION`, without the indentation of the first
/// one.
fn code(source: &str, region: &str) -> Option<String> {
    let (_, rest) = source.split_once(&format!("// begin {region}\n"))?;
    let (code, _) = rest.split_once(&format!("// end {region}\n"))?;
    let indentation = code.len() - code.trim_start_matches(' ').len();
    let lines = code.trim_end_matches(' ').split_inclusive('\n');
    Some(
        lines
            .map(|line| line.get(indentation..).unwrap_or("\n"))
            .collect(),
    )
}

#[test]
fn region_is_returned_without_its_indentation() {
    let source = "a\n    // begin x\n    b {\n\n        c\n    }\n    // end x\n";
    assert_eq!(code(source, "x").as_deref(), Some("b {\n\n    c\n}\n"));
    assert_eq!(code(source, "y"), None);
}
