//! The table, by command.

mod auth;
mod cls;
mod connection;
mod dpub;
mod fin;
mod heartbeats;
mod identify;
mod mpub;
mod nop;
mod publish;
mod rdy;
mod req;
mod sub;
mod touch;

use crate::step::Row;

const TABLE: &[(&str, &[Row])] = &[
    ("connection", connection::ROWS),
    ("heartbeats", heartbeats::ROWS),
    ("identify", identify::ROWS),
    ("identify", identify::REFUSED),
    ("auth", auth::ROWS),
    ("nop", nop::ROWS),
    ("pub", publish::ROWS),
    ("mpub", mpub::ROWS),
    ("dpub", dpub::ROWS),
    ("sub", sub::ROWS),
    ("rdy", rdy::ROWS),
    ("fin", fin::ROWS),
    ("req", req::ROWS),
    ("touch", touch::ROWS),
    ("cls", cls::ROWS),
];

/// Every row with the name of its command.
pub fn all() -> impl Iterator<Item = (&'static str, Row)> {
    TABLE
        .iter()
        .flat_map(|(group, rows)| rows.iter().map(move |row| (*group, *row)))
}
