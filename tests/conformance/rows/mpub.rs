//! MPUB: responses, errors and effects.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("messages_are_delivered_in_order", &[
        Send(b"MPUB <t>\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0\0\x02bb"), OK,
        Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"a"), Message('b', 1, b"bb"), Open,
    ]),
    ("surplus_parameters_are_ignored", &[
        Send(b"MPUB <t> x\n\0\0\0\x09\0\0\0\x01\0\0\0\x01a"), OK, Open,
    ]),
    ("size_is_not_compared_with_the_body", &[
        Send(b"MPUB <t>\n\0\0\0\x01\0\0\0\x02\0\0\0\x01a\0\0\0\x02bb"), OK,
        Send(b"MPUB <t>\n\0\0\x08\0\0\0\0\x01\0\0\0\x01a"), OK, Open,
    ]),
    ("missing_topic_is_rejected", &[
        Send(b"MPUB\n"), Error(b"E_INVALID MPUB insufficient number of parameters"), Eof,
    ]),
    ("error_code_of_an_invalid_topic_is_repeated", &[
        Send(b"MPUB $\n\0\0\0\x09"),
        Error(br#"E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "$" is not valid"#), Eof,
    ]),
    ("empty_body_is_rejected", &[
        Send(b"MPUB <t>\n\0\0\0\0"), Error(b"E_BAD_BODY MPUB invalid body size 0"), Eof,
    ]),
    ("negative_size_is_rejected", &[
        Send(b"MPUB <t>\n\xff\xff\xff\xff"), Error(b"E_BAD_BODY MPUB invalid body size -1"), Eof,
    ]),
    ("body_above_the_limit_is_rejected", &[
        Send(b"MPUB <t>\n\0\0\x08\x01"), Error(b"E_BAD_BODY MPUB body too big 2049 > 2048"), Eof,
    ]),
    ("zero_messages_are_rejected", &[
        Send(b"MPUB <t>\n\0\0\0\x04\0\0\0\0"), Error(b"E_BAD_BODY MPUB invalid message count 0"),
        Eof,
    ]),
    ("negative_count_is_rejected", &[
        Send(b"MPUB <t>\n\0\0\0\x04\xff\xff\xff\xfd"),
        Error(b"E_BAD_BODY MPUB invalid message count -3"), Eof,
    ]),
    ("count_above_what_the_largest_body_can_hold_is_rejected", &[
        Send(b"MPUB <t>\n\0\0\0\x04\0\0\x01\x99"),
        Error(b"E_BAD_BODY MPUB invalid message count 409"), Eof,
    ]),
    ("empty_message_rejects_the_batch", &[
        Send(b"MPUB <t>\n\0\0\0\x0d\0\0\0\x02\0\0\0\x01a\0\0\0\0"),
        Error(b"E_BAD_MESSAGE MPUB invalid message(1) body size 0"), Eof,
        Use(1), Send(b"PUB <t>\n\0\0\0\x01y"), OK, Send(b"SUB <t> c\nRDY 2\n"), OK,
        Message('a', 1, b"y"), Open,
    ]),
    ("negative_message_size_is_rejected", &[
        Send(b"MPUB <t>\n\0\0\0\x08\0\0\0\x01\xff\xff\xff\xff"),
        Error(b"E_BAD_MESSAGE MPUB invalid message(0) body size -1"), Eof,
    ]),
    ("message_above_the_limit_rejects_the_batch", &[
        Send(b"MPUB <t>\n\0\0\0\x0d\0\0\0\x02\0\0\0\x01a\0\0\x04\x01"),
        Error(b"E_BAD_MESSAGE MPUB message too big 1025 > 1024"), Eof,
        Use(1), Send(b"PUB <t>\n\0\0\0\x01y"), OK, Send(b"SUB <t> c\nRDY 2\n"), OK,
        Message('a', 1, b"y"), Open,
    ]),
    ("missing_size_returns_error", &[
        Send(b"MPUB <t>\n\0"), HalfClose, Error(b"E_BAD_BODY MPUB failed to read body size"), Eof,
    ]),
    ("incomplete_count_returns_error", &[
        Send(b"MPUB <t>\n\0\0\0\x09\0\0"), HalfClose,
        Error(b"E_BAD_BODY MPUB failed to read message count"), Eof,
    ]),
    ("incomplete_message_size_returns_error", &[
        Send(b"MPUB <t>\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0"), HalfClose,
        Error(b"E_BAD_MESSAGE MPUB failed to read message(1) body size"), Eof,
    ]),
    ("incomplete_message_returns_error_and_stores_nothing", &[
        Send(b"MPUB <t>\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0\0\x02b"), HalfClose,
        Error(b"E_BAD_MESSAGE MPUB failed to read message body"), Eof,
        Use(1), Send(b"PUB <t>\n\0\0\0\x01y"), OK, Send(b"SUB <t> c\nRDY 2\n"), OK,
        Message('a', 1, b"y"), Open,
    ]),
    ("mpub_after_sub_is_allowed", &[
        Send(b"SUB <t> c\nMPUB <t>\n\0\0\0\x09\0\0\0\x01\0\0\0\x01a"), OK, OK, Open,
    ]),
    ("mpub_after_cls_is_allowed", &[
        Send(b"SUB <t> c\nCLS\nMPUB <t>\n\0\0\0\x09\0\0\0\x01\0\0\0\x01a"), OK,
        Response("CLOSE_WAIT"), OK, Open,
    ]),
];
