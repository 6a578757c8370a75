//! Snappy and deflate: negotiation and compressed data.

use crate::step::{OK, Row, Step, Step::*};

const SNAPPY: &str = r#"{"feature_negotiation":true,"snappy":true}"#;
const DEFLATE: &str = r#"{"feature_negotiation":true,"deflate":true}"#;

const SNAPPY_RESPONSE: Step = Response(concat!(
    r#"{"max_rdy_count":100,"version":"<v>","max_msg_timeout":900000,"msg_timeout":60000,"#,
    r#""tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":true,"#,
    r#""sample_rate":0,"auth_required":false,"output_buffer_size":16384,"#,
    r#""output_buffer_timeout":250}"#,
));
const DEFLATE_RESPONSE: Step = Response(concat!(
    r#"{"max_rdy_count":100,"version":"<v>","max_msg_timeout":900000,"msg_timeout":60000,"#,
    r#""tls_v1":false,"deflate":true,"deflate_level":6,"max_deflate_level":6,"snappy":false,"#,
    r#""sample_rate":0,"auth_required":false,"output_buffer_size":16384,"#,
    r#""output_buffer_timeout":250}"#,
));
const LEVEL_1: Step = Response(concat!(
    r#"{"max_rdy_count":100,"version":"<v>","max_msg_timeout":900000,"msg_timeout":60000,"#,
    r#""tls_v1":false,"deflate":true,"deflate_level":1,"max_deflate_level":6,"snappy":false,"#,
    r#""sample_rate":0,"auth_required":false,"output_buffer_size":16384,"#,
    r#""output_buffer_timeout":250}"#,
));
const DECLINED: Step = Response(concat!(
    r#"{"max_rdy_count":100,"version":"<v>","max_msg_timeout":900000,"msg_timeout":60000,"#,
    r#""tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"#,
    r#""snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"#,
    r#""output_buffer_timeout":250}"#,
));

/// The stream identifier, and `OK` in an uncompressed chunk.
const SNAPPY_OK: Step = Bytes(b"\xff\x06\0\0sNaPpY\x01\x0e\0\0&\x98+\xcf\0\0\0\x06\0\0\0\0OK");
/// The error for the invalid command in the chunks below, in an uncompressed chunk.
const SNAPPY_ERROR: Step =
    Bytes(b"\x01*\0\0\xbb\xb5\xc9\xaf\0\0\0\"\0\0\0\x01E_INVALID invalid command PUSH");
const INFLATED_OK: Step = InflatedEof(b"\0\0\0\x06\0\0\0\0OK");
const INFLATED_ERROR: Step =
    InflatedEof(b"\0\0\0\x06\0\0\0\0OK\0\0\0\"\0\0\0\x01E_INVALID invalid command PUSH");

