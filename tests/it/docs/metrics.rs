//! `docs/metrics.md` lists every metric.

use actix::System;

use super::is_up_to_date;
use crate::support::samples;

#[test]
fn metrics_page_is_up_to_date() {
    let samples = System::new().block_on(samples::of_everything());
    let mut table = String::from("| metric | kind | labels | meaning |\n|---|---|---|---|\n");
    let mut listed = Vec::new();
    for sample in samples.iter().flatten() {
        if !listed.contains(&sample.name) {
            listed.push(sample.name);
            let labels = sample.labels.iter().map(|(name, _)| format!("`{name}`"));
            table += &format!(
                "| `{}` | {} | {} | {} |\n",
                sample.name,
                sample.value.kind(),
                labels.collect::<Vec<_>>().join(", "),
                sample.help,
            );
        }
    }
    is_up_to_date("docs/metrics.md", "metrics", &table);
}
