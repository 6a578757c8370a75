//! DPUB.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("it_comes_when_its_delay_is_over", &[
        Send(b"SUB <t> c\n"), OK,
        Use(1), Send(b"DPUB <t> 300\n\0\0\0\x05laterPUB <t>\n\0\0\0\x03now"), OK, OK,
        Use(0), Send(b"RDY 2\n"), Message('a', 1, b"now"), Message('b', 1, b"later"), Open,
    ]),
    ("without_a_delay_it_comes_at_once", &[
        Send(b"DPUB <t> 0\n\0\0\0\x031stPUB <t>\n\0\0\0\x032nd"), OK, OK,
        Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"1st"), Message('b', 1, b"2nd"), Open,
    ]),
    ("an_empty_delay_is_none", &[Send(b"DPUB <t> \n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"), Open]),
    ("surplus_parameters_do_not_matter", &[Send(b"DPUB <t> 0 x\n\0\0\0\x01x"), OK, Open]),
    ("leading_zeros_do_not_matter", &[Send(b"DPUB <t> 0003600000\n\0\0\0\x01x"), OK, Open]),
    ("the_delay_may_be_as_long_as_allowed", &[Send(b"DPUB <t> 3600000\n\0\0\0\x01x"), OK, Open]),
    ("a_longer_one_is_refused", &[
        Send(b"DPUB <t> 3600001\n\0\0\0\x01x"), Error(b"E_INVALID DPUB timeout 3600001 out of range 0-3600000"), Eof,
    ]),
    ("a_delay_of_64_bits_wraps", &[Send(b"DPUB <t> 18446744073709551616\n\0\0\0\x01x"), OK, Open]),
    ("a_delay_that_go_takes_for_negative_is_refused", &[
        Send(b"DPUB <t> 9223372036855\n\0\0\0\x01x"), Error(b"E_INVALID DPUB timeout 9223372036855 out of range 0-3600000"), Eof,
    ]),
    ("a_negative_delay_is_refused", &[Send(b"DPUB <t> -1\n"), Error(b"E_INVALID DPUB could not parse timeout -1"), Eof]),
    ("a_delay_is_digits_only", &[Send(b"DPUB <t> 1\xff\n"), Error(b"E_INVALID DPUB could not parse timeout 1\xff"), Eof]),
    ("it_needs_a_topic_and_a_delay", &[
        Send(b"DPUB\n"), Error(b"E_INVALID DPUB insufficient number of parameters"), Eof,
        Use(1), Send(b"DPUB <t>\n\0\0\0\x01x"), Error(b"E_INVALID DPUB insufficient number of parameters"), Eof,
    ]),
    ("the_topic_is_looked_at_first", &[
        Send(b"DPUB $ x\n\0\0\0\0"), Error(br#"E_BAD_TOPIC DPUB topic name "$" is not valid"#), Eof,
    ]),
    ("an_empty_message_is_refused", &[
        Send(b"DPUB <t> 1\n\0\0\0\0"), Error(b"E_BAD_MESSAGE DPUB invalid message body size 0"), Eof,
    ]),
    ("too_large_a_message_is_refused", &[
        Send(b"DPUB <t> 1\n\0\0\x04\x01"), Error(b"E_BAD_MESSAGE DPUB message too big 1025 > 1024"), Eof,
    ]),
    ("no_size_is_told", &[
        Send(b"DPUB <t> 1\n"), HalfClose, Error(b"E_BAD_MESSAGE DPUB failed to read message body size"), Eof,
    ]),
    ("half_a_body_is_told", &[
        Send(b"DPUB <t> 1\n\0\0\0\x02x"), HalfClose, Error(b"E_BAD_MESSAGE DPUB failed to read message body"), Eof,
    ]),
    ("it_is_legal_subscribed", &[Send(b"SUB <t> c\nDPUB <t> 1\n\0\0\0\x01x"), OK, OK, Open]),
    ("it_is_legal_closing", &[
        Send(b"SUB <t> c\nCLS\nDPUB <t> 1\n\0\0\0\x01x"), OK, Response("CLOSE_WAIT"), OK, Open,
    ]),
];
