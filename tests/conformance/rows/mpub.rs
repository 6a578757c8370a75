//! MPUB.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("its_messages_are_delivered_in_order", &[
        Send(b"MPUB <t>\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0\0\x02bb"), OK,
        Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"a"), Message('b', 1, b"bb"), Open,
    ]),
    ("surplus_parameters_do_not_matter", &[Send(b"MPUB <t> x\n\0\0\0\x09\0\0\0\x01\0\0\0\x01a"), OK, Open]),
    ("its_size_is_never_held_against_its_body", &[
        Send(b"MPUB <t>\n\0\0\0\x01\0\0\0\x02\0\0\0\x01a\0\0\0\x02bb"), OK,
        Send(b"MPUB <t>\n\0\0\x08\0\0\0\0\x01\0\0\0\x01a"), OK, Open,
    ]),
    ("it_needs_a_topic", &[Send(b"MPUB\n"), Error(b"E_INVALID MPUB insufficient number of parameters"), Eof]),
    ("the_code_of_a_bad_topic_comes_twice", &[
        Send(b"MPUB $\n\0\0\0\x09"), Error(br#"E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "$" is not valid"#), Eof,
    ]),
    ("an_empty_body_is_refused", &[Send(b"MPUB <t>\n\0\0\0\0"), Error(b"E_BAD_BODY MPUB invalid body size 0"), Eof]),
    ("a_negative_size_is_refused", &[
        Send(b"MPUB <t>\n\xff\xff\xff\xff"), Error(b"E_BAD_BODY MPUB invalid body size -1"), Eof,
    ]),
    ("too_large_a_body_is_refused", &[Send(b"MPUB <t>\n\0\0\x08\x01"), Error(b"E_BAD_BODY MPUB body too big 2049 > 2048"), Eof]),
    ("no_messages_are_refused", &[
        Send(b"MPUB <t>\n\0\0\0\x04\0\0\0\0"), Error(b"E_BAD_BODY MPUB invalid message count 0"), Eof,
    ]),
    ("a_negative_count_is_refused", &[
        Send(b"MPUB <t>\n\0\0\0\x04\xff\xff\xff\xfd"), Error(b"E_BAD_BODY MPUB invalid message count -3"), Eof,
    ]),
    ("more_messages_than_could_be_in_the_largest_body_are_refused", &[
        Send(b"MPUB <t>\n\0\0\0\x04\0\0\x01\x99"), Error(b"E_BAD_BODY MPUB invalid message count 409"), Eof,
    ]),
    ("an_empty_message_refuses_all", &[
        Send(b"MPUB <t>\n\0\0\0\x0d\0\0\0\x02\0\0\0\x01a\0\0\0\0"),
        Error(b"E_BAD_MESSAGE MPUB invalid message(1) body size 0"), Eof,
        Use(1), Send(b"PUB <t>\n\0\0\0\x01y"), OK, Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"y"), Open,
    ]),
    ("a_negative_message_size_is_refused", &[
        Send(b"MPUB <t>\n\0\0\0\x08\0\0\0\x01\xff\xff\xff\xff"),
        Error(b"E_BAD_MESSAGE MPUB invalid message(0) body size -1"), Eof,
    ]),
    ("too_large_a_message_refuses_all", &[
        Send(b"MPUB <t>\n\0\0\0\x0d\0\0\0\x02\0\0\0\x01a\0\0\x04\x01"),
        Error(b"E_BAD_MESSAGE MPUB message too big 1025 > 1024"), Eof,
        Use(1), Send(b"PUB <t>\n\0\0\0\x01y"), OK, Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"y"), Open,
    ]),
    ("no_size_is_told", &[Send(b"MPUB <t>\n\0"), HalfClose, Error(b"E_BAD_BODY MPUB failed to read body size"), Eof]),
    ("no_count_is_told", &[
        Send(b"MPUB <t>\n\0\0\0\x09\0\0"), HalfClose, Error(b"E_BAD_BODY MPUB failed to read message count"), Eof,
    ]),
    ("half_a_message_size_is_told", &[
        Send(b"MPUB <t>\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0"), HalfClose,
        Error(b"E_BAD_MESSAGE MPUB failed to read message(1) body size"), Eof,
    ]),
    ("half_a_message_is_told_and_nothing_stored", &[
        Send(b"MPUB <t>\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0\0\x02b"), HalfClose,
        Error(b"E_BAD_MESSAGE MPUB failed to read message body"), Eof,
        Use(1), Send(b"PUB <t>\n\0\0\0\x01y"), OK, Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"y"), Open,
    ]),
    ("it_is_legal_subscribed", &[Send(b"SUB <t> c\nMPUB <t>\n\0\0\0\x09\0\0\0\x01\0\0\0\x01a"), OK, OK, Open]),
    ("it_is_legal_closing", &[
        Send(b"SUB <t> c\nCLS\nMPUB <t>\n\0\0\0\x09\0\0\0\x01\0\0\0\x01a"), OK, Response("CLOSE_WAIT"), OK, Open,
    ]),
];
