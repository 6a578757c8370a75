//! Dialling again: at once, later, spread, and for ever.

mod disconnect;
mod on_demand;
mod storm;

use std::time::Duration;

use actix_nsq::{Delivery, ErrorKind};
use tokio::time::{Instant, sleep};

use crate::harness::{HOUR, Network, assert_error, in_virtual_time, ms, publish, s, timed};
use crate::support::spoken::ok_frame;

/// The most that the delay before attempt `n` (from 0) may be, with a millisecond for the timer.
fn ceiling(n: u32) -> Duration {
    s(5).min(ms(100) * 2_u32.pow(n.min(10))) + ms(1)
}

/// The delays between the end of each connection and the next dial, when each goes as `life` has it.
async fn delays(
    network: &mut Network,
    count: usize,
    mut life: impl AsyncFnMut(&mut Network),
) -> Vec<Duration> {
    let mut delays = Vec::new();
    life(network).await;
    for _ in 0..count {
        let ended = Instant::now();
        let dial = network.peek_dial().await;
        delays.push(dial - ended);
        life(network).await;
    }
    delays
}

async fn refuse(network: &mut Network) {
    network.dial().await.refuse();
}

async fn accept_and_close(network: &mut Network) {
    drop(network.accept().await);
}

async fn greet_and_close(network: &mut Network) {
    drop(network.connected().await);
}

async fn live_a_second_and_close(network: &mut Network) {
    let nsqd = network.connected().await;
    sleep(s(1)).await;
    drop(nsqd);
}

async fn live_a_moment_less_and_close(network: &mut Network) {
    let nsqd = network.connected().await;
    sleep(ms(990)).await;
    drop(nsqd);
}

/// checklist: 18, 19, 37
#[test]
fn the_first_connect_may_fail_like_any_other() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        for _ in 0..4 {
            refuse(&mut network).await;
        }
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// fault: P1
/// checklist: 18, 19, 37
#[test]
fn delays_grow_and_stay_within_their_bounds() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let delays = delays(&mut network, 50, refuse).await;
        for (attempt, delay) in delays.iter().enumerate() {
            let most = ceiling(attempt.try_into().unwrap());
            assert!(*delay <= most, "attempt {attempt} after {delay:?}");
        }
    });
}

/// fault: P1
/// checklist: 18, 19, 37
#[test]
fn delays_are_spread_over_the_whole_range() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let mut delays = delays(&mut network, 500, refuse).await;
        delays.drain(..10);
        delays.sort();
        // Each tenth of 490 even draws below 5 s has about 49; 15 are five deviations away.
        for tenth in 0..10 {
            let range = ms(500) * tenth..ms(500) * (tenth + 1);
            let count = delays.iter().filter(|delay| range.contains(*delay)).count();
            assert!(count > 15, "{count} delays in {range:?}");
        }
    });
}

/// checklist: 18, 19, 37
#[test]
fn the_cap_and_the_first_delay_can_be_set() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start_with(|config| {
            config
                .reconnect_backoff(ms(10))
                .max_reconnect_backoff(ms(40))
        });
        let delays = delays(&mut network, 200, refuse).await;
        assert!(delays[0] <= ms(11) && delays[1] <= ms(21), "{delays:?}");
        let longest = delays.iter().max().unwrap();
        assert!(*longest > ms(30) && *longest <= ms(41), "{longest:?}");
    });
}

/// fault: P1
/// checklist: 18, 19, 37
#[test]
fn a_server_that_accepts_and_closes_is_dialled_ever_more_slowly() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let delays = delays(&mut network, 40, accept_and_close).await;
        assert!(*delays.iter().max().unwrap() > s(2), "{delays:?}");
    });
}

/// fault: P1
/// checklist: 18, 19, 37
#[test]
fn a_server_that_greets_and_closes_is_dialled_ever_more_slowly() {
    for life in [false, true] {
        in_virtual_time(async |mut network: Network| {
            let _producer = network.start();
            let delays = if life {
                delays(&mut network, 40, live_a_moment_less_and_close).await
            } else {
                delays(&mut network, 40, greet_and_close).await
            };
            assert!(*delays.iter().max().unwrap() > s(2), "{delays:?}");
        });
    }
}

