//! `docs/scale.md` lists the bounds of `tests/scale`.

#[allow(unreachable_pub, reason = "it is a module of another test binary")]
#[path = "../../scale/bounds.rs"]
mod bounds;

use super::is_up_to_date;

#[test]
fn scale_page_is_up_to_date() {
    let mut table = String::from("| of | figure | measured | at most |\n|---|---|---|---|\n");
    for bound in bounds::BOUNDS {
        let [measured, most] = [bound.measured, *bound.range.end()].map(number);
        table += &format!(
            "| {} | {} | {measured} | {most} |\n",
            bound.subject, bound.figure
        );
    }
    is_up_to_date("docs/scale.md", "bounds", &table);
}

/// Whole numbers with separators, and ratios with their fraction.
fn number(number: f64) -> String {
    if number < 1_000.0 {
        return number.to_string();
    }
    let (thousands, rest) = ((number / 1_000.0).floor(), number % 1_000.0);
    format!("{},{rest:03.0}", self::number(thousands))
}
