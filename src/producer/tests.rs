//! The producer beside other tasks of its arbiter: what one poll of it visits.

use std::{collections::HashMap, time::Duration};

use actix::{Addr, Context, Handler, Message};
use futures::future::join_all;

use super::{Drain, GetStats, Producer, Publish};
use crate::{Delivery, ErrorKind, ProducerConfig, embedded::EmbeddedNsqd, link::WaitConnected};

/// Asks for the most publishes that one poll has visited.
#[derive(Message)]
#[rtype(result = "usize")]
struct MostVisited;

impl Handler<MostVisited> for Producer {
    type Result = usize;

    fn handle(&mut self, _: MostVisited, _: &mut Context<Self>) -> usize {
        self.shared.queue.borrow().most_visited()
    }
}

const MANY: usize = 15_000;

/// What happens to many publishes in flight.
#[derive(Debug, Clone, Copy)]
enum Event {
    Responses,
    LostConnection,
    Timeout,
    Drain,
}

fn start(nsqd: &EmbeddedNsqd) -> Addr<Producer> {
    let config = ProducerConfig::builder(nsqd.address().to_string());
    // It is not nsqd that is slow here.
    let config = config
        .publish_timeout(Duration::from_secs(600))
        .ack_timeout(Duration::from_secs(300));
    let config = config.auto_batch(false);
    Producer::start(config.build().unwrap())
}

async fn happen(event: Event, producer: &Addr<Producer>, nsqd: &EmbeddedNsqd) {
    match event {
        Event::Responses => nsqd.faults().stall(false),
        Event::LostConnection => {
            nsqd.faults().close_connections();
            nsqd.faults().stall(false);
        }
        // The publishes bring it along.
        Event::Timeout => {}
        Event::Drain => {
            let drain = Drain::new(Duration::ZERO);
            producer.send(drain).await.unwrap();
        }
    }
}

/// contract: 1, 3
#[actix::test]
async fn poll_visits_a_bounded_number_of_publishes() {
    let minutes = Duration::from_secs(600);
    let seconds = Duration::from_secs(2);
    let maybe_written = |kind| Err((kind, Delivery::MaybeWritten));
    let not_written = |kind| Err((kind, Delivery::NotWritten));
    let (lost, timeout, drained) = (
        ErrorKind::ConnectionLost,
        ErrorKind::Timeout,
        ErrorKind::Drained,
    );
    // The results of what is in flight, and of what is queued.
    for (event, expires_in, of_in_flight, of_queued) in [
        (Event::Responses, minutes, Ok(()), Ok(())),
        (Event::LostConnection, minutes, maybe_written(lost), Ok(())),
        (
            Event::Timeout,
            seconds,
            maybe_written(timeout),
            not_written(timeout),
        ),
        (
            Event::Drain,
            minutes,
            maybe_written(drained),
            not_written(drained),
        ),
    ] {
        let nsqd = EmbeddedNsqd::start().unwrap();
        let producer = start(&nsqd);
        let connected = producer.send(WaitConnected::new(minutes)).await;
        connected.unwrap().unwrap();
        nsqd.faults().stall(true);
        let publish = |number: usize| {
            let publish = Publish::new("t", number.to_string());
            producer.send(publish.expires_in(expires_in))
        };
        let answers = actix::spawn(join_all((0..MANY).map(publish)));
        // The last ones wait to be written together with others.
        let mut before = (0, 0);
        let (in_flight, queued) = loop {
            let stats = producer.send(GetStats).await.unwrap();
            let now = (stats.in_flight, stats.queued);
            let arrived = nsqd.command_count("PUB") == stats.in_flight as u64;
            if arrived && now.0 + now.1 == MANY && now == before {
                break now;
            }
            before = now;
        };
        assert!(in_flight > MANY / 2, "{in_flight}");
        happen(event, &producer, &nsqd).await;
        let mut results = HashMap::new();
        for answer in answers.await.unwrap() {
            let result = answer.unwrap();
            let result = result.map_err(|error| (error.kind(), error.delivery()));
            *results.entry(result).or_insert(0) += 1;
        }
        let mut expected = HashMap::from([(of_in_flight, in_flight)]);
        *expected.entry(of_queued).or_insert(0) += queued;
        assert_eq!(results, expected, "{event:?}");
        let most = producer.send(MostVisited).await.unwrap();
        assert!((2_048..=4_096).contains(&most), "{event:?}: {most}");
    }
}
