//! TLS, as far as bytes typed by hand can go: up to its handshake, and how that fails.

use crate::step::{OK, Row, Step, Step::*};

const TLS: &str = r#"{"feature_negotiation":true,"tls_v1":true}"#;
const ANSWER: Step = Response(
    r#"{"max_rdy_count":100,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":true,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250}"#,
);
const CLEAR: Step = Response(
    r#"{"max_rdy_count":100,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250}"#,
);
const NO_HANDSHAKE: Step = Error(
    b"E_IDENTIFY_FAILED IDENTIFY failed tls: first record does not look like a TLS handshake",
);

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("who_does_not_ask_goes_on_in_clear_text", &[Identify(r#"{"feature_negotiation":true}"#), CLEAR, Open]),
    ("without_negotiation_it_is_not_heard_of", &[Identify(r#"{"tls_v1":true}"#), OK, Open]),
    ("who_does_not_identify_goes_on_in_clear_text", &[Open]),
    ("what_is_no_handshake_is_refused_in_clear_text", &[Identify(TLS), ANSWER, Send(b"PUB <t>\n\0\0\0\x01x"), NO_HANDSHAKE, Eof]),
    ("a_heartbeats_answer_is_no_handshake", &[Identify(TLS), ANSWER, Send(b"NOP\nNOP\n"), NO_HANDSHAKE, Eof]),
    ("the_end_is_told", &[Identify(TLS), ANSWER, HalfClose, Error(b"E_IDENTIFY_FAILED IDENTIFY failed EOF"), Eof]),
    ("the_end_within_a_header_is_told", &[
        Identify(TLS), ANSWER, Send(b"\x16\x03"), HalfClose, Error(b"E_IDENTIFY_FAILED IDENTIFY failed unexpected EOF"), Eof,
    ]),
    ("the_end_within_a_record_is_told", &[
        Identify(TLS), ANSWER, Send(b"\x16\x03\x01\x00\x50abc"), HalfClose,
        Error(b"E_IDENTIFY_FAILED IDENTIFY failed unexpected EOF"), Eof,
    ]),
    ("an_alert_of_the_client_is_told", &[
        Identify(TLS), ANSWER, Send(b"\x15\x03\x03\0\x02\x02\x28"),
        Error(b"E_IDENTIFY_FAILED IDENTIFY failed remote error: tls: handshake failure"), Eof,
        Use(1), Identify(TLS), ANSWER, Send(b"\x15\x03\x03\0\x02\x02\x30"),
        Error(b"E_IDENTIFY_FAILED IDENTIFY failed remote error: tls: unknown certificate authority"), Eof,
    ]),
    ("what_comes_together_with_the_identify_is_lost", &[
        Send(b"IDENTIFY\n\0\0\0\x2a{\"feature_negotiation\":true,\"tls_v1\":true}PUB <t>\n\0\0\0\x01x"), ANSWER,
        Send(b"\x15\x03\x03\0\x02\x02\x28"),
        Error(b"E_IDENTIFY_FAILED IDENTIFY failed remote error: tls: handshake failure"), Eof,
    ]),
];

#[rustfmt::skip]
pub const REQUIRED: &[Row] = &[
    ("without_it_no_command_is_heard", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), Error(b"E_INVALID cannot PUB in current state (TLS required)"), Eof,
        Use(1), Send(b"MPUB <t>\n"), Error(b"E_INVALID cannot MPUB in current state (TLS required)"), Eof,
        Use(2), Send(b"DPUB\n"), Error(b"E_INVALID cannot DPUB in current state (TLS required)"), Eof,
        Use(3), Send(b"SUB $ c\n"), Error(b"E_INVALID cannot SUB in current state (TLS required)"), Eof,
        Use(4), Send(b"AUTH\n"), Error(b"E_INVALID cannot AUTH in current state (TLS required)"), Eof,
        Use(5), Send(b"CLS\n"), Error(b"E_INVALID cannot CLS in current state (TLS required)"), Eof,
    ]),
    ("without_it_not_even_a_nop_is_heard", &[Send(b"NOP\n"), Error(b"E_INVALID cannot NOP in current state (TLS required)"), Eof]),
    ("without_it_an_unknown_command_is_not_known_to_be_one", &[
        Send(b"x\xff y\n"), Error(b"E_INVALID cannot x\xff in current state (TLS required)"), Eof,
        Use(1), Send(b"\n"), Error(b"E_INVALID cannot  in current state (TLS required)"), Eof,
    ]),
    ("identify_is_heard_and_changes_nothing", &[
        Identify(r#"{"feature_negotiation":true}"#), CLEAR, Send(b"NOP\n"),
        Error(b"E_INVALID cannot NOP in current state (TLS required)"), Eof,
    ]),
    ("a_refused_identify_is_told_in_clear_text", &[Identify("[]"), Error(b"E_BAD_BODY IDENTIFY failed to decode JSON body"), Eof]),
];
