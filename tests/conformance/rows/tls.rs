//! TLS: negotiation, and handshakes that fail. Successful ones need a TLS library: see
//! `src/embedded/tests/tls.rs`.

use crate::step::{OK, Row, Step, Step::*};

const TLS: &str = r#"{"feature_negotiation":true,"tls_v1":true}"#;
const ANSWER: Step = Response(concat!(
    r#"{"max_rdy_count":100,"version":"<v>","max_msg_timeout":900000,"msg_timeout":60000,"#,
    r#""tls_v1":true,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"#,
    r#""sample_rate":0,"auth_required":false,"output_buffer_size":16384,"#,
    r#""output_buffer_timeout":250}"#,
));
const CLEAR: Step = Response(concat!(
    r#"{"max_rdy_count":100,"version":"<v>","max_msg_timeout":900000,"msg_timeout":60000,"#,
    r#""tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"#,
    r#""snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"#,
    r#""output_buffer_timeout":250}"#,
));
const NO_HANDSHAKE: Step = Error(
    b"E_IDENTIFY_FAILED IDENTIFY failed tls: first record does not look like a TLS handshake",
);

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("clear_text_continues_if_tls_is_not_requested", &[
        Identify(r#"{"feature_negotiation":true}"#), CLEAR, Open,
    ]),
    ("request_without_negotiation_is_ignored", &[Identify(r#"{"tls_v1":true}"#), OK, Open]),
    ("clear_text_continues_without_identify", &[Open]),
    ("command_instead_of_handshake_is_rejected", &[
        Identify(TLS), ANSWER, Send(b"PUB <t>\n\0\0\0\x01x"), NO_HANDSHAKE, Eof,
    ]),
    ("nop_instead_of_handshake_is_rejected", &[
        Identify(TLS), ANSWER, Send(b"NOP\nNOP\n"), NO_HANDSHAKE, Eof,
    ]),
    ("eof_before_the_handshake_returns_error", &[
        Identify(TLS), ANSWER, HalfClose, Error(b"E_IDENTIFY_FAILED IDENTIFY failed EOF"), Eof,
    ]),
    ("eof_within_a_record_header_returns_error", &[
        Identify(TLS), ANSWER, Send(b"\x16\x03"), HalfClose,
        Error(b"E_IDENTIFY_FAILED IDENTIFY failed unexpected EOF"), Eof,
    ]),
    ("eof_within_a_record_returns_error", &[
        Identify(TLS), ANSWER, Send(b"\x16\x03\x01\x00\x50abc"), HalfClose,
        Error(b"E_IDENTIFY_FAILED IDENTIFY failed unexpected EOF"), Eof,
    ]),
    ("alert_of_the_client_returns_error", &[
        Identify(TLS), ANSWER, Send(b"\x15\x03\x03\0\x02\x02\x28"),
        Error(b"E_IDENTIFY_FAILED IDENTIFY failed remote error: tls: handshake failure"), Eof,
        Use(1), Identify(TLS), ANSWER, Send(b"\x15\x03\x03\0\x02\x02\x30"),
        Error(b"E_IDENTIFY_FAILED IDENTIFY failed \
            remote error: tls: unknown certificate authority"),
        Eof,
    ]),
    ("bytes_sent_together_with_identify_are_dropped", &[
        Send(b"IDENTIFY\n\0\0\0\x2a{\"feature_negotiation\":true,\"tls_v1\":true}PUB <t>\n\
            \0\0\0\x01x"),
        ANSWER, Send(b"\x15\x03\x03\0\x02\x02\x28"),
        Error(b"E_IDENTIFY_FAILED IDENTIFY failed remote error: tls: handshake failure"), Eof,
    ]),
];

#[rustfmt::skip]
pub const REQUIRED: &[Row] = &[
    ("commands_without_tls_are_rejected", &[
        Send(b"PUB <t>\n\0\0\0\x01x"),
        Error(b"E_INVALID cannot PUB in current state (TLS required)"), Eof,
        Use(1), Send(b"MPUB <t>\n"),
        Error(b"E_INVALID cannot MPUB in current state (TLS required)"), Eof,
        Use(2), Send(b"DPUB\n"), Error(b"E_INVALID cannot DPUB in current state (TLS required)"),
        Eof,
        Use(3), Send(b"SUB $ c\n"), Error(b"E_INVALID cannot SUB in current state (TLS required)"),
        Eof,
        Use(4), Send(b"AUTH\n"), Error(b"E_INVALID cannot AUTH in current state (TLS required)"),
        Eof,
        Use(5), Send(b"CLS\n"), Error(b"E_INVALID cannot CLS in current state (TLS required)"), Eof,
    ]),
    ("nop_without_tls_is_rejected", &[
        Send(b"NOP\n"), Error(b"E_INVALID cannot NOP in current state (TLS required)"), Eof,
    ]),
    ("unknown_command_without_tls_gets_the_same_error", &[
        Send(b"x\xff y\n"), Error(b"E_INVALID cannot x\xff in current state (TLS required)"), Eof,
        Use(1), Send(b"\n"), Error(b"E_INVALID cannot  in current state (TLS required)"), Eof,
    ]),
    ("identify_without_tls_is_accepted", &[
        Identify(r#"{"feature_negotiation":true}"#), CLEAR, Send(b"NOP\n"),
        Error(b"E_INVALID cannot NOP in current state (TLS required)"), Eof,
    ]),
    ("rejected_identify_gets_its_error_in_clear_text", &[
        Identify("[]"), Error(b"E_BAD_BODY IDENTIFY failed to decode JSON body"), Eof,
    ]),
];
