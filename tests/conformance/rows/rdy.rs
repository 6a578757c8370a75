//! RDY: how many messages may be in flight.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("it_is_a_ceiling_for_what_is_in_flight", &[
        Send(b"MPUB <t>\n\0\0\0\x13\0\0\0\x03\0\0\0\x011\0\0\0\x012\0\0\0\x013"), OK,
        Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"1"), Message('b', 1, b"2"), Open,
        Send(b"FIN <a>\n"), Message('c', 1, b"3"), Open,
    ]),
    ("a_higher_one_lets_more_come", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"), Open, Send(b"RDY 2\n"), Message('b', 1, b"2"), Open,
    ]),
    ("zero_stops_them", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"), Send(b"RDY 0\nFIN <a>\n"), Open,
        Send(b"RDY 1\n"), Message('b', 1, b"2"), Open,
    ]),
    ("a_lower_one_leaves_what_is_in_flight", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"1"), Message('b', 1, b"2"),
        Send(b"RDY 1\nFIN <a>\nFIN <b>\nFIN <b>\n"), Error(b"E_FIN_FAILED FIN <b> failed ID not in flight"), Open,
    ]),
    ("without_a_count_it_is_one", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY\n"), OK, Message('a', 1, b"1"), Open,
    ]),
    ("an_empty_count_is_zero", &[Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY \n"), OK, Open]),
    ("surplus_parameters_do_not_matter", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1 x\n"), OK, Message('a', 1, b"x"), Open,
    ]),
    ("it_may_be_as_high_as_allowed", &[Send(b"SUB <t> c\nRDY 100\nRDY 0000100\n"), OK, Open]),
    ("a_higher_one_is_fatal", &[Send(b"SUB <t> c\nRDY 101\n"), OK, Error(b"E_INVALID RDY count 101 out of range 0-100"), Eof]),
    ("a_negative_one_is_fatal", &[Send(b"SUB <t> c\nRDY -1\n"), OK, Error(b"E_INVALID RDY could not parse count -1"), Eof]),
    ("a_count_is_digits_only", &[
        Send(b"SUB <t> c\nRDY 1\xff\n"), OK, Error(b"E_INVALID RDY could not parse count 1\xff"), Eof,
    ]),
    ("one_that_go_takes_for_negative_is_fatal", &[
        Send(b"SUB <t> c\nRDY 18446744073709551615\n"), OK, Error(b"E_INVALID RDY count -1 out of range 0-100"), Eof,
    ]),
    ("a_count_of_64_bits_wraps", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 18446744073709551617\n"), OK, Message('a', 1, b"x"), Open,
    ]),
    ("before_sub_it_is_refused", &[Send(b"RDY 1\n"), Error(b"E_INVALID cannot RDY in current state"), Eof]),
    ("before_sub_it_is_refused_whatever_its_count", &[Send(b"RDY x\n"), Error(b"E_INVALID cannot RDY in current state"), Eof]),
    ("closing_it_is_ignored", &[
        Send(b"PUB <t>\n\0\0\0\x01xSUB <t> c\nCLS\nRDY 1\n"), OK, OK, Response("CLOSE_WAIT"), Open,
    ]),
    ("closing_it_is_ignored_whatever_its_count", &[
        Send(b"SUB <t> c\nCLS\nRDY 101\nRDY -1\nRDY x\n"), OK, Response("CLOSE_WAIT"), Open,
    ]),
];
