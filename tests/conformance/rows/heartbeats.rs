//! Heartbeats and read deadlines, at the shortest interval.

use crate::step::{HEARTBEAT, OK, Row, Step, Step::*};

const EVERY_SECOND: &str = r#"{"heartbeat_interval":1000}"#;

const FIN_FAILS: Step = Error(b"E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight");

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("silent_client_is_disconnected_after_two_intervals", &[
        Identify(EVERY_SECOND), OK, HEARTBEAT, EofAmidHeartbeats(b""),
    ]),
    ("answered_heartbeats_keep_the_connection", &[
        Identify(EVERY_SECOND), OK, HEARTBEAT, Send(b"NOP\n"), HEARTBEAT, Send(b"NOP\n"), HEARTBEAT,
        Open,
    ]),
    ("consumer_receives_heartbeats", &[
        Identify(EVERY_SECOND), OK, Send(b"SUB <t> c\n"), OK, HEARTBEAT, Send(b"RDY 1\n"),
        HEARTBEAT, Send(b"CLS\n"), Response("CLOSE_WAIT"), HEARTBEAT, Open,
    ]),
    ("answers_keep_the_connection_without_nop", &[
        Identify(EVERY_SECOND), OK, Send(b"SUB <t> c\n"), OK, HEARTBEAT,
        Send(b"FIN 0123456789abcdef\n"), FIN_FAILS, HEARTBEAT,
        Send(b"FIN 0123456789abcdef\n"), FIN_FAILS, HEARTBEAT,
        Send(b"FIN 0123456789abcdef\n"), FIN_FAILS, HEARTBEAT, Open,
    ]),
    ("incomplete_line_times_out_without_error", &[
        Identify(EVERY_SECOND), OK, Send(b"PUB <t>"), HEARTBEAT, Send(b"u"), EofAmidHeartbeats(b""),
    ]),
    ("incomplete_body_times_out_with_error", &[
        Identify(EVERY_SECOND), OK, Send(b"PUB <t>\n\0\0\0\x09x"), HEARTBEAT, Send(b"x"),
        EofAmidHeartbeats(b"E_BAD_MESSAGE PUB failed to read message body"),
    ]),
    ("only_the_first_identify_sets_the_period", &[
        Identify(EVERY_SECOND), OK, Identify(r#"{"heartbeat_interval":60000}"#), OK, HEARTBEAT,
        HEARTBEAT, HEARTBEAT, Open,
    ]),
    ("every_identify_sets_the_read_deadline", &[
        Identify("{}"), OK, Identify(EVERY_SECOND), OK, EofAmidHeartbeats(b""),
    ]),
];
