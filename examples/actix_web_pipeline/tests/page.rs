//! The page loads nothing from elsewhere, and its colors have enough contrast.

use super::{client::get, start};

const PAGE: &str = include_str!("../page.html");

/// Minimum contrast of text by WCAG 2.2, level AA.
const MIN_TEXT_CONTRAST: f64 = 4.5;

/// Minimum contrast of borders and shapes that carry information.
const MIN_SHAPE_CONTRAST: f64 = 3.0;

#[actix::test]
async fn page_may_not_load_anything_from_other_servers() {
    let service = start();
    let response = get(service.addresses()[0], "/").await;
    assert_eq!(response.status, 200);
    assert_eq!(response.body(), PAGE);
    let policy = response.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    // The name of the language SVG is no address.
    let page = PAGE.replace("http://www.w3.org/2000/svg", "");
    assert!(!page.contains("://"), "an address of another server");
}

#[test]
fn colors_have_enough_contrast_in_both_schemes() {
    let (light, dark) = PAGE.split_once("prefers-color-scheme: dark").unwrap();
    for (scheme, css) in [("light", light), ("dark", dark)] {
        let contrast = |one: &str, other: &str| contrast(color(css, one), color(css, other));
        let text = [
            ("text", "background"),
            ("text", "surface"),
            ("text", "bad-tint"),
            ("muted", "background"),
            ("muted", "surface"),
            ("good", "surface"),
            ("bad", "surface"),
            ("on-accent", "accent"),
        ];
        for (one, other) in text {
            let found = contrast(one, other);
            let is_enough = found >= MIN_TEXT_CONTRAST;
            assert!(is_enough, "{scheme}: {one} on {other}: {found:.2}");
        }
        for shape in ["accent", "good", "bad"] {
            let found = contrast(shape, "surface").min(contrast(shape, "background"));
            let is_enough = found >= MIN_SHAPE_CONTRAST;
            assert!(is_enough, "{scheme}: {shape}: {found:.2}");
        }
    }
}

#[test]
fn contrast_of_black_and_white_is_21() {
    assert!((contrast([255; 3], [0; 3]) - 21.0).abs() < 1e-9);
}

/// The color that a custom property defines first: `--name: #rrggbb;`.
fn color(css: &str, name: &str) -> [u8; 3] {
    let (_, rest) = css.split_once(&format!("--{name}: #")).unwrap();
    let channel = |at: usize| u8::from_str_radix(&rest[at..at + 2], 16).unwrap();
    [channel(0), channel(2), channel(4)]
}

/// The contrast ratio of WCAG 2.
fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

fn luminance(color: [u8; 3]) -> f64 {
    let [red, green, blue] = color.map(|channel| {
        let value = f64::from(channel) / 255.0;
        if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    });
    0.2126 * red + 0.7152 * green + 0.0722 * blue
}