/// checklist: 18, 19, 37
#[test]
fn after_a_life_of_a_second_the_delays_start_over() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        for _ in 0..10 {
            refuse(&mut network).await;
        }
        let delays = delays(&mut network, 40, live_a_second_and_close).await;
        assert!(
            delays.iter().all(|delay| *delay <= ceiling(0)),
            "{delays:?}"
        );
    });
}

/// checklist: 18, 19, 37
#[test]
fn after_an_ok_a_life_as_long_as_the_first_delay_will_do_and_a_shorter_one_will_not() {
    for (life, starts_over) in [(ms(101), true), (ms(90), false)] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let served_and_closed = async |network: &mut Network| {
                let publish = publish(&producer, "a");
                let mut nsqd = network.connected().await;
                nsqd.expect_pub("t", "a").await;
                nsqd.send(ok_frame()).await;
                publish.await.unwrap();
                sleep(life).await;
                drop(nsqd);
            };
            let delays = delays(&mut network, 40, served_and_closed).await;
            let all_short = delays.iter().all(|delay| *delay <= ceiling(0));
            assert_eq!(all_short, starts_over, "{life:?}: {delays:?}");
        });
    }
}

/// checklist: 18, 19, 37
#[test]
fn by_default_the_producer_connects_at_its_start() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let (after, _nsqd) = timed(network.connected()).await;
        assert_eq!(after, s(0));
    });
}

/// checklist: 18, 19, 37
#[test]
fn it_can_wait_for_the_first_publish_instead() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        network.expect_no_dial(HOUR).await;
        let publish = publish(&producer, "a");
        let (after, mut nsqd) = timed(network.connected()).await;
        assert_eq!(after, s(0));
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
        // From then on it keeps its connection like any other.
        drop(nsqd);
        network.connected().await;
    });
}

/// fault: A7, P1
/// checklist: 18, 19, 37
#[test]
fn an_outage_of_16_minutes_is_survived() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        drop(network.connected().await);
        let mut during = publish(&producer, "during");
        let mut failed = 0;
        while network.elapsed() < s(16 * 60) {
            tokio::select! {
                answer = &mut during => {
                    assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
                    failed += 1;
                    during = publish(&producer, "during");
                }
                dial = network.dial() => dial.refuse(),
            }
        }
        assert_eq!(failed, 16 * 60 / 30);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "during").await;
        nsqd.send(ok_frame()).await;
        during.await.unwrap();
    });
}

/// checklist: 18, 19, 37
#[test]
fn publishes_around_a_restart_of_nsqd_need_no_help() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let before = publish(&producer, "before");
        nsqd.expect_pub("t", "before").await;
        nsqd.send(ok_frame()).await;
        before.await.unwrap();
        nsqd.fin().await;
        let during = publish(&producer, "during");
        refuse(&mut network).await;
        let mut nsqd = network.connected().await;
        // In memory the client reads the end before it could write.
        nsqd.expect_pub("t", "during").await;
        nsqd.send(ok_frame()).await;
        during.await.unwrap();
    });
}

/// checklist: 18, 19, 22, 37, 111, 112
#[test]
fn a_thousand_connections_leave_nothing_behind() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        for number in 0..1000 {
            let mut nsqd = network.connected().await;
            assert_eq!(network.open_connections(), 1, "after {number} connections");
            if number % 2 == 0 {
                let publish = publish(&producer, "a");
                nsqd.expect_pub("t", "a").await;
                nsqd.send(ok_frame()).await;
                publish.await.unwrap();
            }
        }
        // What is left of them would keep the test from ending, see `in_virtual_time`.
    });
}

/// fault: P29
/// checklist: 18, 19, 37
#[test]
fn a_thousand_producers_come_back_spread_over_the_time() {
    in_virtual_time(async |mut network: Network| {
        let producers: Vec<_> = (0..1000).map(|_| network.start()).collect();
        let mut nsqds = Vec::new();
        for _ in &producers {
            nsqds.push(network.connected().await);
        }
        let restarted = Instant::now();
        drop(nsqds);
        let (mut tenths, mut dials) = ([0; 10], Vec::new());
        for _ in &producers {
            let dial = network.dial().await;
            tenths[((dial.at - restarted).as_millis() / 10).min(9) as usize] += 1;
            // Left hanging, so that each producer counts once.
            dials.push(dial);
        }
        // An even spread has about 100 in each.
        assert!(
            tenths.iter().all(|count| (50..200).contains(count)),
            "{tenths:?}"
        );
    });
}
