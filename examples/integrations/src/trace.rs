//! Spans around publishing and handling, connected by trace context in the envelope of a message.

use actix_nsq::{IncomingMessage, Publish, PublishError, PublishExt, Topic};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tracing::{Instrument, Span, info_span};

use crate::traceparent::Traceparent;

// begin publish
/// Body of a message with trace context. NSQ has no headers.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope<T> {
    /// Any value, so that a consumer ignores an invalid one instead of rejecting the message.
    traceparent: Option<Value>,
    payload: T,
}

/// Publishes a message within a span of its own, below `parent` or in a new trace.
pub async fn publish<T: Serialize>(
    producer: &impl PublishExt,
    topic: &Topic,
    payload: T,
    parent: Option<Traceparent>,
) -> Result<(), PublishError> {
    let context = parent.map_or_else(Traceparent::new_trace, Traceparent::child);
    let (trace_id, span_id) = (context.trace_id(), context.span_id());
    let span = info_span!("publish", %topic, trace_id, span_id);
    let traceparent = Some(Value::String(context.to_string()));
    let publish = Publish::json(
        topic,
        &Envelope {
            traceparent,
            payload,
        },
    )?;
    let publish = async {
        let result = producer.publish_message(publish).await;
        match &result {
            Ok(()) => tracing::info!("published"),
            Err(error) => tracing::warn!(%error, delivery = %error.delivery(), "not published"),
        }
        result
    };
    publish.instrument(span).await
}
// end publish

// begin handle
/// A message with its trace context.
#[derive(Debug)]
pub struct Traced<T> {
    /// Message of the application.
    pub payload: T,
    /// Context of the handler: pass it on to [`publish`].
    pub context: Traceparent,
    /// Span of the handler.
    pub span: Span,
}

/// Reads a message and makes the span in which it is handled: below the one that published it, or
/// in a new trace if its context is missing or invalid. A body that is no envelope is an error, at
/// every delivery: store the message somewhere and finish it, instead of requeueing it.
pub fn traced<T: DeserializeOwned>(
    message: &IncomingMessage,
) -> Result<Traced<T>, serde_json::Error> {
    let Envelope {
        traceparent,
        payload,
    } = message.json()?;
    let traceparent = traceparent.as_ref().and_then(Value::as_str);
    let parent = traceparent.and_then(|text| text.parse::<Traceparent>().ok());
    let context = parent.map_or_else(Traceparent::new_trace, Traceparent::child);
    let parent_id = parent.map(Traceparent::span_id);
    let span = info_span!(
        "handle",
        topic = %message.topic(),
        attempts = message.attempts(),
        trace_id = context.trace_id(),
        span_id = context.span_id(),
        parent_id,
    );
    Ok(Traced {
        payload,
        context,
        span,
    })
}
// end handle
