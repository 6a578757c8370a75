//! The table, by command.

mod auth;
mod cls;
mod compression;
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
mod tls;
mod touch;

use crate::peers::Setup;
use crate::step::Row;

const TABLE: &[(&str, Setup, &[Row])] = &[
    ("connection", Setup::Usual, connection::ROWS),
    ("heartbeats", Setup::Usual, heartbeats::ROWS),
    ("identify", Setup::Usual, identify::ROWS),
    ("identify", Setup::Usual, identify::REFUSED),
    ("auth", Setup::Usual, auth::ROWS),
    ("nop", Setup::Usual, nop::ROWS),
    ("pub", Setup::Usual, publish::ROWS),
    ("mpub", Setup::Usual, mpub::ROWS),
    ("dpub", Setup::Usual, dpub::ROWS),
    ("sub", Setup::Usual, sub::ROWS),
    ("rdy", Setup::Usual, rdy::ROWS),
    ("fin", Setup::Usual, fin::ROWS),
    ("req", Setup::Usual, req::ROWS),
    ("touch", Setup::Usual, touch::ROWS),
    ("cls", Setup::Usual, cls::ROWS),
    ("snappy", Setup::Usual, compression::SNAPPY_ROWS),
    ("deflate", Setup::Usual, compression::DEFLATE_ROWS),
    (
        "uncompressed",
        Setup::Uncompressed,
        compression::DECLINED_ROWS,
    ),
    ("tls", Setup::Tls, tls::ROWS),
    ("tls_required", Setup::TlsRequired, tls::REQUIRED),
    ("auth_required", Setup::Auth, auth::REQUIRED),
];

/// Every row with the name of its command, and the nsqd that it is for.
pub fn all() -> impl Iterator<Item = (&'static str, Setup, Row)> {
    TABLE
        .iter()
        .flat_map(|(group, setup, rows)| rows.iter().map(move |row| (*group, *setup, *row)))
}
