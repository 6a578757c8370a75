//! The same for nsqlookupd: HTTP requests of clients and bytes of nsqds, against the embedded
//! nsqlookupd and a real one. Each row has its own.

mod http;
mod step;
mod tcp;

use libtest_mimic::{Completion, Failed, Trial};

use crate::support::broker::Kind;
use crate::support::lookupd::{Lookupd, LookupdSettings};
use crate::support::trials;

use step::Row;

/// `embedded::lookupd_http::NAME` and `real::lookupd_http::NAME` are the same row.
pub fn trials() -> impl Iterator<Item = Trial> {
    let groups = [("lookupd_http", http::ROWS), ("lookupd_tcp", tcp::ROWS)];
    let rows = groups
        .into_iter()
        .flat_map(|(group, rows)| rows.iter().map(move |row| (group, *row)));
    rows.flat_map(|(group, row)| {
        [Kind::Embedded, Kind::Real].map(|kind| {
            let name = format!("{kind}::{group}::{}", row.0);
            Trial::ignorable_test(name, move || run(kind, row))
        })
    })
}

fn run(kind: Kind, row: Row) -> Result<Completion, Failed> {
    if let Some(instead) = trials::without_a_real_lookupd(kind) {
        return instead;
    }
    let lookupd = Lookupd::start_blocking(kind, LookupdSettings::default());
    step::run(row, &lookupd)?;
    Ok(Completion::Completed)
}
