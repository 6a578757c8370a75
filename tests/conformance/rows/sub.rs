//! SUB, and which consumer receives a message.

use crate::step::{OK, Row, Step::*};

const NOT_ENOUGH: crate::step::Step = Error(b"E_INVALID SUB insufficient number of parameters");
const NOT_NOW: crate::step::Step = Error(b"E_INVALID cannot SUB in current state");

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("no_message_is_delivered_before_rdy", &[
        Send(b"PUB <t>\n\0\0\0\x01xSUB <t> c\n"), OK, OK, Open,
    ]),
    ("carriage_return_ends_the_line", &[Send(b"SUB <t> c\r\n"), OK, Open]),
    ("surplus_parameters_are_ignored", &[Send(b"SUB <t> c and more\n"), OK, Open]),
    ("sub_after_identify_is_allowed", &[Identify("{}"), OK, Send(b"SUB <t> c\n"), OK, Open]),
    ("sub_after_pub_is_allowed", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\n"), OK, Open,
    ]),
    ("missing_topic_is_rejected", &[Send(b"SUB\n"), NOT_ENOUGH, Eof]),
    ("missing_channel_is_rejected", &[Send(b"SUB <t>\n"), NOT_ENOUGH, Eof]),
    ("invalid_topic_is_rejected", &[
        Send(b"SUB $ c\n"), Error(br#"E_BAD_TOPIC SUB topic name "$" is not valid"#), Eof,
    ]),
    ("invalid_channel_is_rejected", &[
        Send(b"SUB <t> c/d\n"), Error(br#"E_BAD_CHANNEL SUB channel name "c/d" is not valid"#), Eof,
    ]),
    ("empty_channel_is_rejected", &[
        Send(b"SUB <t> \n"), Error(br#"E_BAD_CHANNEL SUB channel name "" is not valid"#), Eof,
    ]),
    ("topic_is_checked_first", &[
        Send(b"SUB $ $\n"), Error(br#"E_BAD_TOPIC SUB topic name "$" is not valid"#), Eof,
    ]),
    ("channel_of_64_characters_is_accepted", &[Fill(b"SUB <t> ", b'c', 64, b"\n"), OK, Open]),
    ("channel_of_65_characters_is_rejected", &[
        Send(b"SUB <t> 1234567890123456789012345678901234567890123456789012345#ephemeral\n"),
        Error(b"E_BAD_CHANNEL SUB channel name \
            \"1234567890123456789012345678901234567890123456789012345#ephemeral\" is not valid"),
        Eof,
    ]),
    ("topic_and_channel_may_be_ephemeral", &[
        Send(b"SUB <t>#ephemeral c#ephemeral\nRDY 1\n"), OK,
        Use(1), Send(b"PUB <t>#ephemeral\n\0\0\0\x01x"), OK,
        Use(0), Message('a', 1, b"x"), Open,
    ]),
    ("sub_without_heartbeats_is_rejected", &[
        Identify(r#"{"heartbeat_interval":-1}"#), OK, Send(b"SUB\n"),
        Error(b"E_INVALID cannot SUB with heartbeats disabled"), Eof,
    ]),
    ("sub_after_heartbeats_are_enabled_again_is_allowed", &[
        Identify(r#"{"heartbeat_interval":-1}"#), OK, Identify(r#"{"heartbeat_interval":5000}"#),
        OK, Send(b"SUB <t> c\n"), OK, Open,
    ]),
    ("second_sub_is_rejected", &[Send(b"SUB <t> c\nSUB <t> c\n"), OK, NOT_NOW, Eof]),
    ("second_sub_is_rejected_before_its_parameters", &[
        Send(b"SUB <t> c\nSUB\n"), OK, NOT_NOW, Eof,
    ]),
    ("sub_after_cls_is_rejected", &[
        Send(b"SUB <t> c\nCLS\nSUB <t> c\n"), OK, Response("CLOSE_WAIT"), NOT_NOW, Eof,
    ]),
    ("only_the_first_channel_gets_queued_messages", &[
        Send(b"PUB <t>\n\0\0\0\x03old"), OK, Send(b"SUB <t> first\nRDY 5\n"), OK,
        Message('a', 1, b"old"),
        Use(1), Send(b"SUB <t> second\nRDY 5\n"), OK,
        Use(2), Send(b"PUB <t>\n\0\0\0\x03new"), OK,
        Use(1), Message('b', 1, b"new"), Open,
        Use(0), Message('b', 1, b"new"), Open,
    ]),
    ("each_channel_has_its_own_copy", &[
        Send(b"SUB <t> c\nRDY 1\n"), OK,
        Use(1), Send(b"SUB <t> d\nRDY 1\n"), OK,
        Use(2), Send(b"PUB <t>\n\0\0\0\x01x"), OK,
        Use(0), Message('a', 1, b"x"), Send(b"FIN <a>\n"), Open,
        Use(1), Message('a', 1, b"x"), Send(b"REQ <a> 0\n"), Message('a', 2, b"x"), Open,
        Use(0), Send(b"FIN <a>\n"), Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
    ]),
    ("consumers_of_a_channel_share_its_messages", &[
        Send(b"SUB <t> c\n"), OK,
        Use(1), Send(b"SUB <t> c\n"), OK,
        Use(2), Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Use(0), Send(b"RDY 1\n"), Message('a', 1, b"1"),
        Use(1), Send(b"RDY 1\n"), Message('b', 1, b"2"), Open,
    ]),
];
