//! Reconnecting: when, after which delay, and for how long.

mod disconnect;
mod fail_fast;
mod on_demand;
mod storm;

use std::time::Duration;

use tokio::time::sleep;

use crate::harness::{HOUR, Network, in_virtual_time, ms, never_sent, publish, s, timed};

/// The longest of 40 delays, each between the end of a connection and the next dial.
async fn longest_delay(
    network: &mut Network,
    mut connection: impl AsyncFnMut(&mut Network),
) -> Duration {
    let mut longest = Duration::ZERO;
    for _ in 0..40 {
        connection(network).await;
        let ended = network.elapsed();
        network.peek_dial().await;
        longest = longest.max(network.elapsed() - ended);
    }
    longest
}

/// fault: P1
/// checklist: 18, 19
#[test]
fn delays_after_failed_attempts_grow_to_five_seconds() {
    for accepted in [false, true] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let attempt = async |network: &mut Network| {
                let dial = network.dial().await;
                if accepted {
                    // The server closes before the handshake.
                    drop(dial.accept());
                }
            };
            let longest = longest_delay(&mut network, attempt).await;
            assert!(longest > s(2) && longest <= s(5) + ms(1), "{longest:?}");
            let answer = publish(&producer, "a");
            let mut nsqd = network.connected().await;
            nsqd.confirm("a").await;
            answer.await.unwrap();
        });
    }
}

/// fault: P1
/// checklist: 19
#[test]
fn delays_start_over_after_a_connection_that_worked() {
    // The connection lasts this long after the handshake, or after an OK.
    for (served, lasts, starts_over) in [
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
            let longest = longest_delay(&mut network, connection).await;
            assert_eq!(
                longest <= ms(101),
                starts_over,
                "{served} {lasts:?}: {longest:?}"
            );
        });
    }
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
