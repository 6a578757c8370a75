//! Many producers lose their nsqd at once. Their attempts are spread over each delay.
//!
//! 1,000 producers, or 10,000 with `FULL=1`. `STORM_SEED` repeats a run.

use std::time::Duration;

use tokio::time::Instant;

use crate::harness::{Dial, Network, in_virtual_time, ms, publish, s};
use crate::support::{
    full,
    our_process::{peak_kb, resident_kb, thread_cpu_time},
    spread::most_within,
};

/// fault: P29
#[test]
fn producers_reconnect_spread_over_each_delay() {
    let count: usize = if full() { 10_000 } else { 1_000 };
    let seed = std::env::var("STORM_SEED").map_or(Ok(1), |seed| seed.parse());
    let seed = seed.expect("STORM_SEED is a number");
    eprintln!("STORM_SEED={seed}");
    // In virtual time all producers run on this thread, and share its generator.
    fastrand::seed(seed);
    let (time, memory) = (thread_cpu_time(), resident_kb());
    in_virtual_time(async |mut network: Network| {
        let start = |_| {
            network.start_with(|config| {
                // A dial may hang until all producers have dialled.
                let config = config.dial_timeout(s(300));
                config.max_reconnect_backoff(ms(800))
            })
        };
        let producers: Vec<_> = (0..count).map(start).collect();
        let mut nsqds = Vec::new();
        for _ in 0..count {
            nsqds.push(network.connected().await);
        }
        drop(nsqds);
        for longest in [100, 200, 400, 800, 800].map(ms) {
            let began = Instant::now();
            let (mut dials, mut delays) = (Vec::new(), Vec::new());
            for _ in 0..count {
                let dial = network.dial().await;
                delays.push(dial.at - began);
                dials.push(dial);
            }
            delays.sort();
            let (first, last) = (delays[0], delays[count - 1]);
            assert!(last <= longest + ms(1), "{last:?} of {longest:?}");
            assert!(last > longest.mul_f64(0.98), "{last:?} of {longest:?}");
            assert!(first < longest.mul_f64(0.02), "{first:?} of {longest:?}");
            let mean = delays.iter().sum::<Duration>() / count as u32;
            let share = mean.div_duration_f64(longest);
            assert!((0.47..0.54).contains(&share), "{mean:?} of {longest:?}");
            let most = most_within(longest / 10, &delays);
            assert!(most <= count / 5, "{most} in a tenth of {longest:?}");
            // All are refused at the same time, which is the worst case.
            dials.into_iter().for_each(Dial::refuse);
        }
        let answers: Vec<_> = producers
            .iter()
            .map(|producer| publish(producer, "a"))
            .collect();
        let mut nsqds = Vec::new();
        for _ in 0..count {
            let mut nsqd = network.connected().await;
            nsqd.confirm("a").await;
            nsqds.push(nsqd);
        }
        for answer in answers {
            answer.await.unwrap();
        }
    });
    let (time, memory) = (thread_cpu_time() - time, peak_kb() - memory);
    assert!(time < s(60), "{time:?} of processor time");
    // Includes the peers and their transcripts, and other tests of this process.
    assert!(memory < 1 << 20, "{memory} kB for {count} producers");
}
