//! Snappy and deflate: what is negotiated, and what is inside.

use crate::step::{OK, Row, Step, Step::*};

const SNAPPY: &str = r#"{"feature_negotiation":true,"snappy":true}"#;
const DEFLATE: &str = r#"{"feature_negotiation":true,"deflate":true}"#;

const SNAPPY_ANSWER: Step = Response(
    r#"{"max_rdy_count":100,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":true,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250}"#,
);
const DEFLATE_ANSWER: Step = Response(
    r#"{"max_rdy_count":100,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":true,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250}"#,
);
const LEVEL_1: Step = Response(
    r#"{"max_rdy_count":100,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":true,"deflate_level":1,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250}"#,
);
const DECLINED: Step = Response(
    r#"{"max_rdy_count":100,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250}"#,
);

/// The stream identifier, and the OK in an uncompressed chunk.
const SNAPPY_OK: Step = Bytes(b"\xff\x06\0\0sNaPpY\x01\x0e\0\0&\x98+\xcf\0\0\0\x06\0\0\0\0OK");
/// The refusal of the command that the two chunks below make, in an uncompressed chunk.
const SNAPPY_REFUSAL: Step =
    Bytes(b"\x01*\0\0\xbb\xb5\xc9\xaf\0\0\0\"\0\0\0\x01E_INVALID invalid command PUSH");
const INFLATED_OK: Step = InflatedEof(b"\0\0\0\x06\0\0\0\0OK");
const INFLATED_REFUSAL: Step =
    InflatedEof(b"\0\0\0\x06\0\0\0\0OK\0\0\0\"\0\0\0\x01E_INVALID invalid command PUSH");

#[rustfmt::skip]
pub const SNAPPY_ROWS: &[Row] = &[
    ("ok_comes_inside", &[Identify(SNAPPY), SNAPPY_ANSWER, SNAPPY_OK, HalfClose, Eof]),
    ("commands_come_inside_in_any_chunks", &[
        Identify(SNAPPY), SNAPPY_ANSWER, SNAPPY_OK,
        Send(b"\xff\x06\0\0sNaPpY\x01\x0a\0\0\x6aA\xed\x03NOP\nNO"), Send(b"\x01\x0b\0\0\xe4\xc7\xce$P\nPUSH\n"), SNAPPY_REFUSAL, Eof,
    ]),
    ("half_a_chunk_is_waited_for", &[
        Identify(SNAPPY), SNAPPY_ANSWER, SNAPPY_OK,
        Send(b"\xff\x06\0\0sNaPpY\x01\x0a\0\0\x6aA\xed\x03NOP\nNO\x01\x0b\0\0\xe4\xc7"), Send(b"\xce$P\nPUSH\n"), SNAPPY_REFUSAL, Eof,
    ]),
    ("padding_and_chunks_to_skip_are_skipped", &[
        Identify(SNAPPY), SNAPPY_ANSWER, SNAPPY_OK,
        Send(b"\xff\x06\0\0sNaPpY\xfe\x03\0\0abc\x80\x01\0\0x\x01\x0a\0\0\x6aA\xed\x03NOP\nNO\xff\x06\0\0sNaPpY\x01\x0b\0\0\xe4\xc7\xce$P\nPUSH\n"),
        SNAPPY_REFUSAL, Eof,
    ]),
    ("a_wrong_checksum_is_the_end", &[
        Identify(SNAPPY), SNAPPY_ANSWER, SNAPPY_OK, Send(b"\xff\x06\0\0sNaPpY\x01\x0b\0\0\xe4\xc7\xce%P\nPUSH\n"), Eof,
    ]),
    ("a_missing_identifier_is_the_end", &[Identify(SNAPPY), SNAPPY_ANSWER, SNAPPY_OK, Send(b"\x01\x0b\0\0"), Eof]),
    ("what_comes_together_with_the_identify_is_lost", &[
        Send(b"IDENTIFY\n\0\0\0\x2a{\"feature_negotiation\":true,\"snappy\":true}PUB <t>\n\0\0\0\x01x"), SNAPPY_ANSWER, SNAPPY_OK,
        Send(b"\xff\x06\0\0sNaPpY\x01\x0a\0\0\x6aA\xed\x03NOP\nNO\x01\x0b\0\0\xe4\xc7\xce$P\nPUSH\n"), SNAPPY_REFUSAL, Eof,
    ]),
    ("without_negotiation_it_is_not_heard_of", &[Identify(r#"{"snappy":true}"#), OK, Open]),
];

#[rustfmt::skip]
pub const DEFLATE_ROWS: &[Row] = &[
    ("ok_comes_inside", &[Identify(DEFLATE), DEFLATE_ANSWER, HalfClose, INFLATED_OK]),
    ("commands_come_inside_in_any_blocks", &[
        Identify(DEFLATE), DEFLATE_ANSWER,
        Send(b"\0\x06\0\xf9\xffNOP\nNO"), Send(b"\0\x07\0\xf8"), Send(b"\xffP\nPUSH\n\0\0\0\xff\xff"), INFLATED_REFUSAL,
    ]),
    ("a_last_block_is_the_end", &[
        Identify(DEFLATE), DEFLATE_ANSWER, Send(b"\x01\x06\0\xf9\xffNOP\nNO"), INFLATED_OK,
    ]),
    ("a_broken_block_is_the_end", &[Identify(DEFLATE), DEFLATE_ANSWER, Send(b"\0\x06\0\xf9\xfeNOP\nNO"), INFLATED_OK]),
    ("the_level_is_told", &[
        Identify(r#"{"feature_negotiation":true,"deflate":true,"deflate_level":1}"#), LEVEL_1, HalfClose, INFLATED_OK,
        Use(1), Identify(r#"{"feature_negotiation":true,"deflate":true,"deflate_level":6}"#), DEFLATE_ANSWER, HalfClose, INFLATED_OK,
    ]),
    ("too_high_a_level_is_lowered", &[
        Identify(r#"{"feature_negotiation":true,"deflate":true,"deflate_level":9}"#), DEFLATE_ANSWER, HalfClose, INFLATED_OK,
    ]),
    ("too_low_a_level_is_the_usual", &[
        Identify(r#"{"feature_negotiation":true,"deflate":true,"deflate_level":0}"#), DEFLATE_ANSWER, HalfClose, INFLATED_OK,
        Use(1), Identify(r#"{"feature_negotiation":true,"deflate":true,"deflate_level":-1}"#), DEFLATE_ANSWER, HalfClose, INFLATED_OK,
    ]),
];

#[rustfmt::skip]
pub const DECLINED_ROWS: &[Row] = &[
    ("snappy_is_declined", &[Identify(SNAPPY), DECLINED, Open]),
    ("deflate_is_declined_and_its_level_is_not_told", &[
        Identify(r#"{"feature_negotiation":true,"deflate":true,"deflate_level":1}"#), DECLINED, Open,
    ]),
    ("both_are_declined", &[Identify(r#"{"feature_negotiation":true,"snappy":true,"deflate":true}"#), DECLINED, Open]),
];
