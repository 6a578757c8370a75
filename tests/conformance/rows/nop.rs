//! NOP: gets no response, and is always allowed.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("nop_gets_no_response", &[Send(b"NOP\nNOP\r\nNOP\n"), Open]),
    ("parameters_are_ignored", &[Send(b"NOP  $ \xff\n"), Open]),
    ("nop_after_sub_is_allowed", &[Send(b"SUB <t> c\nNOP\n"), OK, Open]),
    ("nop_after_cls_is_allowed", &[
        Send(b"SUB <t> c\nCLS\nNOP\n"), OK, Response("CLOSE_WAIT"), Open,
    ]),
];
