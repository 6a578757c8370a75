//! CLS.

use crate::step::{OK, Row, Step, Step::*};

const CLOSE_WAIT: Step = Response("CLOSE_WAIT");

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("it_is_answered_and_the_connection_lives", &[Send(b"SUB <t> c\nCLS\n"), OK, CLOSE_WAIT, Open, HalfClose, Eof]),
    ("parameters_do_not_matter", &[Send(b"SUB <t> c\nCLS now\r\n"), OK, CLOSE_WAIT, Open]),
    ("no_more_messages_come", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"), Send(b"CLS\n"), CLOSE_WAIT, Send(b"FIN <a>\n"), Open,
        Use(1), Send(b"SUB <t> c\nRDY 1\n"), OK, Message('b', 1, b"2"), Open,
    ]),
    ("a_second_one_is_refused", &[
        Send(b"SUB <t> c\nCLS\nCLS\n"), OK, CLOSE_WAIT, Error(b"E_INVALID cannot CLS in current state"), Eof,
    ]),
    ("before_sub_it_is_refused", &[Send(b"CLS\n"), Error(b"E_INVALID cannot CLS in current state"), Eof]),
    ("an_unknown_command_is_refused_behind_it_too", &[
        Send(b"SUB <t> c\nCLS\nQUIT\n"), OK, CLOSE_WAIT, Error(b"E_INVALID invalid command QUIT"), Eof,
    ]),
];
