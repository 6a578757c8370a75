//! FIN: responses, errors and effects.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("fin_gets_no_response_and_frees_the_slot", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"), Send(b"FIN <a>\n"),
        Message('b', 1, b"2"), Open,
    ]),
    ("carriage_return_and_surplus_parameters_are_ignored", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"), Send(b"FIN <a> x\r\n"),
        Message('b', 1, b"2"), Open,
    ]),
    ("second_fin_fails_and_keeps_the_connection", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"FIN <a>\nFIN <a>\n"), Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
    ]),
    ("unknown_id_fails", &[
        Send(b"SUB <t> c\nFIN 0123456789abcdef\n"), OK,
        Error(b"E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight"), Open,
    ]),
    ("any_16_bytes_are_an_id", &[
        Send(b"SUB <t> c\nFIN \xff\0\xc3!\"%sABCDEFGHI\n"), OK,
        Error(b"E_FIN_FAILED FIN \xff\0\xc3!\"%sABCDEFGHI failed ID not in flight"), Open,
    ]),
    ("id_with_plus_sign_is_unknown", &[
        Send(b"SUB <t> c\nFIN +000000000000001\n"), OK,
        Error(b"E_FIN_FAILED FIN +000000000000001 failed ID not in flight"), Open,
    ]),
    ("message_of_another_consumer_fails", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Use(1), Send(b"SUB <t> c\nFIN <a>\n"), OK,
        Error(b"E_FIN_FAILED FIN <a> failed client does not own message"), Open,
        Use(0), Send(b"FIN <a>\nFIN <a>\n"), Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"),
        Open,
    ]),
    ("message_of_another_channel_fails", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Use(1), Send(b"SUB <t> d\nFIN <a>\n"), OK,
        Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
    ]),
    ("requeued_message_fails", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"RDY 0\nREQ <a> 0\nFIN <a>\n"),
        Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
    ]),
    ("timed_out_message_belongs_to_its_next_consumer", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Identify(r#"{"msg_timeout":1000}"#), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"), Send(b"RDY 0\n"),
        Use(1), Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 2, b"x"),
        Use(0), Send(b"FIN <a>\nTOUCH <a>\nREQ <a> 0\n"),
        Error(b"E_FIN_FAILED FIN <a> failed client does not own message"),
        Error(b"E_TOUCH_FAILED TOUCH <a> failed client does not own message"),
        Error(b"E_REQ_FAILED REQ <a> failed client does not own message"), Open,
        Use(1), Send(b"FIN <a>\n"), Open,
    ]),
    ("timed_out_message_is_delivered_again", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Identify(r#"{"msg_timeout":1000}"#), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"), Message('a', 2, b"x"),
        Send(b"FIN <a>\nFIN <a>\n"), Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
    ]),
    ("first_identify_sets_the_message_timeout", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Identify(r#"{"msg_timeout":1000}"#), OK,
        Identify(r#"{"msg_timeout":900000}"#), OK, Send(b"SUB <t> c\nRDY 1\n"), OK,
        Message('a', 1, b"x"), Message('a', 2, b"x"), Open,
    ]),
    ("missing_id_is_rejected", &[
        Send(b"SUB <t> c\nFIN\n"), OK, Error(b"E_INVALID FIN insufficient number of params"), Eof,
    ]),
    ("short_id_is_rejected", &[
        Send(b"SUB <t> c\nFIN 0123456789abcde\n"), OK, Error(b"E_INVALID <i>"), Eof,
    ]),
    ("long_id_is_rejected", &[
        Send(b"SUB <t> c\nFIN 0123456789abcdef0\n"), OK, Error(b"E_INVALID <i>"),
        Eof,
    ]),
    ("empty_id_is_rejected", &[
        Send(b"SUB <t> c\nFIN  0123456789abcdef\n"), OK, Error(b"E_INVALID <i>"),
        Eof,
    ]),
    ("fin_before_sub_is_rejected", &[
        Send(b"FIN 0123456789abcdef\n"), Error(b"E_INVALID cannot FIN in current state"), Eof,
    ]),
    ("fin_before_sub_is_rejected_before_its_id", &[
        Send(b"FIN\n"), Error(b"E_INVALID cannot FIN in current state"), Eof,
    ]),
    ("fin_after_cls_is_allowed", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"CLS\nFIN <a>\nFIN <a>\n"), Response("CLOSE_WAIT"),
        Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
    ]),
];
