//! The service as its clients see it, without a browser.

mod client;
mod http;
mod ledger;
mod page;

use std::time::Duration;

use actix_nsq::{PublishExt, embedded::EmbeddedNsqd};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::time::timeout;

use self::client::{PATIENCE, Stream, get, post, until};
use super::{
    broker::Broker,
    order::{Item, ORDERS, RESULTS},
    pipeline::Pipeline,
    service::Service,
    snapshot::QUIET,
};

const WORK: Duration = Duration::from_millis(20);

fn start() -> Service {
    let broker = Broker::embedded().unwrap();
    Service::start("127.0.0.1:0", broker, WORK).unwrap()
}

async fn publish(service: &Service, count: usize) {
    let address = service.addresses()[0];
    let order = json!({ "item": "tea", "quantity": 2 });
    let responses = join_all((0..count).map(|_| post(address, "/orders", &order))).await;
    for response in responses {
        assert_eq!(response.status, 202, "{response:?}");
    }
}

async fn stats(service: &Service) -> Value {
    get(service.addresses()[0], "/stats").await.json()
}

/// Waits until the statistics have these values, each named by a JSON pointer.
async fn until_stats(service: &Service, expected: &[(&str, Value)]) -> Value {
    let what = format!("{expected:?}");
    until(&what, async || {
        let stats = stats(service).await;
        let is_so = |(path, value): &(&str, Value)| stats.pointer(path) == Some(value);
        expected.iter().all(is_so).then_some(stats)
    })
    .await
}

async fn until_connected(service: &Service) {
    let up = ["0", "1", "2"].map(|index| format!("/connections/{index}/is_up"));
    let expected: Vec<_> = up.iter().map(|path| (path.as_str(), json!(true))).collect();
    until_stats(service, &expected).await;
}

#[actix::test]
async fn every_order_has_a_result_after_nsqd_was_killed() {
    let service = start();
    let address = service.addresses()[0];
    publish(&service, 30).await;
    let response = post(address, "/nsqd/kill", &json!({})).await;
    assert_eq!(response.status, 202, "{response:?}");
    until("the producer has noticed it", async || {
        let stats = stats(&service).await;
        stats["connections"][0]["last_error"].as_str().map(drop)
    })
    .await;

    // These requests wait for nsqd.
    publish(&service, 30).await;
    let expected = [("/orders/results", json!(60)), ("/nsqd/restarts", json!(1))];
    let stats = until_stats(&service, &expected).await;
    assert_eq!(stats["orders"]["published"], 60, "{stats}");
    assert_eq!(stats["orders"]["handled"], 60, "{stats}");
    assert_eq!(stats["in_flight"], 0, "{stats}");
    assert_eq!(stats["lost"], 0, "{stats}");
    let retried = stats["orders"]["retried"].as_u64().unwrap();
    assert!(retried >= 12, "every fifth order fails once: {stats}");
    let results = get(address, "/results").await.json();
    assert_eq!(results.as_array().unwrap().len(), 20, "{results}");
    service.stop().await.unwrap();
}

#[actix::test]
async fn graceful_stop_ends_open_event_streams() {
    let service = start();
    let address = service.addresses()[0];
    let mut reading = Stream::open(address).await;
    let event = reading.event().await;
    assert_eq!(event["orders"]["published"], 0, "{event}");
    // This one never reads.
    let silent = Stream::open(address).await;
    reading.event().await;
    reading.event().await;
    publish(&service, 20).await;

    let stopped = timeout(PATIENCE, service.stop()).await;
    let stopped = stopped.expect("the stop ends").unwrap().to_string();
    // nsqd ends with this process, so the stop waits for the results.
    assert!(stopped.contains("20 published, 20 results"), "{stopped}");
    reading.end().await;
    silent.end().await;
}

#[actix::test]
async fn graceful_stop_while_nsqd_is_down_waits_for_the_results() {
    let service = start();
    publish(&service, 20).await;
    let address = service.addresses()[0];
    let response = post(address, "/nsqd/kill", &json!({})).await;
    assert_eq!(response.status, 202, "{response:?}");
    let stopped = service.stop().await.unwrap().to_string();
    assert!(stopped.contains("20 published, 20 results"), "{stopped}");
}

#[actix::test]
async fn disconnected_page_is_forgotten() {
    let service = start();
    let address = service.addresses()[0];
    let pages = [Stream::open(address).await, Stream::open(address).await];
    until_stats(&service, &[("/viewers", json!(2))]).await;
    let [closed, mut open] = pages;
    drop(closed);
    until_stats(&service, &[("/viewers", json!(1))]).await;
    open.event().await;
    service.stop().await.unwrap();
}

