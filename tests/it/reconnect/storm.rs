//! Ten thousand producers lose their nsqd at once, and come back spread over the time: at the first attempt, at each later
//! one, and when nsqd returns from an outage.
//!
//! The delays are drawn from a seed, `STORM_SEED`, so that what fails once fails again.

use std::time::Duration;

use actix::Addr;
use actix_nsq::{Producer, ProducerConfigBuilder};
use tokio::{
    task::spawn_local,
    time::{Instant, timeout_at},
};

use crate::harness::{Dial, Network, in_virtual_time, ms, publish, s};
use crate::support::our_process::{peak_kb, resident_kb, thread_cpu_time};
use crate::support::spoken::ok_frame;

const PRODUCERS: usize = 10_000;

fn storm(test: impl AsyncFnOnce(Network)) {
    let seed = std::env::var("STORM_SEED").map_or(Ok(1), |seed| seed.parse());
    let seed = seed.expect("STORM_SEED is a number");
    eprintln!("STORM_SEED={seed}");
    // In virtual time all runs on this thread, and draws from its generator.
    fastrand::seed(seed);
    let before = (thread_cpu_time(), resident_kb());
    in_virtual_time(test);
    let took = thread_cpu_time() - before.0;
    let grown = peak_kb() - before.1;
    eprintln!("{took:?} of processor time, and at most {grown} kB");
    assert!(took < s(60), "it took {took:?} of processor time");
    // With peers and the record of what each said; other tests of this process may have their share.
    assert!(grown < 1 << 20, "{grown} kB for {PRODUCERS} producers");
}

/// Producers that are connected, and then lose their connections in one moment.
async fn lost_at_once(
    network: &mut Network,
    options: impl Fn(ProducerConfigBuilder) -> ProducerConfigBuilder,
) -> Vec<Addr<Producer>> {
    // A dial may hang until all have dialled.
    let start = |_| network.start_with(|config| options(config.dial_timeout(s(300))));
    let producers: Vec<_> = (0..PRODUCERS).map(start).collect();
    let mut nsqds = Vec::new();
    for _ in &producers {
        nsqds.push(network.connected().await);
    }
    drop(nsqds);
    producers
}

/// The most that come in any tenth of this time.
fn crowd(times: &[Duration], window: Duration) -> usize {
    let tenth = window / 10;
    let mut end = 0;
    let crowds = times.iter().enumerate().map(|(first, begin)| {
        while times.get(end).is_some_and(|time| *time < *begin + tenth) {
            end += 1;
        }
        end - first
    });
    crowds.max().unwrap_or(0)
}

#[test]
fn a_crowd_is_counted() {
    let times = [0, 5, 9, 10, 14, 99].map(ms);
    assert_eq!(crowd(&times, ms(100)), 4);
    assert_eq!(crowd(&times, ms(10)), 1);
    assert_eq!(crowd(&[ms(7); 3], ms(10)), 3);
}

/// fault: P29
#[test]
fn ten_thousand_producers_come_back_spread_at_the_first_attempt_and_at_each_later_one() {
    storm(async |mut network: Network| {
        let cap = |config: ProducerConfigBuilder| config.max_reconnect_backoff(ms(800));
        let _producers = lost_at_once(&mut network, cap).await;
        for ceiling in [100, 200, 400, 800, 800].map(ms) {
            let began = Instant::now();
            let (mut dials, mut delays) = (Vec::new(), Vec::new());
            for _ in 0..PRODUCERS {
                let dial = network.dial().await;
                delays.push(dial.at - began);
                dials.push(dial);
            }
            delays.sort();
            // One millisecond is the timer's.
            let (first, last) = (delays[0], delays[PRODUCERS - 1]);
            assert!(last <= ceiling + ms(1), "{last:?} of {ceiling:?}");
            assert!(last > ceiling.mul_f64(0.98), "{last:?} of {ceiling:?}");
            assert!(first < ceiling.mul_f64(0.02), "{first:?} of {ceiling:?}");
            let mean = delays.iter().sum::<Duration>() / PRODUCERS as u32;
            let share = mean.div_duration_f64(ceiling);
            assert!((0.48..0.53).contains(&share), "{mean:?} of {ceiling:?}");
            let most = crowd(&delays, ceiling);
            eprintln!("up to {ceiling:?}: on average {mean:?}, at most {most} in a tenth");
            assert!(most <= PRODUCERS / 5, "{most} in a tenth of {ceiling:?}");
            // Refused all in one moment, the worst that can be.
            dials.into_iter().for_each(Dial::refuse);
        }
    });
}

/// Whoever waits when nsqd returns waits at most the longest delay. Of even draws the shorter part is left over more often:
/// 19 of 100 producers come in the first tenth.
/// fault: P29
#[test]
fn ten_thousand_producers_return_spread_after_an_outage_and_what_waited_is_published() {
    storm(async |mut network: Network| {
        let producers = lost_at_once(&mut network, |config| config).await;
        let outage_ends = Instant::now() + s(20);
        let waiting: Vec<_> = producers
            .iter()
            .enumerate()
            .map(|(number, producer)| publish(producer, format!("{number}")))
            .collect();
        let mut refused = 0;
        while let Ok(dial) = timeout_at(outage_ends, network.dial()).await {
            dial.refuse();
            refused += 1;
        }
        eprintln!("{refused} attempts were refused in 20 s");
        // Each has at most ten attempts before the longest delay is reached, and then one each 2.5 s.
        assert!(refused < PRODUCERS * 18, "{refused} attempts");
        let mut returned = Vec::new();
        for _ in 0..PRODUCERS {
            let dial = network.dial().await;
            returned.push(dial.at - outage_ends);
            spawn_local(serve_one(dial));
        }
        returned.sort();
        assert!(*returned.last().unwrap() <= s(5) + ms(1));
        let most = crowd(&returned, s(5));
        eprintln!("at most {most} in a tenth");
        assert!(most <= PRODUCERS / 5, "{most} in a tenth");
        for answer in waiting {
            answer.await.unwrap();
        }
        network.expect_no_dial(s(30)).await;
    });
}

/// Answers one publish, and keeps the connection until the producer ends it.
async fn serve_one(dial: Dial) {
    let mut nsqd = dial.accept();
    nsqd.greet().await;
    nsqd.next_command().await;
    nsqd.send(ok_frame()).await;
    nsqd.wait_closed().await;
}
