//! What a client may ask for in IDENTIFY, and what it is told.

use super::{
    protocol::{check, check_refused, check_stored},
    *,
};

/// Sends the requests in a row. The last answer is nsqd's default, but for what is said to be
/// changed in it.
#[track_caller]
fn check_identify(requests: &[&str], changed: &[(&str, &str)]) {
    let mut answer = r#"{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250}"#.to_owned();
    for (from, to) in changed {
        assert!(answer.contains(from));
        answer = answer.replace(from, to);
    }
    let sent: Vec<u8> = requests
        .iter()
        .flat_map(|request| identify(request))
        .collect();
    let oks = vec![OK.to_vec(); requests.len() - 1];
    check(
        &sent,
        &[oks, vec![frame(0, answer.as_bytes())]].concat(),
        End::Eof,
        0,
    );
}

#[test]
fn identify_is_answered_with_what_was_negotiated() {
    check_identify(&[r#"{"feature_negotiation":true}"#], &[]);
    check_identify(
        &[r#" {"Feature_Negotiation":true,"hostname":null,"max_in_flight":[1]} "#],
        &[],
    );
    check_identify(
        &[r#"{"feature_negotiation":true,"tls_v1":true,"deflate_level":3}"#],
        &[],
    );
    check_identify(
        &[
            r#"{"feature_negotiation":true,"sample_rate":99,"msg_timeout":1000,"output_buffer_size":64,"output_buffer_timeout":25}"#,
        ],
        &[
            ("\"sample_rate\":0", "\"sample_rate\":99"),
            ("\"msg_timeout\":60000", "\"msg_timeout\":1000"),
            ("16384", "64"),
            ("250}", "25}"),
        ],
    );
    check_identify(
        &[r#"{"feature_negotiation":true,"output_buffer_size":-1,"output_buffer_timeout":100}"#],
        &[("16384", "1"), ("250}", "0}")],
    );
    // What a second one leaves out keeps its value.
    check_identify(
        &[
            r#"{"msg_timeout":5000,"output_buffer_timeout":-1}"#,
            r#"{"feature_negotiation":true}"#,
        ],
        &[
            ("\"msg_timeout\":60000", "\"msg_timeout\":5000"),
            ("250}", "0}"),
        ],
    );
}

#[test]
fn identify_without_negotiation_is_answered_ok() {
    for request in [
        "{}",
        "null",
        r#"{"tls_v1":true}"#,
        "{\"client_id\":\"a\",\"hostname\":\"b\",\"user_agent\":\"c\"}",
    ] {
        check_stored(&identify(request), 0);
    }
    // Bytes that are not UTF-8 are no fault.
    check_stored(b"IDENTIFY\n\0\0\0\x11{\"client_id\":\"\xff\"}", 0);
}

#[test]
fn identify_refuses_what_is_out_of_range() {
    for (field, name, bad) in [
        (
            "heartbeat_interval",
            "heartbeat interval",
            &[-2_i64, 1, 999, 60_001][..],
        ),
        (
            "output_buffer_size",
            "output buffer size",
            &[-2, 1, 63, 65_537],
        ),
        (
            "output_buffer_timeout",
            "output buffer timeout",
            &[-2, 1, 24, 30_001],
        ),
        ("sample_rate", "sample rate", &[-1, 100]),
        ("msg_timeout", "msg timeout", &[-1, 1, 999, 900_001]),
    ] {
        for value in bad {
            let text = format!("E_BAD_BODY IDENTIFY {name} ({value}) is invalid");
            check_refused(&identify(&format!("{{\"{field}\":{value}}}")), &text);
        }
    }
    for request in [
        "[]",
        "\"x\"",
        "{]",
        "{} x",
        r#"{"heartbeat_interval":"1000"}"#,
        r#"{"heartbeat_interval":1000.0}"#,
        r#"{"sample_rate":2147483648}"#,
        r#"{"feature_negotiation":1}"#,
        r#"{"tls_v1":"yes"}"#,
        r#"{"client_id":5}"#,
    ] {
        check_refused(
            &identify(request),
            "E_BAD_BODY IDENTIFY failed to decode JSON body",
        );
    }
}
