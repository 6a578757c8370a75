//! AUTH: disabled, and required.

use crate::step::{OK, Row, Step, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("auth_is_disabled_without_auth_server", &[
        Send(b"AUTH\n\0\0\0\x06secret"), Error(b"E_AUTH_DISABLED AUTH disabled"), Eof,
    ]),
    ("parameter_is_rejected", &[
        Send(b"AUTH x\n"), Error(b"E_INVALID AUTH invalid number of parameters"), Eof,
    ]),
    ("trailing_space_counts_as_a_parameter", &[
        Send(b"AUTH \n"), Error(b"E_INVALID AUTH invalid number of parameters"), Eof,
    ]),
    ("empty_secret_is_rejected", &[
        Send(b"AUTH\n\0\0\0\0"), Error(b"E_BAD_BODY AUTH invalid body size 0"), Eof,
    ]),
    ("negative_size_is_rejected", &[
        Send(b"AUTH\n\xff\xff\xff\xfe"), Error(b"E_BAD_BODY AUTH invalid body size -2"), Eof,
    ]),
    ("secret_above_the_limit_is_rejected", &[
        Send(b"AUTH\n\0\0\x08\x01"), Error(b"E_BAD_BODY AUTH body too big 2049 > 2048"), Eof,
    ]),
    ("incomplete_size_returns_error", &[
        Send(b"AUTH\n\0\0"), HalfClose, Error(b"E_BAD_BODY AUTH failed to read body size"), Eof,
    ]),
    ("incomplete_secret_returns_error", &[
        Send(b"AUTH\n\0\0\0\x06sec"), HalfClose, Error(b"E_BAD_BODY AUTH failed to read body"), Eof,
    ]),
    ("auth_after_sub_is_rejected", &[
        Send(b"SUB <t> c\nAUTH x\n"), OK, Error(b"E_INVALID cannot AUTH in current state"), Eof,
    ]),
    ("auth_after_cls_is_rejected", &[
        Send(b"SUB <t> c\nCLS\nAUTH\n\0\0\0\x01x"), OK, Response("CLOSE_WAIT"),
        Error(b"E_INVALID cannot AUTH in current state"), Eof,
    ]),
];

