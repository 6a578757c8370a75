//! Heartbeats and the dead-line behind them, at the shortest interval.

use crate::step::{HEARTBEAT, OK, Row, Step::*};

const EVERY_SECOND: &str = r#"{"heartbeat_interval":1000}"#;

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("a_silent_client_is_hung_up_on_after_two", &[Identify(EVERY_SECOND), OK, HEARTBEAT, EofAmidHeartbeats(b"")]),
    ("an_answered_one_keeps_the_connection", &[
        Identify(EVERY_SECOND), OK, HEARTBEAT, Send(b"NOP\n"), HEARTBEAT, Send(b"NOP\n"), HEARTBEAT, Open,
    ]),
    ("a_consumer_gets_them_too", &[
        Identify(EVERY_SECOND), OK, Send(b"SUB <t> c\n"), OK, HEARTBEAT, Send(b"RDY 1\n"), HEARTBEAT, Send(b"CLS\n"),
        Response("CLOSE_WAIT"), HEARTBEAT, Open,
    ]),
    ("half_a_line_is_cut_off_without_a_word", &[
        Identify(EVERY_SECOND), OK, Send(b"PUB <t>"), HEARTBEAT, Send(b"u"), EofAmidHeartbeats(b""),
    ]),
    ("half_a_body_is_cut_off_with_an_error", &[
        Identify(EVERY_SECOND), OK, Send(b"PUB <t>\n\0\0\0\x09x"), HEARTBEAT, Send(b"x"),
        EofAmidHeartbeats(b"E_BAD_MESSAGE PUB failed to read message body"),
    ]),
    ("only_the_first_identify_sets_the_beat", &[
        Identify(EVERY_SECOND), OK, Identify(r#"{"heartbeat_interval":60000}"#), OK, HEARTBEAT, HEARTBEAT, HEARTBEAT, Open,
    ]),
    ("the_dead_line_follows_every_identify", &[
        Identify("{}"), OK, Identify(EVERY_SECOND), OK, EofAmidHeartbeats(b""),
    ]),
];
