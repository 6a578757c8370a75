//! Arbiters that are blocked: what has arrived meanwhile is read before deadlines are judged.

use actix_nsq::{WaitConnected, producer::GetStats};
use tokio::time::advance;

use crate::harness::{Network, in_virtual_time, ms, publish, publish_within, s, timed};
use crate::support::spoken::identify_answer;

/// contract: 1
/// fault: P31
#[test]
fn response_that_arrived_in_a_block_counts() {
    for (timeout, block) in [(s(7), ms(7_280)), (s(60), ms(10_500)), (s(12), s(50))] {
        in_virtual_time(async |mut network: Network| {
            let (producer, mut nsqd) = network.start_connected().await;
            let first = publish_within(&producer, timeout, "1");
            nsqd.expect_pub("t", "1").await;
            // The producer runs before the reader.
            let second = publish(&producer, "2");
            nsqd.send_ok().await;
            advance(block).await;
            first.await.unwrap();
            nsqd.confirm("2").await;
            second.await.unwrap();
        });
    }
}

/// contract: 1
/// fault: P31
#[test]
fn response_behind_other_messages_counts_after_a_block() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let first = publish_within(&producer, s(7), "1");
        nsqd.expect_pub("t", "1").await;
        let others: Vec<_> = (0..1_000).map(|_| producer.send(GetStats)).collect();
        nsqd.send_ok().await;
        advance(s(8)).await;
        first.await.unwrap();
        drop(others);
    });
}

/// checklist: 33
#[test]
fn handshake_that_was_answered_in_a_block_counts() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.accept().await;
        let connected = producer.send(WaitConnected::new(s(3)));
        nsqd.identify().await;
        producer.do_send(WaitConnected::new(s(3)));
        nsqd.send(identify_answer()).await;
        advance(s(4)).await;
        connected.await.unwrap().unwrap();
    });
}

/// contract: 1
#[test]
fn deadlines_are_judged_soon_after_a_block() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let answer = publish_within(&producer, s(7), "1");
        nsqd.expect_pub("t", "1").await;
        advance(s(9)).await;
        let (after, answer) = timed(answer).await;
        answer.unwrap_err();
        assert!(after <= ms(1), "{after:?}");
    });
}
