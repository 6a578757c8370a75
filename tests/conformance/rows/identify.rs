//! IDENTIFY: accepted and rejected requests, and the response.

use crate::step::{OK, Row, Step, Step::*};

const DEFAULTS: Step = Response(concat!(
    r#"{"max_rdy_count":100,"version":"<v>","max_msg_timeout":900000,"msg_timeout":60000,"#,
    r#""tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"#,
    r#""snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"#,
    r#""output_buffer_timeout":250}"#,
));
const MAXIMUM: Step = Response(concat!(
    r#"{"max_rdy_count":100,"version":"<v>","max_msg_timeout":900000,"msg_timeout":900000,"#,
    r#""tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"#,
    r#""snappy":false,"sample_rate":99,"auth_required":false,"output_buffer_size":65536,"#,
    r#""output_buffer_timeout":30000}"#,
));
const MINIMUM: Step = Response(concat!(
    r#"{"max_rdy_count":100,"version":"<v>","max_msg_timeout":900000,"msg_timeout":1000,"#,
    r#""tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"#,
    r#""snappy":false,"sample_rate":1,"auth_required":false,"output_buffer_size":64,"#,
    r#""output_buffer_timeout":25}"#,
));
const WITHOUT_BUFFER: Step = Response(concat!(
    r#"{"max_rdy_count":100,"version":"<v>","max_msg_timeout":900000,"msg_timeout":60000,"#,
    r#""tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"#,
    r#""snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":1,"#,
    r#""output_buffer_timeout":0}"#,
));
const WITHOUT_BUFFER_TIMEOUT: Step = Response(concat!(
    r#"{"max_rdy_count":100,"version":"<v>","max_msg_timeout":900000,"msg_timeout":5000,"#,
    r#""tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"#,
    r#""snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"#,
    r#""output_buffer_timeout":0}"#,
));

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("response_without_negotiation_is_ok", &[Send(b"IDENTIFY\n\0\0\0\x02{}"), OK, Open]),
    ("response_with_negotiation_has_all_settings", &[
        Identify(r#"{"feature_negotiation":true}"#), DEFAULTS, Open,
    ]),
    ("parameters_are_ignored", &[Send(b"IDENTIFY x\r\n\0\0\0\x02{}"), OK, Open]),
    ("space_around_the_json_is_ignored", &[
        Identify(" \n{ \"feature_negotiation\" : true }\t"), DEFAULTS, Open,
    ]),
    ("null_is_a_missing_value", &[
        Identify("null"), OK, Identify(r#"{"feature_negotiation":true,"msg_timeout":null}"#),
        DEFAULTS, Open,
    ]),
    ("unknown_keys_are_ignored", &[
        Identify(r#"{"feature_negotiation":true,"topology_zone":[{"x":1}]}"#), DEFAULTS, Open,
    ]),
    ("keys_match_in_any_case", &[
        Identify(r#"{"FEATURE_negotiation":true,"Msg_Timeout":60000}"#), DEFAULTS, Open,
    ]),
    ("last_of_two_equal_keys_counts", &[
        Identify(r#"{"feature_negotiation":true,"msg_timeout":5000,"msg_timeout":60000}"#),
        DEFAULTS, Open,
    ]),
    ("zero_is_the_default", &[
        Identify(concat!(
            r#"{"feature_negotiation":true,"heartbeat_interval":0,"output_buffer_size":0,"#,
            r#""output_buffer_timeout":0,"sample_rate":0,"msg_timeout":0}"#,
        )),
        DEFAULTS, Open,
    ]),
    ("maximum_values_are_accepted", &[
        Identify(concat!(
            r#"{"feature_negotiation":true,"heartbeat_interval":60000,"#,
            r#""output_buffer_size":65536,"output_buffer_timeout":30000,"sample_rate":99,"#,
            r#""msg_timeout":900000}"#,
        )),
        MAXIMUM, Open,
    ]),
    ("minimum_values_are_accepted", &[
        Identify(concat!(
            r#"{"feature_negotiation":true,"heartbeat_interval":1000,"output_buffer_size":64,"#,
            r#""output_buffer_timeout":25,"sample_rate":1,"msg_timeout":1000}"#,
        )),
        MINIMUM, Open,
    ]),
    ("no_output_buffer_disables_its_timeout", &[
        Identify(
            r#"{"feature_negotiation":true,"output_buffer_size":-1,"output_buffer_timeout":100}"#,
        ),
        WITHOUT_BUFFER, Open,
    ]),
    ("second_identify_keeps_omitted_values", &[
        Identify(r#"{"msg_timeout":5000,"output_buffer_timeout":-1}"#), OK,
        Identify(r#"{"feature_negotiation":true}"#), WITHOUT_BUFFER_TIMEOUT, Open,
    ]),
    ("names_alone_serve_as_a_ping", &[
        Identify(r#"{"client_id":"a","hostname":"b","user_agent":"c"}"#), OK,
        Send(b"PUB <t>\n\0\0\0\x01x"), OK,
        Identify(r#"{"client_id":"a","hostname":"b","user_agent":"c"}"#), OK, Open,
    ]),
    ("invalid_utf_8_is_accepted", &[
        Send(b"IDENTIFY\n\0\0\0\x11{\"client_id\":\"\xff\"}"), OK, Open,
    ]),
    ("tls_is_declined", &[
        Identify(r#"{"feature_negotiation":true,"tls_v1":true}"#), DEFAULTS, Open,
    ]),
    ("level_without_deflate_is_ignored", &[
        Identify(r#"{"feature_negotiation":true,"deflate_level":3}"#), DEFAULTS, Open,
    ]),
    ("both_compressions_are_rejected", &[
        Identify(r#"{"feature_negotiation":true,"snappy":true,"deflate":true}"#),
        Error(b"E_IDENTIFY_FAILED cannot enable both deflate and snappy compression"), Eof,
    ]),
    ("layers_without_negotiation_are_ignored", &[
        Identify(r#"{"snappy":true,"deflate":true,"tls_v1":true}"#), OK, Open,
    ]),
    ("identify_after_sub_is_rejected_before_its_body", &[
        Send(b"SUB <t> c\nIDENTIFY\n"), OK, Error(b"E_INVALID cannot IDENTIFY in current state"),
        Eof,
    ]),
    ("identify_after_cls_is_rejected", &[
        Send(b"SUB <t> c\nCLS\nIDENTIFY\n\0\0\0\x02{}"), OK, Response("CLOSE_WAIT"),
        Error(b"E_INVALID cannot IDENTIFY in current state"), Eof,
    ]),
];

const NOT_JSON: Step = Error(b"E_BAD_BODY IDENTIFY failed to decode JSON body");

#[rustfmt::skip]
pub const REJECTED: &[Row] = &[
    ("empty_body_is_rejected", &[
        Send(b"IDENTIFY\n\0\0\0\0"), Error(b"E_BAD_BODY IDENTIFY invalid body size 0"), Eof,
    ]),
    ("negative_size_is_rejected", &[
        Send(b"IDENTIFY\n\xff\xff\xff\xff"), Error(b"E_BAD_BODY IDENTIFY invalid body size -1"),
        Eof,
    ]),
    ("body_above_the_limit_is_rejected", &[
        Send(b"IDENTIFY\n\0\0\x08\x01"), Error(b"E_BAD_BODY IDENTIFY body too big 2049 > 2048"),
        Eof,
    ]),
    ("incomplete_size_returns_error", &[
        Send(b"IDENTIFY\n\0"), HalfClose, Error(b"E_BAD_BODY IDENTIFY failed to read body size"),
        Eof,
    ]),
    ("incomplete_body_returns_error", &[
        Send(b"IDENTIFY\n\0\0\0\x02{"), HalfClose,
        Error(b"E_BAD_BODY IDENTIFY failed to read body"), Eof,
    ]),
    ("incomplete_json_is_rejected", &[Identify("{"), NOT_JSON, Eof]),
    ("text_behind_the_json_is_rejected", &[Identify("{} x"), NOT_JSON, Eof]),
    ("list_is_rejected", &[Identify("[]"), NOT_JSON, Eof]),
    ("string_is_rejected", &[Identify(r#""{}""#), NOT_JSON, Eof]),
    ("number_in_quotes_is_rejected", &[
        Identify(r#"{"heartbeat_interval":"1000"}"#), NOT_JSON, Eof,
    ]),
    ("number_with_a_point_is_rejected", &[Identify(r#"{"msg_timeout":1000.0}"#), NOT_JSON, Eof]),
    ("number_with_an_exponent_is_rejected", &[
        Identify(r#"{"output_buffer_size":1e3}"#), NOT_JSON, Eof,
    ]),
    ("sample_rate_beyond_32_bits_is_rejected", &[
        Identify(r#"{"sample_rate":2147483648}"#), NOT_JSON, Eof,
    ]),
    ("number_beyond_64_bits_is_rejected", &[
        Identify(r#"{"deflate_level":9223372036854775808}"#), NOT_JSON, Eof,
    ]),
    ("number_instead_of_boolean_is_rejected", &[
        Identify(r#"{"feature_negotiation":1}"#), NOT_JSON, Eof,
    ]),
    ("string_instead_of_boolean_is_rejected", &[Identify(r#"{"tls_v1":"true"}"#), NOT_JSON, Eof]),
    ("number_instead_of_string_is_rejected", &[Identify(r#"{"client_id":5}"#), NOT_JSON, Eof]),
    ("short_heartbeat_interval_is_rejected", &[
        Identify(r#"{"heartbeat_interval":999}"#),
        Error(b"E_BAD_BODY IDENTIFY heartbeat interval (999) is invalid"), Eof,
    ]),
    ("long_heartbeat_interval_is_rejected", &[
        Identify(r#"{"heartbeat_interval":60001}"#),
        Error(b"E_BAD_BODY IDENTIFY heartbeat interval (60001) is invalid"), Eof,
    ]),
    ("negative_heartbeat_interval_is_rejected", &[
        Identify(r#"{"heartbeat_interval":-2}"#),
        Error(b"E_BAD_BODY IDENTIFY heartbeat interval (-2) is invalid"), Eof,
    ]),
    ("small_output_buffer_is_rejected", &[
        Identify(r#"{"output_buffer_size":63}"#),
        Error(b"E_BAD_BODY IDENTIFY output buffer size (63) is invalid"), Eof,
    ]),
    ("large_output_buffer_is_rejected", &[
        Identify(r#"{"output_buffer_size":65537}"#),
        Error(b"E_BAD_BODY IDENTIFY output buffer size (65537) is invalid"), Eof,
    ]),
    ("negative_output_buffer_is_rejected", &[
        Identify(r#"{"output_buffer_size":-2}"#),
        Error(b"E_BAD_BODY IDENTIFY output buffer size (-2) is invalid"), Eof,
    ]),
    ("short_output_buffer_timeout_is_rejected", &[
        Identify(r#"{"output_buffer_timeout":24}"#),
        Error(b"E_BAD_BODY IDENTIFY output buffer timeout (24) is invalid"), Eof,
    ]),
    ("long_output_buffer_timeout_is_rejected", &[
        Identify(r#"{"output_buffer_timeout":30001}"#),
        Error(b"E_BAD_BODY IDENTIFY output buffer timeout (30001) is invalid"), Eof,
    ]),
    ("negative_output_buffer_timeout_is_rejected", &[
        Identify(r#"{"output_buffer_timeout":-2}"#),
        Error(b"E_BAD_BODY IDENTIFY output buffer timeout (-2) is invalid"), Eof,
    ]),
    ("large_sample_rate_is_rejected", &[
        Identify(r#"{"sample_rate":100}"#),
        Error(b"E_BAD_BODY IDENTIFY sample rate (100) is invalid"), Eof,
    ]),
    ("negative_sample_rate_is_rejected", &[
        Identify(r#"{"sample_rate":-1}"#),
        Error(b"E_BAD_BODY IDENTIFY sample rate (-1) is invalid"), Eof,
    ]),
    ("short_msg_timeout_is_rejected", &[
        Identify(r#"{"msg_timeout":999}"#),
        Error(b"E_BAD_BODY IDENTIFY msg timeout (999) is invalid"), Eof,
    ]),
    ("long_msg_timeout_is_rejected", &[
        Identify(r#"{"msg_timeout":900001}"#),
        Error(b"E_BAD_BODY IDENTIFY msg timeout (900001) is invalid"), Eof,
    ]),
    ("negative_msg_timeout_is_rejected", &[
        Identify(r#"{"msg_timeout":-1}"#),
        Error(b"E_BAD_BODY IDENTIFY msg timeout (-1) is invalid"), Eof,
    ]),
    ("first_checked_invalid_value_is_reported", &[
        Identify(concat!(
            r#"{"msg_timeout":1,"output_buffer_size":1,"output_buffer_timeout":1,"#,
            r#""heartbeat_interval":1}"#,
        )),
        Error(b"E_BAD_BODY IDENTIFY heartbeat interval (1) is invalid"), Eof,
        Use(1), Identify(r#"{"output_buffer_size":1,"output_buffer_timeout":1,"sample_rate":100}"#),
        Error(b"E_BAD_BODY IDENTIFY output buffer timeout (1) is invalid"), Eof,
    ]),
];
