//! Memory and CPU time of topics and of publishes without a result.

use std::io;
use std::time::Duration;

use actix_nsq::actix::dev::Request;
use actix_nsq::actix::{Addr, System, SystemRunner};
use actix_nsq::producer::GetStats;
use actix_nsq::{Producer, ProducerConfig, ProducerConfigBuilder, Publish, Topic};

use crate::measure::{self, Figure, HOUR, answers, counts, cpu_micros, grown};
use crate::support::our_process::process_cpu_time;
use crate::support::real_nsqd::Port;

/// Publishes that are sent to the actor together, so that its mailbox stays small.
const BURST: usize = 1_000;

/// Time for which a producer with many pending publishes is watched.
const IDLE: Duration = Duration::from_secs(2);

fn topics_named(prefix: &str, count: usize) -> Vec<Topic> {
    let name = |number| Topic::new(format!("{prefix}_{number}")).unwrap();
    (0..count).map(name).collect()
}

/// Publishes once to each topic, to all at the same time.
async fn publish_to_each(producer: &Addr<Producer>, topics: &[Topic]) {
    let publish = |topic| producer.send(Publish::new(topic, "x"));
    for answer in answers(topics.iter().map(publish)).await {
        answer.unwrap().unwrap();
    }
}

pub fn topics() -> io::Result<Vec<Figure>> {
    let (nsqd, [_, _, count, _]) = (measure::nsqd()?, counts());
    let config = || ProducerConfig::builder(nsqd.address()).publish_timeout(HOUR);
    let (first, topics) = (topics_named("first", count), topics_named("topic", count));
    let system = System::new();
    let used = |config: ProducerConfigBuilder, first: &[Topic]| {
        let config = config.build().unwrap();
        let producer = system.block_on(async { Producer::start(config) });
        system.block_on(publish_to_each(&producer, first));
        let [heap, _] = grown(|| system.block_on(publish_to_each(&producer, &topics)));
        (producer, heap / count as f64)
    };
    // Buffers grow first.
    let (producer, unused) = used(config(), &first);
    let (_, counted) = used(config().topic_stats(count), &[]);

    // All topics at the same time, and a tenth of them ten times as often.
    let cpu = |topics: &[Topic], rounds: usize| {
        let before = process_cpu_time();
        for _ in 0..rounds {
            system.block_on(publish_to_each(&producer, topics));
        }
        (process_cpu_time() - before).as_secs_f64()
    };
    let (fewer, all) = (cpu(&topics[..count / 10], 50), cpu(&topics, 5));
    let [in_use, _] = pending(&system, &topics, count).1;
    Ok(vec![
        ("topic used once", "heap, bytes", unused),
        ("topic used once, with topic_stats", "heap, bytes", counted),
        ("topic with a pending publish", "heap, bytes", in_use),
        ("topics", "CPU per publish, that of a tenth", all / fewer),
    ])
}

type Requests = Vec<Request<Producer, Publish>>;

/// A producer without a connection, with this many publishes; and the bytes of each publish.
fn pending(
    system: &SystemRunner,
    topics: &[Topic],
    count: usize,
) -> ((Addr<Producer>, Requests), [f64; 2]) {
    let nothing = Port::reserve().unwrap();
    let config = ProducerConfig::builder(nothing.address().to_string());
    let config = config.max_pending(count).publish_timeout(HOUR);
    let producer = system.block_on(async { Producer::start(config.build().unwrap()) });
    let mut requests = Vec::with_capacity(count);
    let mut topics = topics.iter().cycle();
    let grown = grown(|| {
        system.block_on(async {
            while requests.len() < count {
                let burst = BURST.min(count - requests.len());
                let publish = |topic| producer.send(Publish::new(topic, "x"));
                requests.extend(topics.by_ref().take(burst).map(publish));
                let stats = producer.send(GetStats).await.unwrap();
                assert_eq!(stats.queued, requests.len());
            }
        });
    });
    let each = grown.map(|bytes| bytes / count as f64);
    ((producer, requests), each)
}

pub fn publishes() -> io::Result<Vec<Figure>> {
    let [_, _, _, count] = counts();
    let system = System::new();
    let topics = topics_named("topic", 1);
    let ((_producer, _requests), [heap, resident]) = pending(&system, &topics, count);
    let cpu = system.block_on(cpu_micros(IDLE)) / IDLE.as_secs_f64();
    Ok(vec![
        ("pending publish", "heap, bytes", heap),
        ("pending publish", "resident, bytes", resident),
        ("pending publishes", "CPU per second, µs", cpu),
    ])
}
