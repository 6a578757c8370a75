//! NOP: never answered, legal everywhere.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("it_is_not_answered", &[Send(b"NOP\nNOP\r\nNOP\n"), Open]),
    ("its_parameters_do_not_matter", &[Send(b"NOP  $ \xff\n"), Open]),
    ("it_is_legal_subscribed", &[Send(b"SUB <t> c\nNOP\n"), OK, Open]),
    ("it_is_legal_closing", &[Send(b"SUB <t> c\nCLS\nNOP\n"), OK, Response("CLOSE_WAIT"), Open]),
];
