//! What nsqd sends although the output buffer has time: messages wait for at most 30 s.

use crate::step::{HEARTBEAT, OK, Row, Step::*};

const LONG: &str = r#"{"output_buffer_timeout":30000}"#;
const SMALL: &str = r#"{"output_buffer_timeout":30000,"output_buffer_size":64}"#;
const NONE: &str = r#"{"output_buffer_size":-1}"#;

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("consumer_with_all_it_may_have_gets_its_messages_at_once", &[
        Identify(LONG), OK, Send(b"SUB <t> c\nRDY 2\n"), OK,
        Use(1), Send(b"MPUB <t>\n\0\0\0\x0e\0\0\0\x02\0\0\0\x011\0\0\0\x012"), OK,
        Use(0), Message('a', 1, b"1"), Message('b', 1, b"2"),
    ]),
    ("message_larger_than_the_buffer_is_sent_at_once", &[
        Identify(SMALL), OK, Send(b"SUB <t> c\nRDY 5\n"), OK,
        Use(1), Fill(b"PUB <t>\n\0\0\0\x80", b'x', 128, b""), OK,
        Use(0), Message('a', 1, &[b'x'; 128]),
    ]),
    ("message_is_sent_at_once_without_a_buffer", &[
        Identify(NONE), OK, Send(b"SUB <t> c\nRDY 5\n"), OK,
        Use(1), Send(b"PUB <t>\n\0\0\0\x01x"), OK,
        Use(0), Message('a', 1, b"x"),
    ]),
    ("heartbeat_flushes_the_buffer", &[
        Identify(r#"{"heartbeat_interval":1000,"output_buffer_timeout":30000}"#), OK,
        Send(b"SUB <t> c\nRDY 5\n"), OK,
        Use(1), Send(b"PUB <t>\n\0\0\0\x01x"), OK,
        Use(0), Message('a', 1, b"x"), HEARTBEAT, Open,
    ]),
];
