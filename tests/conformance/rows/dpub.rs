//! DPUB: responses, errors and effects.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("message_is_delivered_after_its_delay", &[
        Send(b"SUB <t> c\n"), OK,
        Use(1), Send(b"DPUB <t> 300\n\0\0\0\x05laterPUB <t>\n\0\0\0\x03now"), OK, OK,
        Use(0), Send(b"RDY 2\n"), Message('a', 1, b"now"), Message('b', 1, b"later"), Open,
    ]),
    ("zero_delay_delivers_at_once", &[
        Send(b"DPUB <t> 0\n\0\0\0\x031stPUB <t>\n\0\0\0\x032nd"), OK, OK,
        Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"1st"), Message('b', 1, b"2nd"), Open,
    ]),
    ("empty_delay_is_zero", &[
        Send(b"DPUB <t> \n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Open,
    ]),
    ("surplus_parameters_are_ignored", &[Send(b"DPUB <t> 0 x\n\0\0\0\x01x"), OK, Open]),
    ("leading_zeros_are_ignored", &[Send(b"DPUB <t> 0003600000\n\0\0\0\x01x"), OK, Open]),
    ("maximum_delay_is_accepted", &[Send(b"DPUB <t> 3600000\n\0\0\0\x01x"), OK, Open]),
    ("delay_above_the_maximum_is_rejected", &[
        Send(b"DPUB <t> 3600001\n\0\0\0\x01x"),
        Error(b"E_INVALID DPUB timeout 3600001 out of range 0-3600000"), Eof,
    ]),
    ("delay_beyond_64_bits_wraps", &[
        Send(b"DPUB <t> 18446744073709551616\n\0\0\0\x01x"), OK, Open,
    ]),
    ("delay_that_overflows_to_negative_is_rejected", &[
        Send(b"DPUB <t> 9223372036855\n\0\0\0\x01x"),
        Error(b"E_INVALID DPUB timeout 9223372036855 out of range 0-3600000"), Eof,
    ]),
    ("negative_delay_is_rejected", &[
        Send(b"DPUB <t> -1\n"), Error(b"E_INVALID DPUB could not parse timeout -1"), Eof,
    ]),
    ("delay_with_other_characters_is_rejected", &[
        Send(b"DPUB <t> 1\xff\n"), Error(b"E_INVALID DPUB could not parse timeout 1\xff"), Eof,
    ]),
    ("missing_topic_or_delay_is_rejected", &[
        Send(b"DPUB\n"), Error(b"E_INVALID DPUB insufficient number of parameters"), Eof,
        Use(1), Send(b"DPUB <t>\n\0\0\0\x01x"),
        Error(b"E_INVALID DPUB insufficient number of parameters"), Eof,
    ]),
    ("topic_is_checked_first", &[
        Send(b"DPUB $ x\n\0\0\0\0"), Error(br#"E_BAD_TOPIC DPUB topic name "$" is not valid"#), Eof,
    ]),
    ("empty_message_is_rejected", &[
        Send(b"DPUB <t> 1\n\0\0\0\0"), Error(b"E_BAD_MESSAGE DPUB invalid message body size 0"),
        Eof,
    ]),
    ("message_above_the_limit_is_rejected", &[
        Send(b"DPUB <t> 1\n\0\0\x04\x01"), Error(b"E_BAD_MESSAGE DPUB message too big 1025 > 1024"),
        Eof,
    ]),
    ("missing_size_returns_error", &[
        Send(b"DPUB <t> 1\n"), HalfClose,
        Error(b"E_BAD_MESSAGE DPUB failed to read message body size"), Eof,
    ]),
    ("incomplete_body_returns_error", &[
        Send(b"DPUB <t> 1\n\0\0\0\x02x"), HalfClose,
        Error(b"E_BAD_MESSAGE DPUB failed to read message body"), Eof,
    ]),
    ("dpub_after_sub_is_allowed", &[Send(b"SUB <t> c\nDPUB <t> 1\n\0\0\0\x01x"), OK, OK, Open]),
    ("dpub_after_cls_is_allowed", &[
        Send(b"SUB <t> c\nCLS\nDPUB <t> 1\n\0\0\0\x01x"), OK, Response("CLOSE_WAIT"), OK, Open,
    ]),
];
