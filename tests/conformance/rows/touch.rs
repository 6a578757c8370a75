//! TOUCH: responses, errors and effects.

use crate::step::{HEARTBEAT, OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("touch_gets_no_response_and_keeps_the_message", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"TOUCH <a>\nTOUCH <a> x\r\n"), Open, Send(b"FIN <a>\nTOUCH <a>\n"),
        Error(b"E_TOUCH_FAILED TOUCH <a> failed ID not in flight"), Open,
    ]),
    ("unknown_id_fails", &[
        Send(b"SUB <t> c\nTOUCH 0123456789abcdef\n"), OK,
        Error(b"E_TOUCH_FAILED TOUCH 0123456789abcdef failed ID not in flight"), Open,
    ]),
    ("message_of_another_consumer_fails", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Use(1), Send(b"SUB <t> c\nTOUCH <a>\n"), OK,
        Error(b"E_TOUCH_FAILED TOUCH <a> failed client does not own message"), Open,
    ]),
    ("requeued_message_fails", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 3600000\nTOUCH <a>\n"),
        Error(b"E_TOUCH_FAILED TOUCH <a> failed ID not in flight"), Open,
    ]),
    ("last_identify_sets_the_extended_timeout", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Identify(r#"{"msg_timeout":900000}"#), OK,
        Identify(r#"{"msg_timeout":1000}"#), OK, Send(b"SUB <t> c\nRDY 1\n"), OK,
        Message('a', 1, b"x"), Send(b"TOUCH <a>\n"), Message('a', 2, b"x"), Open,
    ]),
    ("errors_are_sent_in_order", &[
        Send(b"SUB <t> c\nTOUCH 0123456789abcdefPUB\n"), OK, Error(b"E_INVALID <i>"),
        Eof,
        Use(1),
        Send(b"SUB <t> c\nFIN 0123456789abcdef\nPUB <t>\n\0\0\0\x01xTOUCH 0123456789abcdef\n"), OK,
        Error(b"E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight"), OK,
        Error(b"E_TOUCH_FAILED TOUCH 0123456789abcdef failed ID not in flight"), Open,
    ]),
    ("missing_id_is_rejected", &[
        Send(b"SUB <t> c\nTOUCH\n"), OK, Error(b"E_INVALID TOUCH insufficient number of params"),
        Eof,
    ]),
    ("short_id_is_rejected", &[
        Send(b"SUB <t> c\nTOUCH 0\n"), OK, Error(b"E_INVALID <i>"), Eof,
    ]),
    ("touch_before_sub_is_rejected", &[
        Send(b"TOUCH 0\n"), Error(b"E_INVALID cannot TOUCH in current state"), Eof,
    ]),
    ("touch_after_cls_is_allowed", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"CLS\nTOUCH <a>\nTOUCH 0123456789abcdef\n"), Response("CLOSE_WAIT"),
        Error(b"E_TOUCH_FAILED TOUCH 0123456789abcdef failed ID not in flight"), Open,
    ]),
];

#[rustfmt::skip]
pub const MAXIMUM: &[Row] = &[
    // The heartbeats are the clock. The first message lets nsqd notice the timeouts of the channel.
    ("touch_extends_the_timeout_at_most_to_the_maximum", &[
        Send(b"PUB <t>\n\0\0\0\x01y"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"y"),
        Send(b"REQ <a> 1\n"), Message('a', 2, b"y"), Send(b"RDY 0\nFIN <a>\n"),
        Use(1), Identify(r#"{"heartbeat_interval":1000,"msg_timeout":1500}"#), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK,
        Use(0), Send(b"PUB <t>\n\0\0\0\x01x"), OK,
        Use(1), Message('b', 1, b"x"),
        HEARTBEAT, Send(b"TOUCH <b>\n"), HEARTBEAT, Send(b"TOUCH <b>\n"), Message('b', 2, b"x"),
        HEARTBEAT,
    ]),
    ("message_timeout_above_the_maximum_is_rejected", &[
        Identify(r#"{"msg_timeout":2501}"#),
        Error(b"E_BAD_BODY IDENTIFY msg timeout (2501) is invalid"), Eof,
    ]),
];
