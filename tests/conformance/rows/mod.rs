//! The rows, by command.

mod admin;
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
mod output_buffer;
mod publish;
mod rdy;
mod req;
mod sub;
mod tls;
mod touch;

use crate::peers::Setup;
use crate::step::Row;

const TABLE: &[(&str, Setup, &[Row])] = &[
    ("connection", Setup::Default, connection::ROWS),
    ("heartbeats", Setup::Default, heartbeats::ROWS),
    ("identify", Setup::Default, identify::ROWS),
    ("identify", Setup::Default, identify::REJECTED),
    ("auth", Setup::Default, auth::ROWS),
    ("nop", Setup::Default, nop::ROWS),
    ("pub", Setup::Default, publish::ROWS),
    ("mpub", Setup::Default, mpub::ROWS),
    ("dpub", Setup::Default, dpub::ROWS),
    ("sub", Setup::Default, sub::ROWS),
    ("rdy", Setup::Default, rdy::ROWS),
    ("fin", Setup::Default, fin::ROWS),
    ("req", Setup::Default, req::ROWS),
    ("touch", Setup::Default, touch::ROWS),
    ("touch_maximum", Setup::ShortTimeouts, touch::MAXIMUM),
    ("cls", Setup::Default, cls::ROWS),
    ("output_buffer", Setup::RealisticTiming, output_buffer::ROWS),
    ("admin", Setup::Default, admin::ROWS),
    ("snappy", Setup::Default, compression::SNAPPY_ROWS),
    ("deflate", Setup::Default, compression::DEFLATE_ROWS),
    (
        "uncompressed",
        Setup::Uncompressed,
        compression::DECLINED_ROWS,
    ),
    ("tls", Setup::Tls, tls::ROWS),
    ("tls_required", Setup::TlsRequired, tls::REQUIRED),
    ("auth_required", Setup::Auth, auth::REQUIRED),
];

/// Iterates over all rows, with their group and the setup of nsqd.
pub fn all() -> impl Iterator<Item = (&'static str, Setup, Row)> {
    TABLE
        .iter()
        .flat_map(|(group, setup, rows)| rows.iter().map(move |row| (*group, *setup, *row)))
}