#[rustfmt::skip]
pub const SNAPPY_ROWS: &[Row] = &[
    ("ok_is_sent_inside", &[Identify(SNAPPY), SNAPPY_RESPONSE, SNAPPY_OK, HalfClose, Eof]),
    ("commands_may_be_split_over_chunks", &[
        Identify(SNAPPY), SNAPPY_RESPONSE, SNAPPY_OK,
        Send(b"\xff\x06\0\0sNaPpY\x01\x0a\0\0\x6aA\xed\x03NOP\nNO"),
        Send(b"\x01\x0b\0\0\xe4\xc7\xce$P\nPUSH\n"), SNAPPY_ERROR, Eof,
    ]),
    ("incomplete_chunk_waits_for_the_rest", &[
        Identify(SNAPPY), SNAPPY_RESPONSE, SNAPPY_OK,
        Send(b"\xff\x06\0\0sNaPpY\x01\x0a\0\0\x6aA\xed\x03NOP\nNO\x01\x0b\0\0\xe4\xc7"),
        Send(b"\xce$P\nPUSH\n"), SNAPPY_ERROR, Eof,
    ]),
    ("padding_and_skippable_chunks_are_skipped", &[
        Identify(SNAPPY), SNAPPY_RESPONSE, SNAPPY_OK,
        Send(b"\xff\x06\0\0sNaPpY\xfe\x03\0\0abc\x80\x01\0\0x\x01\x0a\0\0\x6aA\xed\x03NOP\n\
            NO\xff\x06\0\0sNaPpY\x01\x0b\0\0\xe4\xc7\xce$P\nPUSH\n"),
        SNAPPY_ERROR, Eof,
    ]),
    ("wrong_checksum_closes_the_connection", &[
        Identify(SNAPPY), SNAPPY_RESPONSE, SNAPPY_OK,
        Send(b"\xff\x06\0\0sNaPpY\x01\x0b\0\0\xe4\xc7\xce%P\nPUSH\n"), Eof,
    ]),
    ("missing_stream_identifier_closes_the_connection", &[
        Identify(SNAPPY), SNAPPY_RESPONSE, SNAPPY_OK, Send(b"\x01\x0b\0\0"), Eof,
    ]),
    ("bytes_sent_together_with_identify_are_dropped", &[
        Send(b"IDENTIFY\n\0\0\0\x2a{\"feature_negotiation\":true,\"snappy\":true}PUB <t>\n\
            \0\0\0\x01x"),
        SNAPPY_RESPONSE, SNAPPY_OK,
        Send(b"\xff\x06\0\0sNaPpY\x01\x0a\0\0\x6aA\xed\x03NOP\nNO\x01\x0b\0\0\xe4\xc7\xce$P\n\
            PUSH\n"),
        SNAPPY_ERROR, Eof,
    ]),
    ("request_without_negotiation_is_ignored", &[Identify(r#"{"snappy":true}"#), OK, Open]),
];

#[rustfmt::skip]
pub const DEFLATE_ROWS: &[Row] = &[
    ("ok_is_sent_inside", &[Identify(DEFLATE), DEFLATE_RESPONSE, HalfClose, INFLATED_OK]),
    ("commands_may_be_split_over_blocks", &[
        Identify(DEFLATE), DEFLATE_RESPONSE,
        Send(b"\0\x06\0\xf9\xffNOP\nNO"), Send(b"\0\x07\0\xf8"),
        Send(b"\xffP\nPUSH\n\0\0\0\xff\xff"), INFLATED_ERROR,
    ]),
    ("final_block_closes_the_connection", &[
        Identify(DEFLATE), DEFLATE_RESPONSE, Send(b"\x01\x06\0\xf9\xffNOP\nNO"), INFLATED_OK,
    ]),
    ("broken_block_closes_the_connection", &[
        Identify(DEFLATE), DEFLATE_RESPONSE, Send(b"\0\x06\0\xf9\xfeNOP\nNO"), INFLATED_OK,
    ]),
    ("response_contains_the_level", &[
        Identify(r#"{"feature_negotiation":true,"deflate":true,"deflate_level":1}"#), LEVEL_1,
        HalfClose, INFLATED_OK,
        Use(1), Identify(r#"{"feature_negotiation":true,"deflate":true,"deflate_level":6}"#),
        DEFLATE_RESPONSE, HalfClose, INFLATED_OK,
    ]),
    ("level_above_the_maximum_is_lowered", &[
        Identify(r#"{"feature_negotiation":true,"deflate":true,"deflate_level":9}"#),
        DEFLATE_RESPONSE, HalfClose, INFLATED_OK,
    ]),
    ("level_below_1_is_the_default", &[
        Identify(r#"{"feature_negotiation":true,"deflate":true,"deflate_level":0}"#),
        DEFLATE_RESPONSE, HalfClose, INFLATED_OK,
        Use(1), Identify(r#"{"feature_negotiation":true,"deflate":true,"deflate_level":-1}"#),
        DEFLATE_RESPONSE, HalfClose, INFLATED_OK,
    ]),
];

#[rustfmt::skip]
pub const DECLINED_ROWS: &[Row] = &[
    ("snappy_is_declined", &[Identify(SNAPPY), DECLINED, Open]),
    ("deflate_is_declined_and_its_level_ignored", &[
        Identify(r#"{"feature_negotiation":true,"deflate":true,"deflate_level":1}"#), DECLINED,
        Open,
    ]),
    ("both_are_declined", &[
        Identify(r#"{"feature_negotiation":true,"snappy":true,"deflate":true}"#), DECLINED, Open,
    ]),
];
