//! Which HTTP status tells which failure of a publish.

use actix_nsq::{Delivery, ErrorKind, PublishError};
use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use serde_json::json;

/// A publish that failed, as an HTTP answer.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct Failed(#[from] PublishError);

impl ResponseError for Failed {
    fn status_code(&self) -> StatusCode {
        match (self.0.kind(), self.0.delivery()) {
            // The request is at fault. These are found before anything is sent.
            (ErrorKind::InvalidName | ErrorKind::EmptyBody, _) => StatusCode::BAD_REQUEST,
            (ErrorKind::TooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
            // Certainly not stored, and the same request may succeed soon, here (nsqd was away, or we have no room) or at
            // another instance (this one is going). `Full` is no 429: it is not this client that sent too much.
            (ErrorKind::Drained | ErrorKind::Closed, _) => StatusCode::SERVICE_UNAVAILABLE,
            (_, Delivery::NotWritten) if self.0.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            // Certainly not stored, and never will be: nsqd has other limits or rights than we think. Ours to mend.
            (_, Delivery::NotWritten) => StatusCode::INTERNAL_SERVER_ERROR,
            // Perhaps stored: never a 503, after which clients and proxies try again without asking.
            (ErrorKind::Timeout, _) => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, "1"));
        }
        let stored = match self.0.delivery() {
            Delivery::NotWritten => "no",
            Delivery::MaybeWritten | Delivery::MaybePartial => "maybe",
        };
        response.json(json!({ "stored": stored, "error": self.0.to_string() }))
    }
}
