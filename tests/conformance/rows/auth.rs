//! AUTH, where it is not enabled, and where it is a must.

use crate::step::{OK, Row, Step, Step::*};

#[rustfmt::skip]
pub const ROWS: &[Row] = &[
    ("it_is_disabled", &[Send(b"AUTH\n\0\0\0\x06secret"), Error(b"E_AUTH_DISABLED AUTH disabled"), Eof]),
    ("it_has_no_parameters", &[Send(b"AUTH x\n"), Error(b"E_INVALID AUTH invalid number of parameters"), Eof]),
    ("a_trailing_space_is_a_parameter", &[Send(b"AUTH \n"), Error(b"E_INVALID AUTH invalid number of parameters"), Eof]),
    ("an_empty_secret_is_refused", &[Send(b"AUTH\n\0\0\0\0"), Error(b"E_BAD_BODY AUTH invalid body size 0"), Eof]),
    ("a_negative_size_is_refused", &[Send(b"AUTH\n\xff\xff\xff\xfe"), Error(b"E_BAD_BODY AUTH invalid body size -2"), Eof]),
    ("too_long_a_secret_is_refused", &[Send(b"AUTH\n\0\0\x08\x01"), Error(b"E_BAD_BODY AUTH body too big 2049 > 2048"), Eof]),
    ("half_a_size_is_told", &[Send(b"AUTH\n\0\0"), HalfClose, Error(b"E_BAD_BODY AUTH failed to read body size"), Eof]),
    ("half_a_secret_is_told", &[Send(b"AUTH\n\0\0\0\x06sec"), HalfClose, Error(b"E_BAD_BODY AUTH failed to read body"), Eof]),
    ("it_comes_before_sub", &[Send(b"SUB <t> c\nAUTH x\n"), OK, Error(b"E_INVALID cannot AUTH in current state"), Eof]),
    ("it_comes_before_cls", &[
        Send(b"SUB <t> c\nCLS\nAUTH\n\0\0\0\x01x"), OK, Response("CLOSE_WAIT"), Error(b"E_INVALID cannot AUTH in current state"), Eof,
    ]),
];

