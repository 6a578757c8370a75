//! The HTTP interface: orders, results, the page and its events, and the button that kills nsqd.

use std::convert::Infallible;

use actix_nsq::{Delivery, ErrorKind, Publish, PublishError, bytes::Bytes};
use actix_web::{
    HttpResponse, ResponseError,
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
    item: web::Json<Item>,
    pipeline: web::Data<Pipeline>,
) -> Result<HttpResponse, OrderFailed> {
    let item = item.into_inner();
    if let Some(problem) = item.problem() {
        return Err(OrderFailed::Invalid(problem));
    }
    let request = pipeline.ledger.begin(item).ok_or(OrderFailed::TooMany)?;
    let publish = Publish::json(ORDERS.0, request.order())?;
    let result = pipeline.producer.send(publish).await;
    match result.unwrap_or_else(|error| Err(error.into())) {
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

async fn kill(pipeline: web::Data<Pipeline>) -> Result<HttpResponse, KillError> {
    pipeline.broker.kill()?;
    Ok(HttpResponse::Accepted().json(json!({ "nsqd": "killed" })))
}

/// An order that is not known to be stored, as an HTTP response. The example `actix_web` maps every
/// kind of failure; of those a valid order can have two.
#[derive(Debug, thiserror::Error)]
enum OrderFailed {
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
            Self::Publish(error) => match (error.delivery(), error.kind()) {
                (Delivery::NotWritten, _) => StatusCode::SERVICE_UNAVAILABLE,
                // May be stored: never 503, after which clients and proxies retry.
                (_, ErrorKind::Timeout) => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::BAD_GATEWAY,
            },
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
