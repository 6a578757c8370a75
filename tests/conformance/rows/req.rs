//! REQ: responses, errors and effects.

use crate::step::{OK, Row, Step, Step::*};

const FAILS: Step = Error(b"E_REQ_FAILED REQ <a> failed ID not in flight");

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("requeued_message_has_one_more_attempt", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 0\n"), Message('a', 2, b"x"), Send(b"REQ <a> 0\n"), Message('a', 3, b"x"),
        Open,
    ]),
    ("requeued_message_follows_queued_messages", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"), Send(b"REQ <a> 0\n"),
        Message('b', 1, b"2"), Send(b"FIN <b>\n"), Message('a', 2, b"1"), Open,
    ]),
    ("requeued_message_is_delivered_after_its_delay", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 300\n"), Open, Message('a', 2, b"x"), Open,
    ]),
    ("requeued_message_may_go_to_another_consumer", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Use(1), Send(b"SUB <t> c\nRDY 1\n"), OK,
        Use(0), Send(b"RDY 0\nREQ <a> 0\n"),
        Use(1), Message('a', 2, b"x"), Send(b"FIN <a>\n"), Open,
    ]),
    ("delay_above_the_maximum_is_accepted", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 3600001\nREQ <a> 0\n"), FAILS, Open,
    ]),
    ("delay_that_overflows_to_negative_is_zero", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 9223372036855\n"), Message('a', 2, b"x"), Open,
    ]),
    ("delay_beyond_64_bits_wraps", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 18446744073709551616\n"), Message('a', 2, b"x"), Open,
    ]),
    ("empty_delay_is_zero", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> \n"), Message('a', 2, b"x"), Open,
    ]),
    ("surplus_parameters_are_ignored", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"REQ <a> 0 x\r\n"), Message('a', 2, b"x"), Open,
    ]),
    ("second_req_fails_and_keeps_the_connection", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"RDY 0\nREQ <a> 0\nREQ <a> 0\n"), FAILS, Open,
    ]),
    ("finished_message_fails", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"FIN <a>\nREQ <a> 100\n"), FAILS, Open,
    ]),
    ("unknown_id_fails", &[
        Send(b"SUB <t> c\nREQ 0123456789abcdef 0\n"), OK,
        Error(b"E_REQ_FAILED REQ 0123456789abcdef failed ID not in flight"), Open,
    ]),
    ("message_of_another_consumer_fails", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Use(1), Send(b"SUB <t> c\nREQ <a> 0\n"), OK,
        Error(b"E_REQ_FAILED REQ <a> failed client does not own message"), Open,
    ]),
    ("late_req_requeues_the_next_delivery", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Identify(r#"{"msg_timeout":1000}"#), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"), Message('a', 2, b"x"),
        Send(b"REQ <a> 0\n"), Message('a', 3, b"x"), Send(b"FIN <a>\nREQ <a> 0\n"), FAILS, Open,
    ]),
    ("attempts_count_requeues_timeouts_and_lost_connections", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Identify(r#"{"msg_timeout":1000}"#), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"), Send(b"REQ <a> 0\n"),
        Message('a', 2, b"x"), Send(b"REQ <a> 1\n"), Message('a', 3, b"x"), Message('a', 4, b"x"),
        HalfClose, Eof,
        Use(1), Send(b"SUB <t> c\nRDY 1\n"), OK, Open, Message('a', 5, b"x"), Send(b"FIN <a>\n"),
        Open,
    ]),
    ("negative_delay_is_rejected", &[
        Send(b"SUB <t> c\nREQ 0123456789abcdef -1\n"), OK,
        Error(b"E_INVALID REQ could not parse timeout -1"), Eof,
    ]),
    ("delay_with_other_characters_is_rejected", &[
        Send(b"SUB <t> c\nREQ 0123456789abcdef 1s\xff\n"), OK,
        Error(b"E_INVALID REQ could not parse timeout 1s\xff"), Eof,
    ]),
    ("missing_id_or_delay_is_rejected", &[
        Send(b"SUB <t> c\nREQ\n"), OK, Error(b"E_INVALID REQ insufficient number of params"), Eof,
        Use(1), Send(b"SUB <t> c\nREQ 0123456789abcdef\n"), OK,
        Error(b"E_INVALID REQ insufficient number of params"), Eof,
    ]),
    ("id_is_checked_first", &[
        Send(b"SUB <t> c\nREQ short -1\n"), OK, Error(b"E_INVALID <i>"), Eof,
    ]),
    ("req_before_sub_is_rejected", &[
        Send(b"REQ 0123456789abcdef 0\n"), Error(b"E_INVALID cannot REQ in current state"), Eof,
    ]),
    ("req_after_cls_is_allowed", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Send(b"CLS\nREQ <a> 0\nREQ <a> 0\n"), Response("CLOSE_WAIT"), FAILS, Open,
        Use(1), Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 2, b"x"), Open,
    ]),
];
