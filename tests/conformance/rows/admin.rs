//! What a consumer sees of requests to nsqd's HTTP API: pause, empty, delete.

use crate::step::{OK, Row, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("deleted_channel_closes_the_connections_of_its_consumers", &[
        Send(b"SUB <t> c\nRDY 1\n"), OK,
        Use(1), Send(b"SUB <t> c\n"), OK,
        Use(2), Send(b"SUB <t> d\n"), OK, Post("/channel/delete?topic=<t>&channel=c"),
        Use(0), Eof, Use(1), Eof, Use(2), Open,
    ]),
    ("deleted_topic_closes_the_connections_of_all_consumers", &[
        Send(b"SUB <t> c\nRDY 1\n"), OK,
        Use(1), Send(b"SUB <t> d\n"), OK,
        Use(2), Send(b"PUB <t>\n\0\0\0\x01x"), OK,
        Use(0), Message('a', 1, b"x"), Post("/topic/delete?topic=<t>"), Eof, Use(1), Eof,
        Use(2), Open,
    ]),
    ("deleted_channel_exists_again_after_sub", &[
        Send(b"SUB <t> c\n"), OK, Post("/channel/delete?topic=<t>&channel=c"), Eof,
        Use(1), Send(b"SUB <t> c\nRDY 1\n"), OK,
        Use(2), Send(b"PUB <t>\n\0\0\0\x01x"), OK,
        Use(1), Message('a', 1, b"x"), Open,
    ]),
    ("unpaused_channel_delivers_without_another_rdy", &[
        Send(b"SUB <t> c\nRDY 5\n"), OK, Post("/channel/pause?topic=<t>&channel=c"),
        Use(1), Send(b"PUB <t>\n\0\0\0\x01x"), OK,
        Use(0), Open, Post("/channel/unpause?topic=<t>&channel=c"), Message('a', 1, b"x"), Open,
    ]),
    ("answers_are_executed_while_the_channel_is_paused", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"1"), Message('b', 1, b"2"),
        Post("/channel/pause?topic=<t>&channel=c"),
        Send(b"TOUCH <b>\nFIN <a>\nREQ <b> 0\nFIN <a>\n"),
        Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"), Open,
        Post("/channel/unpause?topic=<t>&channel=c"), Message('b', 2, b"2"), Open,
    ]),
    ("unpaused_topic_delivers_without_another_rdy", &[
        Send(b"SUB <t> c\nRDY 5\n"), OK, Post("/topic/pause?topic=<t>"),
        Use(1), Send(b"PUB <t>\n\0\0\0\x01x"), OK,
        Use(0), Open, Post("/topic/unpause?topic=<t>"), Message('a', 1, b"x"), Open,
    ]),
    ("emptied_channel_has_no_message_in_flight", &[
        Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"1"),
        Post("/channel/empty?topic=<t>&channel=c"), Send(b"FIN <a>\nREQ <a> 0\nTOUCH <a>\n"),
        Error(b"E_FIN_FAILED FIN <a> failed ID not in flight"),
        Error(b"E_REQ_FAILED REQ <a> failed ID not in flight"),
        Error(b"E_TOUCH_FAILED TOUCH <a> failed ID not in flight"), Open,
    ]),
    ("emptied_channel_delivers_as_if_nothing_were_held", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"x"),
        Post("/channel/empty?topic=<t>&channel=c"),
        Use(1), Send(b"PUB <t>\n\0\0\0\x01y"), OK,
        Use(0), Message('b', 1, b"y"), Open,
    ]),
];
