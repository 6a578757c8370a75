//! The HTTP interface: orders, results, the page and its events, and the button that kills nsqd.

use std::{
    convert::Infallible,
    future::{Ready, ready},
};

use actix_nsq::{Delivery, Publish, PublishError, bytes::Bytes};
use actix_web::{
    FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError,
    dev::Payload,
    http::{StatusCode, header},
    web,
};
use futures::stream;
use serde_json::json;

use super::{
    broker::KillError,
    order::{Item, ORDERS},
    pipeline::Pipeline,
    snapshot::Sampler,
};

/// Number of results that `GET /results` returns.
const RESULTS: usize = 20;

/// The page needs nothing from other servers, and may not load anything from them.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; connect-src 'self'; img-src 'self' \
    data:; script-src 'unsafe-inline'; style-src 'unsafe-inline'; frame-ancestors 'none'; \
    form-action 'none'; base-uri 'none'";

pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/", web::get().to(page))
        .route("/events", web::get().to(events))
        .route("/stats", web::get().to(stats))
        .route("/orders", web::post().to(order))
        .route("/results", web::get().to(results))
        .route("/nsqd/kill", web::post().to(kill));
}

async fn page() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(header::ContentType::html())
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY))
        .body(include_str!("page.html"))
}

/// Server-sent events, until the sampler stops. If the client reads slowly, it misses events.
async fn events(sampler: web::Data<Sampler>) -> HttpResponse {
    let events = stream::unfold(sampler.events(), async |mut events| {
        events.changed().await.ok()?;
        let event = events.borrow_and_update().clone()?;
        Some((Ok::<Bytes, Infallible>(event), events))
    });
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/event-stream"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .streaming(events)
}

async fn stats(sampler: web::Data<Sampler>) -> HttpResponse {
    HttpResponse::Ok().json(sampler.snapshot().await)
}

/// Answers when nsqd has stored the order. 503: it has not, and the client may retry.
async fn order(
    _: JsonRequest,
    item: web::Json<Item>,
    pipeline: web::Data<Pipeline>,
) -> Result<HttpResponse, OrderFailed> {
    let item = item.into_inner();
    if let Some(problem) = item.problem() {
        return Err(OrderFailed::Invalid(problem));
    }
    let request = pipeline.ledger.begin(item).ok_or(OrderFailed::TooMany)?;
    let result = match Publish::json(ORDERS.0, request.order()) {
        Ok(publish) => {
            let result = pipeline.producer.send(publish).await;
            result.unwrap_or_else(|error| Err(error.into()))
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => {
            let id = request.order().id;
            request.published();
            Ok(HttpResponse::Accepted().json(json!({ "order": id })))
        }
        Err(error) => {
            if error.delivery() == Delivery::NotWritten {
                request.not_stored();
            }
            Err(error.into())
        }
    }
}

async fn results(pipeline: web::Data<Pipeline>) -> HttpResponse {
    HttpResponse::Ok().json(pipeline.ledger.latest(RESULTS))
}

async fn kill(_: JsonRequest, pipeline: web::Data<Pipeline>) -> Result<HttpResponse, KillError> {
    pipeline.broker.kill()?;
    Ok(HttpResponse::Accepted().json(json!({ "nsqd": "killed" })))
}

/// A request with `content-type: application/json`.
///
/// The server has no login, so it must not obey the page of another site. A browser sends a POST of
/// such a page with one of three other types, or asks before by a preflight request, which this
/// server does not allow.
struct JsonRequest;

impl FromRequest for JsonRequest {
    type Error = NotJson;
    type Future = Ready<Result<Self, NotJson>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let found = request.content_type();
        ready(match found.eq_ignore_ascii_case("application/json") {
            true => Ok(Self),
            false => Err(NotJson(found.to_owned())),
        })
    }
}

/// A request has another content type.
#[derive(Debug, thiserror::Error)]
#[error("content type {0:?} is not supported; set content-type: application/json")]
struct NotJson(String);

impl ResponseError for NotJson {
    fn status_code(&self) -> StatusCode {
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(json!({ "error": self.to_string() }))
    }
}

/// An order that is not known to be stored, as an HTTP response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderFailed {
    #[error("{0}")]
    Invalid(String),
    #[error("too many orders have no result yet; retry later")]
    TooMany,
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl ResponseError for OrderFailed {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::TooMany => StatusCode::SERVICE_UNAVAILABLE,
            // 503 only if the request may be repeated: clients and proxies do so without asking.
            Self::Publish(error) => StatusCode::from_u16(error.http_status())
                .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, "1"));
        }
        response.json(json!({ "error": self.to_string() }))
    }
}

impl ResponseError for KillError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::External(_) | Self::IsDown => StatusCode::CONFLICT,
            Self::Thread(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(json!({ "error": self.to_string() }))
    }
}