const PUBLISH: Step = Send(b"AUTH\n\0\0\0\x07publish");
const PUBLISH_ANSWER: Step = Response(
    r#"{"identity":"a \u003cb\u003e \u0026 c","identity_url":"http://d/?e\u0026f","permission_count":1}"#,
);
const EVERYTHING: Step = Send(b"AUTH\n\0\0\0\x0aeverything");
const EVERYTHING_ANSWER: Step =
    Response(r#"{"identity":"everything","identity_url":"","permission_count":1}"#);
const TWO: Step = Send(b"AUTH\n\0\0\0\x03two");
const TWO_ANSWER: Step = Response(r#"{"identity":"two","identity_url":"","permission_count":2}"#);
const REQUIRED_ANSWER: Step = Response(
    r#"{"max_rdy_count":100,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":true,"output_buffer_size":16384,"output_buffer_timeout":250}"#,
);

#[rustfmt::skip]
pub const REQUIRED: &[Row] = &[
    ("identify_tells_that_it_is_required", &[Identify(r#"{"feature_negotiation":true}"#), REQUIRED_ANSWER, EVERYTHING, EVERYTHING_ANSWER, Open]),
    ("it_comes_before_a_pub", &[Send(b"PUB <t>\n\0\0\0\x01x"), Error(b"E_AUTH_FIRST AUTH required before PUB"), Eof]),
    ("it_comes_before_an_mpub_and_its_body", &[Send(b"MPUB <t>\n"), Error(b"E_AUTH_FIRST AUTH required before MPUB"), Eof]),
    ("it_comes_before_a_dpub", &[Send(b"DPUB <t> 1\n\0\0\0\x01x"), Error(b"E_AUTH_FIRST AUTH required before DPUB"), Eof]),
    ("it_comes_before_sub", &[Send(b"SUB <t> c\n"), Error(b"E_AUTH_FIRST AUTH required before SUB"), Eof]),
    ("it_need_not_come_before_a_nop", &[Send(b"NOP\n"), EVERYTHING, EVERYTHING_ANSWER, Open]),
    ("what_is_malformed_is_told_first", &[
        Send(b"PUB $\n"), Error(br#"E_BAD_TOPIC PUB topic name "$" is not valid"#), Eof,
        Use(1), Send(b"PUB <t>\n\0\0\0\0"), Error(b"E_BAD_MESSAGE PUB invalid message body size 0"), Eof,
        Use(2), Send(b"MPUB $\n"), Error(br#"E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "$" is not valid"#), Eof,
        Use(3), Send(b"SUB <t> $\n"), Error(br#"E_BAD_CHANNEL SUB channel name "$" is not valid"#), Eof,
        Use(4), Send(b"DPUB <t> x\n"), Error(b"E_INVALID DPUB could not parse timeout x"), Eof,
        Use(5), Send(b"RDY 1\n"), Error(b"E_INVALID cannot RDY in current state"), Eof,
    ]),
    ("half_a_pub_is_told_first", &[
        Send(b"PUB <t>\n\0\0\0\x02x"), HalfClose, Error(b"E_BAD_MESSAGE PUB failed to read message body"), Eof,
    ]),
    ("an_mpub_is_looked_at_before_its_body", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"MPUB other\n"), Error(br#"E_UNAUTHORIZED AUTH failed for MPUB on "other" """#), Eof,
    ]),
    ("half_an_mpub_is_told_when_it_is_allowed", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"MPUB <t>\n\0\0"), HalfClose, Error(b"E_BAD_BODY MPUB failed to read body size"), Eof,
    ]),
    ("an_unknown_secret_is_refused", &[Send(b"AUTH\n\0\0\0\x05wrong"), Error(b"E_UNAUTHORIZED AUTH no authorizations found"), Eof]),
    ("an_auth_server_without_sense_is_none", &[Send(b"AUTH\n\0\0\0\x04down"), Error(b"E_AUTH_FAILED AUTH failed"), Eof]),
    ("a_grant_for_no_time_is_none", &[Send(b"AUTH\n\0\0\0\x05never"), Error(b"E_AUTH_FAILED AUTH failed"), Eof]),
    ("it_is_granted_once", &[PUBLISH, PUBLISH_ANSWER, PUBLISH, Error(b"E_INVALID AUTH already set"), Eof]),
    ("a_second_one_is_malformed_before_it_is_one_too_many", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"AUTH\n\0\0\0\0"), Error(b"E_BAD_BODY AUTH invalid body size 0"), Eof,
    ]),
    ("who_may_publish_publishes", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"PUB <t>\n\0\0\0\x01x"), OK, Send(b"DPUB <t> 0\n\0\0\0\x01x"), OK,
        Send(b"MPUB <t>\n\0\0\0\x09\0\0\0\x01\0\0\0\x01x"), OK,
    ]),
    ("a_forbidden_topic_is_told_by_name", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"PUB other\n\0\0\0\x01x"), Error(br#"E_UNAUTHORIZED AUTH failed for PUB on "other" """#), Eof,
        Use(1), PUBLISH, PUBLISH_ANSWER, Send(b"DPUB other 1\n\0\0\0\x01x"),
        Error(br#"E_UNAUTHORIZED AUTH failed for DPUB on "other" """#), Eof,
    ]),
    ("who_may_publish_may_not_subscribe", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"SUB <t> c\n"), Error(br#"E_UNAUTHORIZED AUTH failed for SUB on "<t>" "c""#), Eof,
    ]),
    ("what_stands_behind_a_forbidden_one_is_not_executed", &[
        PUBLISH, PUBLISH_ANSWER, Send(b"PUB <t>\n\0\0\0\x011PUB other\n\0\0\0\x012PUB <t>\n\0\0\0\x013"),
        OK, Error(br#"E_UNAUTHORIZED AUTH failed for PUB on "other" """#), Eof,
        Use(1), EVERYTHING, EVERYTHING_ANSWER, Send(b"PUB <t>\n\0\0\0\x014"), OK,
        Send(b"SUB <t> c\nRDY 2\n"), OK, Message('a', 1, b"1"), Message('b', 1, b"4"), Open,
    ]),
    ("a_channel_is_granted_by_name", &[
        TWO, TWO_ANSWER, Send(b"SUB <t> c\n"), OK, Open,
        Use(1), TWO, TWO_ANSWER, Send(b"SUB <t> d\n"), Error(br#"E_UNAUTHORIZED AUTH failed for SUB on "<t>" "d""#), Eof,
        Use(2), TWO, TWO_ANSWER, Send(b"PUB <t>\n\0\0\0\x01x"), Error(br#"E_UNAUTHORIZED AUTH failed for PUB on "<t>" """#), Eof,
    ]),
    ("subscribed_it_comes_too_late", &[
        TWO, TWO_ANSWER, Send(b"SUB <t> c\n"), OK, Send(b"AUTH\n"), Error(b"E_INVALID cannot AUTH in current state"), Eof,
    ]),
];
