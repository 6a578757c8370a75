//! The connection: what nsqd sees of the client, heartbeats, pings, and what prevents it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::bytes::Bytes;
use actix_nsq::{
    ConnectionError, Delivery, ErrorKind, Ping, Producer, ProducerConfig, Publish, PublishError,
};
use futures::future::join_all;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::event_log::EventLog;
use super::fixture::{
    LONG, TOPIC, assert_error, assert_stored, config, numbered, publish, publish_all, start, stats,
    topic,
};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};
use crate::support::our_process::thread_cpu_time;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        nsqd_shows_the_names_of_the_client,
        heartbeats_keep_an_idle_connection,
        large_messages_do_not_delay_heartbeats,
        producer_without_heartbeats_publishes,
        ping_is_answered_and_stores_nothing,
        http_port_of_nsqd_is_reported.only(Kind::Real, "the embedded nsqd has no HTTP port"),
        missing_file_descriptors_delay_publishes_without_spinning
            .only(
                Kind::Real,
                "the embedded nsqd needs descriptors of this process"
            )
            .in_own_process(),
    ]
}

const SECOND: Duration = Duration::from_secs(1);

/// checklist: 23
async fn nsqd_shows_the_names_of_the_client(broker: Broker) {
    let config = config(&broker)
        .await
        .client_id("client")
        .hostname("host.example.org");
    let producer = start(config.user_agent("agent/7"));
    publish(&producer, "hello").await.unwrap();
    let clients = broker.clients().await;
    assert_eq!(clients.len(), 1);
    assert_eq!(clients[0]["client_id"], "client");
    assert_eq!(clients[0]["hostname"], "host.example.org");
    assert_eq!(clients[0]["user_agent"], "agent/7");
}

/// nsqd closes a connection that was silent for two intervals.
/// checklist: 9
async fn heartbeats_keep_an_idle_connection(broker: Broker) {
    let producer = start(config(&broker).await.heartbeat_interval(SECOND));
    publish(&producer, numbered(0)).await.unwrap();
    tokio::time::sleep(3 * SECOND).await;
    publish(&producer, numbered(1)).await.unwrap();
    assert_stored(&broker, 0..2).await;
    assert_eq!(broker.handshakes().await, 1);
}

/// checklist: 9
async fn large_messages_do_not_delay_heartbeats(broker: Broker) {
    let producer = start(config(&broker).await.heartbeat_interval(SECOND));
    let body = Bytes::from(vec![b'x'; 1 << 20]);
    let (began, mut published) = (Instant::now(), 0);
    while began.elapsed() < 3 * SECOND {
        let sent = (0..8).map(|_| producer.send(Publish::new(topic("large"), body.clone())));
        for answer in join_all(sent).await {
            answer.unwrap().unwrap();
            published += 1;
        }
        if published % 64 == 0 {
            broker.delete_topic("large").await;
        }
    }
    assert_eq!(broker.handshakes().await, 1, "after {published} MiB");
}

/// checklist: 11
async fn producer_without_heartbeats_publishes(broker: Broker) {
    let producer = start(config(&broker).await.heartbeat_interval(None));
    publish_all(&producer, 0..100).await.assert_all_ok();
    assert_stored(&broker, 0..100).await;
    if broker.kind() == Kind::Embedded {
        assert_eq!(broker.clients().await[0]["heartbeat_interval"], -1);
    }
}

async fn ping(producer: &Addr<Producer>) -> Result<(), PublishError> {
    producer.send(Ping { timeout: LONG }).await?
}

/// checklist: 44
async fn ping_is_answered_and_stores_nothing(broker: Broker) {
    let producer = start(config(&broker).await.client_id("me").user_agent("test/1"));
    publish(&producer, numbered(0)).await.unwrap();
    let before = broker.clients().await;
    for _ in 0..10 {
        ping(&producer).await.unwrap();
    }
    let (pings, answers) = tokio::join!(
        join_all((0..10).map(|_| ping(&producer))),
        publish_all(&producer, 1..100)
    );
    pings.into_iter().for_each(Result::unwrap);
    answers.assert_all_ok();
    let after = broker.clients().await;
    for name in ["client_id", "hostname", "user_agent"] {
        assert_eq!(before[0][name], after[0][name], "{name}");
    }
    assert_stored(&broker, 0..100).await;
    assert_eq!(stats(&producer).await.connects, 1);
}

/// fault: P6
/// checklist: 13, 14, 15
async fn http_port_of_nsqd_is_reported(broker: Broker) {
    let http = broker.real().with_nsqd(|nsqd| nsqd.http_address()).await;
    let producer = start(ProducerConfig::builder(http));
    let message = Publish::new(topic(TOPIC), "hello").expires_in(SECOND / 2);
    let error = producer.send(message).await.unwrap().unwrap_err();
    assert_error(&error, ErrorKind::Timeout, Delivery::NotWritten);
    let reason = error.connection_error();
    assert!(
        matches!(reason, Some(ConnectionError::HttpServer)),
        "{error}"
    );
    assert!(error.to_string().contains("HTTP"), "{error}");
}

/// fault: P30
async fn missing_file_descriptors_delay_publishes_without_spinning(broker: Broker) {
    let config = config(&broker)
        .await
        .max_reconnect_backoff(Duration::from_millis(50));
    let (cpu_before, outage) = (thread_cpu_time(), 2 * SECOND);
    let limits = getrlimit(Resource::Nofile);
    let mut exhausted = limits;
    // A new descriptor is the lowest free one.
    let next = File::open("/dev/null").expect("a descriptor is available");
    exhausted.current = Some(next.as_raw_fd().try_into().expect("it is positive"));
    drop(next);
    setrlimit(Resource::Nofile, exhausted).expect("the limit can be lowered");

    let producer = start(config);
    let events = EventLog::of(&producer);
    let expiring = Publish::new(topic(TOPIC), "expires").expires_in(outage);
    let error = producer.send(expiring).await.unwrap().unwrap_err();
    let queued = producer.send(Publish::new(topic(TOPIC), "queued"));
    setrlimit(Resource::Nofile, limits).expect("the limit can be raised again");
    let cpu = thread_cpu_time() - cpu_before;

    assert_error(&error, ErrorKind::Timeout, Delivery::NotWritten);
    let Some(ConnectionError::Dial { source, .. }) = error.connection_error() else {
        panic!("{error}");
    };
    let too_many_files = rustix::io::Errno::MFILE.raw_os_error();
    assert_eq!(source.raw_os_error(), Some(too_many_files), "{error}");
    assert!(events.backoffs().len() >= 10, "{:?}", events.backoffs());
    assert!(cpu < outage / 8, "{cpu:?} of CPU time in {outage:?}");
    queued.await.unwrap().unwrap();
    assert_eq!(broker.bodies(TOPIC, 1).await, [b"queued"]);
}
