//! RDY: the maximum number of messages in flight.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("count_limits_messages_in_flight", &[
        Send(b"MPUB <t>\n\0\0\0\x13\0\0\0\x03\0\0\0\x011\0\0\0\x012\0\0\0\x013"), OK,
        Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"1"), Message('b', 1, b"2"), Open,
        Send(b"FIN <a>\n"), Message('c', 1, b"3"), Open,
    ]),
    ("higher_count_delivers_more", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"), Open, Send(b"RDY 2\n"),
        Message('b', 1, b"2"), Open,
    ]),
    ("zero_stops_delivery", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"), Send(b"RDY 0\nFIN <a>\n"), Open,
        Send(b"RDY 1\n"), Message('b', 1, b"2"), Open,
    ]),
    ("lower_count_keeps_messages_in_flight", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"1"), Message('b', 1, b"2"),
        Send(b"RDY 1\nFIN <a>\nFIN <b>\nFIN <b>\n"),
        Error(b"E_FIN_FAILED FIN <b> failed ID not in flight"), Open,
    ]),
    ("missing_count_is_one", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY\n"), OK, Message('a', 1, b"1"), Open,
    ]),
    ("empty_count_is_zero", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY \n"), OK, Open,
    ]),
    ("surplus_parameters_are_ignored", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1 x\n"), OK, Message('a', 1, b"x"),
        Open,
    ]),
    ("maximum_count_is_accepted", &[Send(b"SUB <t> c\nRDY 100\nRDY 0000100\n"), OK, Open]),
    ("count_above_the_maximum_is_rejected", &[
        Send(b"SUB <t> c\nRDY 101\n"), OK, Error(b"E_INVALID RDY count 101 out of range 0-100"),
        Eof,
    ]),
    ("negative_count_is_rejected", &[
        Send(b"SUB <t> c\nRDY -1\n"), OK, Error(b"E_INVALID RDY could not parse count -1"), Eof,
    ]),
    ("count_with_other_characters_is_rejected", &[
        Send(b"SUB <t> c\nRDY 1\xff\n"), OK, Error(b"E_INVALID RDY could not parse count 1\xff"),
        Eof,
    ]),
    ("count_that_overflows_to_negative_is_rejected", &[
        Send(b"SUB <t> c\nRDY 18446744073709551615\n"), OK,
        Error(b"E_INVALID RDY count -1 out of range 0-100"), Eof,
    ]),
    ("count_beyond_64_bits_wraps", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 18446744073709551617\n"), OK,
        Message('a', 1, b"x"), Open,
    ]),
    ("rdy_before_sub_is_rejected", &[
        Send(b"RDY 1\n"), Error(b"E_INVALID cannot RDY in current state"), Eof,
    ]),
    ("rdy_before_sub_is_rejected_before_its_count", &[
        Send(b"RDY x\n"), Error(b"E_INVALID cannot RDY in current state"), Eof,
    ]),
    ("rdy_after_cls_is_ignored", &[
        Send(b"PUB <t>\n\0\0\0\x01xSUB <t> c\nCLS\nRDY 1\n"), OK, OK, Response("CLOSE_WAIT"), Open,
    ]),
    ("invalid_rdy_after_cls_is_ignored", &[
        Send(b"SUB <t> c\nCLS\nRDY 101\nRDY -1\nRDY x\n"), OK, Response("CLOSE_WAIT"), Open,
    ]),
];