#[actix::test]
async fn order_that_nsqd_does_not_hold_any_more_is_lost() {
    let service = start();
    until_connected(&service).await;
    let nsqd = service.pipeline().broker.nsqd().unwrap();
    assert!(nsqd.pause_channel(ORDERS.0, ORDERS.1));
    publish(&service, 3).await;
    let expected = [("/in_flight", json!(3)), ("/lost", json!(0))];
    until_stats(&service, &expected).await;
    assert!(nsqd.empty_channel(ORDERS.0, ORDERS.1));
    let expected = [("/in_flight", json!(0)), ("/lost", json!(3))];
    until_stats(&service, &expected).await;
}

/// A real nsqd cannot be asked what it holds. An external embedded one is not asked.
#[actix::test]
async fn order_without_a_delivery_for_the_quiet_time_is_lost() {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let broker = Broker::external(nsqd.address().to_string());
    let service = Service::start("127.0.0.1:0", broker, WORK).unwrap();
    until_connected(&service).await;
    let Pipeline {
        ledger, producer, ..
    } = service.pipeline();
    // A message of another program is discarded. It restarts the quiet time like an order.
    for (topic, body) in [(ORDERS.0, "no order"), (RESULTS.0, "no result")] {
        ledger.pass(QUIET * 2);
        producer.publish(topic, body).await.unwrap();
        until("nsqd holds no such message", async || {
            let topic = nsqd.topic(topic)?;
            let mut channels = topic.channels.iter();
            let is_empty = channels.all(|channel| {
                channel.depth + channel.in_flight_count + channel.deferred_count == 0
            });
            (topic.depth == 0 && is_empty).then_some(())
        })
        .await;
        let quiet = ledger.quiet_for();
        assert!(quiet < QUIET, "{quiet:?}");
    }

    assert!(nsqd.pause_channel(ORDERS.0, ORDERS.1));
    publish(&service, 3).await;
    let expected = [("/in_flight", json!(3)), ("/lost", json!(0))];
    until_stats(&service, &expected).await;
    assert!(nsqd.empty_channel(ORDERS.0, ORDERS.1));
    ledger.pass(QUIET);
    let expected = [("/in_flight", json!(0)), ("/lost", json!(3))];
    until_stats(&service, &expected).await;
}

#[actix::test]
async fn invalid_order_is_rejected_before_it_is_published() {
    let service = start();
    let address = service.addresses()[0];
    for (order, problem) in [
        (json!({ "item": " ", "quantity": 1 }), "item of 1 bytes"),
        (
            json!({ "item": "x".repeat(61), "quantity": 1 }),
            "item of 61 bytes",
        ),
        (json!({ "item": "tea", "quantity": 0 }), "quantity 0"),
    ] {
        let response = post(address, "/orders", &order).await;
        assert_eq!(response.status, 400, "{response:?}");
        let error = response.json()["error"].clone();
        assert!(error.as_str().unwrap().contains(problem), "{error}");
    }
    assert_eq!(post(address, "/orders", &json!({})).await.status, 400);
    assert_eq!(stats(&service).await["orders"]["published"], 0);
}

#[actix::test]
async fn request_ends_with_503_while_nsqd_is_unreachable() {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let broker = Broker::external(nsqd.address().to_string());
    nsqd.stop();
    let service = Service::start("127.0.0.1:0", broker, WORK).unwrap();
    let address = service.addresses()[0];
    let order = json!({ "item": "tea", "quantity": 2 });
    let response = post(address, "/orders", &order).await;
    assert_eq!(response.status, 503, "{response:?}");
    assert_eq!(response.header("retry-after"), Some("1"), "{response:?}");
    let stats = stats(&service).await;
    assert_eq!(stats["orders"]["rejected"], 1, "{stats}");
    assert_eq!(stats["connections"][0]["is_up"], false, "{stats}");
    assert!(stats["connections"][0]["last_error"].is_string(), "{stats}");
    assert_eq!(post(address, "/nsqd/kill", &json!({})).await.status, 409);
}

#[test]
fn nsqd_that_is_down_cannot_be_killed() {
    let broker = Broker::embedded().unwrap();
    assert_eq!(broker.info().kill_problem, None);
    broker.kill().unwrap();
    let problem = broker.kill().unwrap_err().to_string();
    assert_eq!(problem, "nsqd is down already; it is being restarted");
    assert_eq!(broker.info().kill_problem, Some(problem));
}

#[test]
fn order_of_the_longest_item_is_valid() {
    let item = "x".repeat(60);
    let item = Item { item, quantity: 1 };
    assert_eq!(item.problem(), None);
}
