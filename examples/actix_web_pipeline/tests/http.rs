//! Requests and responses of the HTTP interface, and the flags.

use actix_nsq::{Delivery, ErrorKind, protocol::ErrorCode, testing};
use actix_web::{ResponseError, http::header};
use clap::Parser;
use serde_json::json;

use super::{client::post_as, start, stats};
use crate::{Flags, http::OrderFailed, pipeline::MAX_WORK};

/// Pages of other sites can send these types without a preflight request.
#[actix::test]
async fn post_without_the_json_content_type_is_415() {
    let service = start();
    let address = service.addresses()[0];
    let order = json!({ "item": "tea", "quantity": 1 });
    for content_type in [
        None,
        Some("text/plain"),
        Some("text/plain; application/json"),
        Some("application/x-www-form-urlencoded"),
        Some("multipart/form-data; boundary=x"),
    ] {
        for path in ["/orders", "/nsqd/kill"] {
            let response = post_as(address, path, content_type, &order).await;
            assert_eq!(
                response.status, 415,
                "{path} {content_type:?}: {response:?}"
            );
            let error = response.json()["error"].to_string();
            assert!(error.contains("application/json"), "{error}");
        }
    }
    let stats = stats(&service).await;
    assert_eq!(stats["orders"]["published"], 0, "{stats}");
    assert_eq!(stats["nsqd"]["is_down"], false, "{stats}");
    assert_eq!(stats["nsqd"]["restarts"], 0, "{stats}");
}

#[test]
fn failed_publish_has_its_http_status() {
    let denied = ErrorKind::Rejected(ErrorCode::Unauthorized);
    for (error, status, retry_after) in [
        (testing::publish_error(ErrorKind::Full), 503, Some("1")),
        (testing::publish_error(ErrorKind::Timeout), 503, Some("1")),
        (testing::publish_error(denied), 500, None),
        (testing::publish_error(ErrorKind::TooLarge), 413, None),
        (testing::publish_error(ErrorKind::ConnectionLost), 502, None),
        (
            testing::publish_error_with(ErrorKind::Timeout, Delivery::MaybeWritten),
            504,
            None,
        ),
    ] {
        let what = format!("{error:?}");
        let response = OrderFailed::from(error).error_response();
        assert_eq!(response.status().as_u16(), status, "{what}");
        let found = response.headers().get(header::RETRY_AFTER);
        let found = found.map(|value| value.to_str().unwrap());
        assert_eq!(found, retry_after, "{what}");
    }
}

#[test]
fn work_above_its_maximum_is_an_error() {
    let parse = |work| Flags::try_parse_from(["actix_web_pipeline", "--work", work]);
    assert_eq!(parse("1s").unwrap().work, MAX_WORK);
    for (work, expected) in [
        (
            "1001ms",
            "1.001s exceeds 1s: nsqd would deliver orders again",
        ),
        ("soon", "expected number at 0"),
    ] {
        let error = parse(work).err().unwrap().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
