//! CLS: responses, errors and effects.

use crate::step::{OK, Row, Step, Step::*};

const CLOSE_WAIT: Step = Response("CLOSE_WAIT");

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("cls_returns_close_wait_and_keeps_the_connection", &[
        Send(b"SUB <t> c\nCLS\n"), OK, CLOSE_WAIT, Open, HalfClose, Eof,
    ]),
    ("parameters_are_ignored", &[Send(b"SUB <t> c\nCLS now\r\n"), OK, CLOSE_WAIT, Open]),
    ("no_messages_are_delivered_after_cls", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"), Send(b"CLS\n"), CLOSE_WAIT,
        Send(b"FIN <a>\n"), Open,
        Use(1), Send(b"SUB <t> c\nRDY 1\n"), OK, Message('b', 1, b"2"), Open,
    ]),
    ("second_cls_is_rejected", &[
        Send(b"SUB <t> c\nCLS\nCLS\n"), OK, CLOSE_WAIT,
        Error(b"E_INVALID cannot CLS in current state"), Eof,
    ]),
    ("cls_before_sub_is_rejected", &[
        Send(b"CLS\n"), Error(b"E_INVALID cannot CLS in current state"), Eof,
    ]),
    ("unknown_command_after_cls_is_rejected", &[
        Send(b"SUB <t> c\nCLS\nQUIT\n"), OK, CLOSE_WAIT, Error(b"E_INVALID invalid command QUIT"),
        Eof,
    ]),
];
