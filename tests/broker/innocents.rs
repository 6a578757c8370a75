//! Many callers share a producer, and one of them keeps publishing what nsqd refuses: the others are none the worse for it.

use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::protocol::ErrorCode;
use actix_nsq::{
    DeferredPublish, Delivery, ErrorKind, Producer, Publish, PublishError, producer::GetStats,
};

use super::load::{config, start, topic};
use super::recorded::{RecordedLoad, Waits};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind, Settings};

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        a_caller_whose_messages_nsqd_refuses_fails_alone_and_costs_nobody_a_backoff.with(small()),
        a_caller_whose_delays_nsqd_refuses_fails_alone_and_costs_nobody_a_backoff.with(small()),
        a_caller_whom_nsqd_refuses_amid_many_in_flight_makes_no_answer_untrue.with(small()),
        a_caller_whom_nsqd_refuses_amid_many_batches_makes_no_answer_untrue.with(small()),
    ]
}

/// It takes less than the producers think it does.
/// contract: 4
fn small() -> Settings {
    Settings {
        max_msg_size: 1_000,
        max_req_timeout: Duration::from_secs(1),
        ..Settings::default()
    }
}

const INNOCENTS: usize = 64;

/// Far less than a time-out, and than the backoff of those who must not wait one out.
const NO_BACKOFF: Duration = Duration::from_secs(3);
/// The wait after a refusal, which is none of the backoff.
const FLAT: Duration = Duration::from_millis(20);

fn small_ones(number: usize) -> usize {
    number % 97
}

/// nsqd's text names its limit, which is kept here from then on: all these messages together cost a connection or two.
/// contract: 4
/// fault: P25
async fn a_caller_whose_messages_nsqd_refuses_fails_alone_and_costs_nobody_a_backoff(
    broker: Broker,
) {
    let guilty = async |producer: &Addr<Producer>| {
        let message = Publish::new(topic("guilty"), vec![b'x'; 1_001]);
        producer.send(message).await?
    };
    let refused = ErrorKind::Rejected(ErrorCode::BadMessage);
    among_innocents(&broker, 1_000, guilty, refused, 1..=2).await;
}

/// No limit is taken from this text: each such message costs a connection, and nobody any time but that.
/// contract: 4
/// fault: P25
async fn a_caller_whose_delays_nsqd_refuses_fails_alone_and_costs_nobody_a_backoff(broker: Broker) {
    let refused = ErrorKind::Rejected(ErrorCode::Invalid);
    among_innocents(&broker, 50, delay_too_much, refused, 50..=50).await;
}

async fn delay_too_much(producer: &Addr<Producer>) -> Result<(), PublishError> {
    let delay = Duration::from_millis(1_001);
    let message = DeferredPublish::new(topic("guilty"), delay, "late");
    producer.send(message).await?
}

/// The guilty one sends so many messages, one after the other, and all of them cost so many connections.
///
/// With a window of 1 nothing is on its way behind a refusal, and so nsqd's end is no reset, in which its reason could be lost.
async fn among_innocents(
    broker: &Broker,
    times: usize,
    guilty: impl AsyncFn(&Addr<Producer>) -> Result<(), PublishError>,
    refused: ErrorKind,
    connections: std::ops::RangeInclusive<u64>,
) {
    // An innocent who waits one out is found by its latency.
    let backoff = Duration::from_secs(60);
    let config = config(broker).await.reconnect_backoff(backoff);
    let producer = start(config.max_reconnect_backoff(backoff).publish_window(1));
    let waits = Waits::of(&producer).await;
    let load = RecordedLoad::start(&producer, INNOCENTS, "innocents", small_ones);
    load.until_more_ok(INNOCENTS).await;
    for _ in 0..times {
        let error = guilty(&producer).await.expect_err("nsqd refuses it");
        assert_eq!(
            (error.kind(), error.delivery()),
            (refused, Delivery::NotWritten),
            "{error}"
        );
    }
    load.until_more_ok(INNOCENTS).await;
    let (longest, failed) = (load.longest(), load.errors().first().cloned());
    assert!(failed.is_none(), "an innocent was told {failed:?}");
    assert!(longest < NO_BACKOFF, "an innocent waited for {longest:?}");
    assert!(waits.longest() <= FLAT, "{:?}", waits.longest());
    let losses = producer.send(GetStats).await.unwrap().disconnects;
    assert!(connections.contains(&losses), "{losses} were lost");
    let verdict = load.judge(broker).await;
    verdict.assert_clean();
    assert_eq!(verdict.ok, verdict.offered, "{verdict}");
    assert_eq!(broker.message_count("guilty").await, 0);
}

/// With many on their way, more may have come to nsqd behind the guilty one than it reads. Its end is a reset then, and its
/// reason may be lost in it; nobody is told more than is known, and still nobody waits for long.
/// contract: 4
/// fault: P19
async fn a_caller_whom_nsqd_refuses_amid_many_in_flight_makes_no_answer_untrue(broker: Broker) {
    refused_amid_many(broker, false).await;
}

/// contract: 4
async fn a_caller_whom_nsqd_refuses_amid_many_batches_makes_no_answer_untrue(broker: Broker) {
    refused_amid_many(broker, true).await;
}

async fn refused_amid_many(broker: Broker, batching: bool) {
    let producer = start(config(&broker).await.auto_batch(batching));
    let load = RecordedLoad::start(&producer, INNOCENTS, "innocents", small_ones);
    load.until_more_ok(INNOCENTS).await;
    let mut refused = 0;
    for _ in 0..50 {
        let error = delay_too_much(&producer).await.expect_err("it is refused");
        let told = (error.kind(), error.delivery());
        let lost = (ErrorKind::ConnectionLost, Delivery::MaybeWritten);
        let known = (
            ErrorKind::Rejected(ErrorCode::Invalid),
            Delivery::NotWritten,
        );
        assert!(told == known || told == lost, "{error}");
        refused += u64::from(told == known);
    }
    load.until_more_ok(INNOCENTS).await;
    assert!(load.longest() < NO_BACKOFF, "{:?}", load.longest());
    let stats = producer.send(GetStats).await.unwrap();
    assert_eq!(stats.batches > 0, batching, "{stats:?}");
    let resets = stats.disconnects - refused;
    for error in load.errors().iter() {
        assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
        assert!(resets > 0, "with every reason heard: {error}");
    }
    if broker.kind() == Kind::Real {
        eprintln!("{resets} of 50 refusals were lost in a reset");
    }
    let verdict = load.judge(&broker).await;
    verdict.assert_clean();
    assert_eq!(verdict.not_written, 0, "{verdict}");
    assert_eq!(broker.message_count("guilty").await, 0);
}
