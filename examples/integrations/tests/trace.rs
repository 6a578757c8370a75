//! Events and spans of a publish and its handler.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    io::{self, Write},
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_nsq::{
    ConsumerConfig, ConsumerHandle, Producer, ProducerConfig, PublishExt, Subscription, Topic,
    embedded::EmbeddedNsqd,
};
use integrations::{
    trace::{self, Traced},
    traceparent::Traceparent,
};
use tracing::Instrument;

#[path = "../../../tests/support/wait.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod wait;

const ORDERS: Topic = Topic::from_static("orders");
const TIMEOUT: Duration = Duration::from_secs(10);

/// What the subscriber has written.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    /// Returns the first line that contains all these texts.
    fn line(&self, texts: &[&str]) -> Option<String> {
        let output = self.0.lock().unwrap();
        let output = String::from_utf8_lossy(&output);
        let mut lines = output.lines();
        let line = lines.find(|line| texts.iter().all(|text| line.contains(text)));
        line.map(str::to_owned)
    }
}

/// A message that is requeued indefinitely would keep the program running.
#[test]
fn program_moves_an_order_without_an_envelope() {
    let mut program = Command::new(env!("CARGO_BIN_EXE_trace"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let ended = wait::poll(wait::PATIENCE, || program.try_wait().unwrap());
    if ended.is_none() {
        program.kill().unwrap();
    }
    let output = program.wait_with_output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout);
    assert!(ended.is_some_and(|status| status.success()), "{output}");
    let moved = "order without an envelope, moved to dead_orders";
    assert_eq!(output.matches(moved).count(), 1, "{output}");
    assert_eq!(output.matches("order billed").count(), 2, "{output}");
}

/// The subscriber is that of the process, so no other test of this file has one.
#[actix::test]
async fn publish_handler_and_log_records_are_traced() {
    let output = Output::default();
    let writer = output.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let nsqd = EmbeddedNsqd::start().unwrap();
    let address = nsqd.address().to_string();
    let producer = Producer::start(ProducerConfig::new(&address).unwrap());
    let config = ConsumerConfig::builder(address).build().unwrap();
    let subscription = Subscription::new("orders", "billing").unwrap();
    let (_consumer, mut messages) = ConsumerHandle::start(config, subscription);

    let root = Traceparent::new_trace();
    trace::publish(&producer, &ORDERS, "tea", Some(root))
        .await
        .unwrap();
    let message = tokio::time::timeout(TIMEOUT, messages.next())
        .await
        .unwrap()
        .unwrap();
    let Traced {
        payload,
        context,
        span,
    } = trace::traced::<String>(&message).unwrap();
    assert_eq!(
        (payload.as_str(), context.trace_id()),
        ("tea", root.trace_id())
    );
    async { tracing::info!("handled") }.instrument(span).await;
    message.finish().unwrap();

    let published = output.line(&["INFO publish{", "published"]).unwrap();
    let handled = output.line(&["INFO handle{", "handled"]).unwrap();
    let trace_id = format!("trace_id=\"{}\"", root.trace_id());
    assert!(published.contains(&trace_id), "{published}");
    assert!(handled.contains(&trace_id), "{handled}");
    // The span of the publish is the parent of the handler's span.
    let (_, id) = published.split_once(" span_id=\"").unwrap();
    let parent = format!("parent_id=\"{}\"", &id[..16]);
    assert!(handled.contains(&parent), "{published}\n{handled}");

    // An invalid context begins a new trace; the message itself is valid.
    for invalid in [
        "",
        r#""traceparent":null,"#,
        r#""traceparent":"00-0-0-0","#,
        r#""traceparent":17,"#,
        r#""traceparent":true,"#,
        r#""traceparent":["00"],"#,
        r#""traceparent":{"version":0},"#,
    ] {
        let body = format!(r#"{{{invalid}"payload":"coffee"}}"#);
        producer.publish(&ORDERS, body).await.unwrap();
        let message = tokio::time::timeout(TIMEOUT, messages.next())
            .await
            .unwrap()
            .unwrap();
        let traced = trace::traced::<String>(&message).expect(invalid);
        assert_eq!(traced.payload, "coffee");
        assert_ne!(traced.context.trace_id(), root.trace_id());
        message.finish().unwrap();
    }

    // A log record of the crate.
    nsqd.stop();
    let warns = || {
        output
            .line(&["WARN", "actix_nsq", "connection lost"])
            .is_some()
    };
    wait::until("the crate logs the lost connection", warns).await;
}
