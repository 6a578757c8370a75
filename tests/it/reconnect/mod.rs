//! Reconnecting: when, after which delay, and for how long.

mod disconnect;
mod on_demand;
mod storm;

use std::time::Duration;

use tokio::time::sleep;

use crate::harness::{HOUR, Network, in_virtual_time, ms, never_sent, publish, s, timed};

/// The longest delay before attempt `n`, counted from 0, with a millisecond for the timer.
fn longest_delay(n: u32) -> Duration {
    s(5).min(ms(100) * 2_u32.pow(n.min(10))) + ms(1)
}

/// The delays between the end of each connection and the next dial.
async fn delays(
    network: &mut Network,
    count: usize,
    mut connection: impl AsyncFnMut(&mut Network),
) -> Vec<Duration> {
    let mut delays = Vec::new();
    for _ in 0..count {
        connection(network).await;
        let ended = network.elapsed();
        network.peek_dial().await;
        delays.push(network.elapsed() - ended);
    }
    delays
}

/// fault: P1
/// checklist: 18, 19
#[test]
fn delays_after_refused_dials_grow_to_their_maximum() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let refuse = async |network: &mut Network| network.dial().await.refuse();
        let delays = delays(&mut network, 50, refuse).await;
        for (attempt, delay) in (0..).zip(&delays) {
            assert!(
                *delay <= longest_delay(attempt),
                "attempt {attempt}: {delay:?}"
            );
        }
        assert!(delays.iter().any(|delay| *delay > s(2)), "{delays:?}");
        let answer = publish(&producer, "a");
        let mut nsqd = network.connected().await;
        nsqd.confirm("a").await;
        answer.await.unwrap();
    });
}

/// fault: P1
/// checklist: 19
#[test]
fn delays_start_over_after_a_connection_that_worked() {
    // The connection lasts this long after the handshake, or after an OK.
    for (served, lasts, starts_over) in [
        (false, s(0), false),
        (false, ms(990), false),
        (false, s(1), true),
        (true, ms(90), false),
        (true, ms(101), true),
    ] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let connection = async |network: &mut Network| {
                let answer = served.then(|| publish(&producer, "a"));
                let mut nsqd = network.connected().await;
                if let Some(answer) = answer {
                    nsqd.confirm("a").await;
                    answer.await.unwrap();
                }
                sleep(lasts).await;
            };
            let delays = delays(&mut network, 40, connection).await;
            let all_short = delays.iter().all(|delay| *delay <= longest_delay(0));
            assert_eq!(all_short, starts_over, "{served} {lasts:?}: {delays:?}");
        });
    }
}

/// fault: P1
/// checklist: 19
#[test]
fn delays_grow_if_the_server_closes_before_the_handshake() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let accept = async |network: &mut Network| drop(network.accept().await);
        let delays = delays(&mut network, 40, accept).await;
        assert!(delays.iter().any(|delay| *delay > s(2)), "{delays:?}");
    });
}

/// checklist: 18
#[test]
fn lazy_producer_connects_at_its_first_publish() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        network.expect_no_dial(HOUR).await;
        let answer = publish(&producer, "a");
        let (after, mut nsqd) = timed(network.connected()).await;
        assert_eq!(after, s(0));
        nsqd.confirm("a").await;
        answer.await.unwrap();
        // From then on it reconnects without a publish.
        drop(nsqd);
        network.connected().await;
    });
}

/// fault: A7, P1
/// checklist: 18, 37
#[test]
fn producer_reconnects_after_an_outage_of_16_minutes() {
    in_virtual_time(async |mut network: Network| {
        let (producer, nsqd) = network.start_connected().await;
        drop(nsqd);
        let outage = async {
            for _ in 0..32 {
                never_sent(publish(&producer, "during")).await;
            }
        };
        let refuse = async {
            loop {
                network.dial().await.refuse();
            }
        };
        tokio::select! {
            () = outage => {}
            () = refuse => {}
        }
        assert_eq!(network.elapsed(), s(16 * 60));
        let answer = publish(&producer, "after");
        let mut nsqd = network.connected().await;
        nsqd.confirm("after").await;
        answer.await.unwrap();
    });
}
