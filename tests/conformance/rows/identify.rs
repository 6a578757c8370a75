//! IDENTIFY: what is accepted, what is refused, what is told.

use crate::step::{OK, Row, Step, Step::*};

const DEFAULTS: Step = Response(
    r#"{"max_rdy_count":100,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250}"#,
);
const LONGEST: Step = Response(
    r#"{"max_rdy_count":100,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":900000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":99,"auth_required":false,"output_buffer_size":65536,"output_buffer_timeout":30000}"#,
);
const SHORTEST: Step = Response(
    r#"{"max_rdy_count":100,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":1000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":1,"auth_required":false,"output_buffer_size":64,"output_buffer_timeout":25}"#,
);
const UNBUFFERED: Step = Response(
    r#"{"max_rdy_count":100,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":1,"output_buffer_timeout":0}"#,
);
const UNTIMED: Step = Response(
    r#"{"max_rdy_count":100,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":5000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":0}"#,
);

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("without_negotiation_it_is_answered_ok", &[Send(b"IDENTIFY\n\0\0\0\x02{}"), OK, Open]),
    ("with_negotiation_it_is_answered_with_all_settings", &[Identify(r#"{"feature_negotiation":true}"#), DEFAULTS, Open]),
    ("parameters_do_not_matter", &[Send(b"IDENTIFY x\r\n\0\0\0\x02{}"), OK, Open]),
    ("space_around_the_json_does_not_matter", &[Identify(" \n{ \"feature_negotiation\" : true }\t"), DEFAULTS, Open]),
    ("null_is_as_good_as_nothing", &[Identify("null"), OK, Identify(r#"{"feature_negotiation":true,"msg_timeout":null}"#), DEFAULTS, Open]),
    ("unknown_keys_do_not_matter", &[Identify(r#"{"feature_negotiation":true,"topology_zone":[{"x":1}]}"#), DEFAULTS, Open]),
    ("keys_are_matched_in_any_case", &[Identify(r#"{"FEATURE_negotiation":true,"Msg_Timeout":60000}"#), DEFAULTS, Open]),
    ("of_two_equal_keys_the_last_one_counts", &[Identify(r#"{"feature_negotiation":true,"msg_timeout":5000,"msg_timeout":60000}"#), DEFAULTS, Open]),
    ("zero_is_the_default", &[
        Identify(r#"{"feature_negotiation":true,"heartbeat_interval":0,"output_buffer_size":0,"output_buffer_timeout":0,"sample_rate":0,"msg_timeout":0}"#),
        DEFAULTS, Open,
    ]),
    ("the_largest_values_are_taken", &[
        Identify(r#"{"feature_negotiation":true,"heartbeat_interval":60000,"output_buffer_size":65536,"output_buffer_timeout":30000,"sample_rate":99,"msg_timeout":900000}"#),
        LONGEST, Open,
    ]),
    ("the_smallest_values_are_taken", &[
        Identify(r#"{"feature_negotiation":true,"heartbeat_interval":1000,"output_buffer_size":64,"output_buffer_timeout":25,"sample_rate":1,"msg_timeout":1000}"#),
        SHORTEST, Open,
    ]),
    ("no_buffer_means_no_time_out_for_it", &[
        Identify(r#"{"feature_negotiation":true,"output_buffer_size":-1,"output_buffer_timeout":100}"#), UNBUFFERED, Open,
    ]),
    ("what_a_second_one_leaves_out_is_kept", &[
        Identify(r#"{"msg_timeout":5000,"output_buffer_timeout":-1}"#), OK, Identify(r#"{"feature_negotiation":true}"#), UNTIMED, Open,
    ]),
    ("names_alone_are_a_ping", &[
        Identify(r#"{"client_id":"a","hostname":"b","user_agent":"c"}"#), OK, Send(b"PUB <t>\n\0\0\0\x01x"), OK,
        Identify(r#"{"client_id":"a","hostname":"b","user_agent":"c"}"#), OK, Open,
    ]),
    ("bytes_that_are_no_utf_8_do_not_matter", &[Send(b"IDENTIFY\n\0\0\0\x11{\"client_id\":\"\xff\"}"), OK, Open]),
    ("tls_is_declined", &[Identify(r#"{"feature_negotiation":true,"tls_v1":true}"#), DEFAULTS, Open]),
    ("a_level_without_deflate_does_not_matter", &[Identify(r#"{"feature_negotiation":true,"deflate_level":3}"#), DEFAULTS, Open]),
    ("both_compressions_are_refused", &[
        Identify(r#"{"feature_negotiation":true,"snappy":true,"deflate":true}"#),
        Error(b"E_IDENTIFY_FAILED cannot enable both deflate and snappy compression"), Eof,
    ]),
    ("without_negotiation_no_compression_is_heard_of", &[Identify(r#"{"snappy":true,"deflate":true,"tls_v1":true}"#), OK, Open]),
    ("subscribed_it_is_refused_before_its_body", &[
        Send(b"SUB <t> c\nIDENTIFY\n"), OK, Error(b"E_INVALID cannot IDENTIFY in current state"), Eof,
    ]),
    ("closing_it_is_refused", &[
        Send(b"SUB <t> c\nCLS\nIDENTIFY\n\0\0\0\x02{}"), OK, Response("CLOSE_WAIT"),
        Error(b"E_INVALID cannot IDENTIFY in current state"), Eof,
    ]),
];

const NOT_JSON: Step = Error(b"E_BAD_BODY IDENTIFY failed to decode JSON body");

#[rustfmt::skip]
pub const REFUSED: &[Row] = &[
    ("an_empty_body_is_refused", &[Send(b"IDENTIFY\n\0\0\0\0"), Error(b"E_BAD_BODY IDENTIFY invalid body size 0"), Eof]),
    ("a_negative_size_is_refused", &[Send(b"IDENTIFY\n\xff\xff\xff\xff"), Error(b"E_BAD_BODY IDENTIFY invalid body size -1"), Eof]),
    ("too_large_a_body_is_refused", &[Send(b"IDENTIFY\n\0\0\x08\x01"), Error(b"E_BAD_BODY IDENTIFY body too big 2049 > 2048"), Eof]),
    ("half_a_size_is_told", &[Send(b"IDENTIFY\n\0"), HalfClose, Error(b"E_BAD_BODY IDENTIFY failed to read body size"), Eof]),
    ("half_a_body_is_told", &[Send(b"IDENTIFY\n\0\0\0\x02{"), HalfClose, Error(b"E_BAD_BODY IDENTIFY failed to read body"), Eof]),
    ("half_a_json_is_refused", &[Identify("{"), NOT_JSON, Eof]),
    ("more_than_a_json_is_refused", &[Identify("{} x"), NOT_JSON, Eof]),
    ("a_list_is_refused", &[Identify("[]"), NOT_JSON, Eof]),
    ("a_string_is_refused", &[Identify(r#""{}""#), NOT_JSON, Eof]),
    ("a_number_in_quotes_is_refused", &[Identify(r#"{"heartbeat_interval":"1000"}"#), NOT_JSON, Eof]),
    ("a_number_with_a_point_is_refused", &[Identify(r#"{"msg_timeout":1000.0}"#), NOT_JSON, Eof]),
    ("a_number_with_an_exponent_is_refused", &[Identify(r#"{"output_buffer_size":1e3}"#), NOT_JSON, Eof]),
    ("a_sample_rate_of_more_than_32_bits_is_refused", &[Identify(r#"{"sample_rate":2147483648}"#), NOT_JSON, Eof]),
    ("a_number_of_more_than_64_bits_is_refused", &[Identify(r#"{"deflate_level":9223372036854775808}"#), NOT_JSON, Eof]),
    ("a_number_for_yes_is_refused", &[Identify(r#"{"feature_negotiation":1}"#), NOT_JSON, Eof]),
    ("a_word_for_yes_is_refused", &[Identify(r#"{"tls_v1":"true"}"#), NOT_JSON, Eof]),
    ("a_number_for_a_name_is_refused", &[Identify(r#"{"client_id":5}"#), NOT_JSON, Eof]),
    ("too_short_a_heartbeat_interval_is_refused", &[
        Identify(r#"{"heartbeat_interval":999}"#), Error(b"E_BAD_BODY IDENTIFY heartbeat interval (999) is invalid"), Eof,
    ]),
    ("too_long_a_heartbeat_interval_is_refused", &[
        Identify(r#"{"heartbeat_interval":60001}"#), Error(b"E_BAD_BODY IDENTIFY heartbeat interval (60001) is invalid"), Eof,
    ]),
    ("a_negative_heartbeat_interval_is_refused", &[
        Identify(r#"{"heartbeat_interval":-2}"#), Error(b"E_BAD_BODY IDENTIFY heartbeat interval (-2) is invalid"), Eof,
    ]),
    ("too_small_an_output_buffer_is_refused", &[
        Identify(r#"{"output_buffer_size":63}"#), Error(b"E_BAD_BODY IDENTIFY output buffer size (63) is invalid"), Eof,
    ]),
    ("too_large_an_output_buffer_is_refused", &[
        Identify(r#"{"output_buffer_size":65537}"#), Error(b"E_BAD_BODY IDENTIFY output buffer size (65537) is invalid"), Eof,
    ]),
    ("a_negative_output_buffer_is_refused", &[
        Identify(r#"{"output_buffer_size":-2}"#), Error(b"E_BAD_BODY IDENTIFY output buffer size (-2) is invalid"), Eof,
    ]),
    ("too_short_an_output_buffer_timeout_is_refused", &[
        Identify(r#"{"output_buffer_timeout":24}"#), Error(b"E_BAD_BODY IDENTIFY output buffer timeout (24) is invalid"), Eof,
    ]),
    ("too_long_an_output_buffer_timeout_is_refused", &[
        Identify(r#"{"output_buffer_timeout":30001}"#), Error(b"E_BAD_BODY IDENTIFY output buffer timeout (30001) is invalid"), Eof,
    ]),
    ("a_negative_output_buffer_timeout_is_refused", &[
        Identify(r#"{"output_buffer_timeout":-2}"#), Error(b"E_BAD_BODY IDENTIFY output buffer timeout (-2) is invalid"), Eof,
    ]),
    ("too_large_a_sample_rate_is_refused", &[
        Identify(r#"{"sample_rate":100}"#), Error(b"E_BAD_BODY IDENTIFY sample rate (100) is invalid"), Eof,
    ]),
    ("a_negative_sample_rate_is_refused", &[
        Identify(r#"{"sample_rate":-1}"#), Error(b"E_BAD_BODY IDENTIFY sample rate (-1) is invalid"), Eof,
    ]),
    ("too_short_a_msg_timeout_is_refused", &[
        Identify(r#"{"msg_timeout":999}"#), Error(b"E_BAD_BODY IDENTIFY msg timeout (999) is invalid"), Eof,
    ]),
    ("too_long_a_msg_timeout_is_refused", &[
        Identify(r#"{"msg_timeout":900001}"#), Error(b"E_BAD_BODY IDENTIFY msg timeout (900001) is invalid"), Eof,
    ]),
    ("a_negative_msg_timeout_is_refused", &[
        Identify(r#"{"msg_timeout":-1}"#), Error(b"E_BAD_BODY IDENTIFY msg timeout (-1) is invalid"), Eof,
    ]),
    ("of_several_bad_values_the_first_checked_is_told", &[
        Identify(r#"{"msg_timeout":1,"output_buffer_size":1,"output_buffer_timeout":1,"heartbeat_interval":1}"#),
        Error(b"E_BAD_BODY IDENTIFY heartbeat interval (1) is invalid"), Eof,
        Use(1), Identify(r#"{"output_buffer_size":1,"output_buffer_timeout":1,"sample_rate":100}"#),
        Error(b"E_BAD_BODY IDENTIFY output buffer timeout (1) is invalid"), Eof,
    ]),
];
