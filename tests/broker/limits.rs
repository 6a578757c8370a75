//! The operating system has no more to give, or nsqd's operator tidies up: publishes wait, or are taken, as they can be.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use actix_nsq::{ConnectionError, Delivery, ErrorKind, Publish};
use rustix::process::{Resource, getrlimit, setrlimit};

use super::load::{TOPIC, config, producer, publish, start, topic};
use super::recorded::{RecordedLoad, Waits, of_many_sizes, stats_once};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};
use crate::support::our_process::thread_cpu_time;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        without_a_descriptor_to_be_had_publishes_wait_and_nothing_spins
            .only(
                Kind::Real,
                "the embedded one needs descriptors of this same process"
            )
            .alone(),
        a_topic_paused_and_emptied_under_load_takes_every_publish
            .only(Kind::Real, "the embedded nsqd pauses and empties no topics"),
    ]
}

/// fault: P30
async fn without_a_descriptor_to_be_had_publishes_wait_and_nothing_spins(broker: Broker) {
    let config = config(&broker).await;
    let (cpu, patience) = (thread_cpu_time(), Duration::from_secs(2));
    let before = getrlimit(Resource::Nofile);
    let mut none = before;
    // The next one to be given out is the lowest that is free.
    let next = File::open("/dev/null").expect("so far there are some");
    none.current = Some(next.as_raw_fd().try_into().expect("it is positive"));
    drop(next);
    setrlimit(Resource::Nofile, none).expect("a limit may be lowered");

    let producer = start(config.max_reconnect_backoff(Duration::from_millis(50)));
    let waits = Waits::of(&producer).await;
    let hasty = Publish::new(topic(TOPIC), "hasty").expires_in(patience);
    let error = producer.send(hasty).await.unwrap().unwrap_err();
    let waited = producer.send(Publish::new(topic(TOPIC), "patient"));
    setrlimit(Resource::Nofile, before).expect("and raised again up to its maximum");
    let cpu = thread_cpu_time() - cpu;

    assert_eq!(
        (error.kind(), error.delivery()),
        (ErrorKind::Timeout, Delivery::NotWritten)
    );
    let Some(ConnectionError::Dial { source, .. }) = error.connection_error() else {
        panic!("{error}");
    };
    let too_many = rustix::io::Errno::MFILE.raw_os_error();
    assert_eq!(source.raw_os_error(), Some(too_many), "{error}");
    assert!(waits.count() >= 10, "it has tried again and again");
    assert!(cpu < patience / 8, "{cpu:?} of work in {patience:?}");
    waited.await.unwrap().unwrap();
    assert_eq!(broker.bodies(TOPIC, 1).await, [b"patient"]);
}

/// fault: P24
async fn a_topic_paused_and_emptied_under_load_takes_every_publish(broker: Broker) {
    let producer = producer(&broker).await;
    let mut load = RecordedLoad::start(&producer, 64, TOPIC, of_many_sizes);
    for _ in 0..5 {
        load.until_more_ok(200).await;
        let nsqd = broker.real();
        let tidy_up = nsqd.with_nsqd(|nsqd| {
            let topics = [0, 1, 2].map(|number| format!("{TOPIC}_{number}"));
            for paused in [true, false] {
                for topic in &topics {
                    nsqd.pause_topic(topic, paused)?;
                    nsqd.empty_topic(topic)?;
                }
            }
            std::io::Result::Ok(())
        });
        tidy_up.await.unwrap();
    }
    load.until_more_ok(200).await;
    load.cease().await;
    assert_eq!(load.errors().len(), 0, "{:?}", load.errors().first());
    let stats = stats_once(&producer, "all is answered", |stats| stats.in_flight == 0).await;
    assert_eq!((stats.connects, stats.disconnects), (1, 0));
    // And what comes after the last time is there.
    publish(&producer, "after all").await.unwrap();
    assert_eq!(broker.bodies(TOPIC, 1).await, [b"after all"]);
}