const PUBLISH: Step = Send(b"AUTH\n\0\0\0\x07publish");
const PUBLISH_ANSWER: Step = Response(concat!(
    r#"{"identity":"a \u003cb\u003e \u0026 c","identity_url":"http://d/?e\u0026f","#,
    r#""permission_count":1}"#,
));
const EVERYTHING: Step = Send(b"AUTH\n\0\0\0\x0aeverything");
const EVERYTHING_ANSWER: Step =
    Response(r#"{"identity":"everything","identity_url":"","permission_count":1}"#);
const TWO: Step = Send(b"AUTH\n\0\0\0\x03two");
const TWO_ANSWER: Step = Response(r#"{"identity":"two","identity_url":"","permission_count":2}"#);
const REQUIRED_ANSWER: Step = Response(concat!(
    r#"{"max_rdy_count":100,"version":"<v>","max_msg_timeout":900000,"msg_timeout":60000,"#,
    r#""tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"#,
    r#""snappy":false,"sample_rate":0,"auth_required":true,"output_buffer_size":16384,"#,
    r#""output_buffer_timeout":250}"#,
));

#[rustfmt::skip]
pub const REQUIRED: &[Row] = &[
    ("identify_response_says_auth_required", &[
        Identify(r#"{"feature_negotiation":true}"#), REQUIRED_ANSWER, EVERYTHING, EVERYTHING_ANSWER,
        Open,
    ]),
    ("pub_before_auth_is_rejected", &[
        Send(b"PUB <t>\n\0\0\0\x01x"), Error(b"E_AUTH_FIRST AUTH required before PUB"), Eof,
    ]),
    ("mpub_before_auth_is_rejected_before_its_body", &[
        Send(b"MPUB <t>\n"), Error(b"E_AUTH_FIRST AUTH required before MPUB"), Eof,
    ]),
    ("dpub_before_auth_is_rejected", &[
        Send(b"DPUB <t> 1\n\0\0\0\x01x"), Error(b"E_AUTH_FIRST AUTH required before DPUB"), Eof,
    ]),
    ("sub_before_auth_is_rejected", &[
        Send(b"SUB <t> c\n"), Error(b"E_AUTH_FIRST AUTH required before SUB"), Eof,
    ]),
    ("nop_before_auth_is_allowed", &[Send(b"NOP\n"), EVERYTHING, EVERYTHING_ANSWER, Open]),
    ("malformed_command_is_reported_before_missing_auth", &[
        Send(b"PUB $\n"), Error(br#"E_BAD_TOPIC PUB topic name "$" is not valid"#), Eof,
        Use(1), Send(b"PUB <t>\n\0\0\0\0"), Error(b"E_BAD_MESSAGE PUB invalid message body size 0"),
        Eof,
        Use(2), Send(b"MPUB $\n"),
        Error(br#"E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "$" is not valid"#), Eof,
        Use(3), Send(b"SUB <t> $\n"), Error(br#"E_BAD_CHANNEL SUB channel name "$" is not valid"#),
        Eof,
        Use(4), Send(b"DPUB <t> x\n"), Error(b"E_INVALID DPUB could not parse timeout x"), Eof,
        Use(5), Send(b"RDY 1\n"), Error(b"E_INVALID cannot RDY in current state"), Eof,
    ]),
    ("incomplete_pub_is_reported_before_missing_auth", &[
        Send(b"PUB <t>\n\0\0\0\x02x"), HalfClose,
        Error(b"E_BAD_MESSAGE PUB failed to read message body"), Eof,
    ]),
    ("mpub_is_authorized_before_its_body_is_read", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"MPUB other\n"),
        Error(br#"E_UNAUTHORIZED AUTH failed for MPUB on "other" """#), Eof,
    ]),
    ("incomplete_authorized_mpub_returns_error", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"MPUB <t>\n\0\0"), HalfClose,
        Error(b"E_BAD_BODY MPUB failed to read body size"), Eof,
    ]),
    ("unknown_secret_is_rejected", &[
        Send(b"AUTH\n\0\0\0\x05wrong"), Error(b"E_UNAUTHORIZED AUTH no authorizations found"), Eof,
    ]),
    ("invalid_auth_server_response_fails_auth", &[
        Send(b"AUTH\n\0\0\0\x04down"), Error(b"E_AUTH_FAILED AUTH failed"), Eof,
    ]),
    ("grant_with_zero_ttl_fails_auth", &[
        Send(b"AUTH\n\0\0\0\x05never"), Error(b"E_AUTH_FAILED AUTH failed"), Eof,
    ]),
    ("second_auth_is_rejected", &[
        PUBLISH, PUBLISH_ANSWER, PUBLISH, Error(b"E_INVALID AUTH already set"), Eof,
    ]),
    ("malformed_second_auth_reports_the_malformed_body", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"AUTH\n\0\0\0\0"),
        Error(b"E_BAD_BODY AUTH invalid body size 0"), Eof,
    ]),
    ("publish_permission_allows_pub_dpub_and_mpub", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"PUB <t>\n\0\0\0\x01x"), OK,
        Send(b"DPUB <t> 0\n\0\0\0\x01x"), OK, Send(b"MPUB <t>\n\0\0\0\x09\0\0\0\x01\0\0\0\x01x"),
        OK,
    ]),
    ("unauthorized_topic_is_named_in_the_error", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"PUB other\n\0\0\0\x01x"),
        Error(br#"E_UNAUTHORIZED AUTH failed for PUB on "other" """#), Eof,
        Use(1), PUBLISH, PUBLISH_ANSWER, Send(b"DPUB other 1\n\0\0\0\x01x"),
        Error(br#"E_UNAUTHORIZED AUTH failed for DPUB on "other" """#), Eof,
    ]),
    ("publish_permission_does_not_allow_sub", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"SUB <t> c\n"),
        Error(br#"E_UNAUTHORIZED AUTH failed for SUB on "<t>" "c""#), Eof,
    ]),
    ("commands_behind_an_unauthorized_one_are_not_executed", &[
        PUBLISH, PUBLISH_ANSWER,
        Send(b"PUB <t>\n\0\0\0\x011PUB other\n\0\0\0\x012PUB <t>\n\0\0\0\x013"), OK,
        Error(br#"E_UNAUTHORIZED AUTH failed for PUB on "other" """#), Eof,
        Use(1), EVERYTHING, EVERYTHING_ANSWER, Send(b"PUB <t>\n\0\0\0\x014"), OK,
        Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"1"), Message('b', 1, b"4"), Open,
    ]),
    ("subscribe_permission_is_limited_to_its_channel", &[
        TWO, TWO_ANSWER, Send(b"SUB <t> c\n"), OK, Open,
        Use(1), TWO, TWO_ANSWER, Send(b"SUB <t> d\n"),
        Error(br#"E_UNAUTHORIZED AUTH failed for SUB on "<t>" "d""#), Eof,
        Use(2), TWO, TWO_ANSWER, Send(b"PUB <t>\n\0\0\0\x01x"),
        Error(br#"E_UNAUTHORIZED AUTH failed for PUB on "<t>" """#), Eof,
    ]),
    ("auth_after_granted_sub_is_rejected", &[
        TWO, TWO_ANSWER, Send(b"SUB <t> c\n"), OK, Send(b"AUTH\n"),
        Error(b"E_INVALID cannot AUTH in current state"), Eof,
    ]),
];
