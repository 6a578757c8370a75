//! RDY: capacity, backoff, pauses, and several nsqds.

use std::collections::BTreeMap;

use actix_nsq::{
    ConsumerConfigBuilder, ConsumerEvent, ConsumerState, MessageHandler, Requeue, SubscribeEvents,
    consumer::{AddNsqd, GetState, IsStarved, Pause, RemoveNsqd, Resume, SetMaxInFlight},
};
use tokio::time::sleep;

use crate::{
    harness::{Network, Peer, Recorder, block, drain, in_virtual_time, ms, s},
    support::spoken::{Command, message_id},
};

/// consumer contract: 6
/// checklist: 69, 106
/// fault: C8
#[test]
fn failure_stops_messages_and_successes_resume_them() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        let (events, recorder) = Recorder::<ConsumerEvent>::start();
        consumer.send(SubscribeEvents(events)).await.unwrap();
        nsqd.deliver(1).await;
        messages.next().await.unwrap().settle(Err::<(), _>(()));
        // RDY is lowered before the answer.
        nsqd.expect_ready(0).await;
        nsqd.expect_req(1, 90_000).await;
        let state = consumer.send(GetState).await.unwrap();
        assert_eq!(state, ConsumerState::BackingOff);
        nsqd.expect_silence(ms(1_990)).await;
        nsqd.expect_ready(1).await;
        nsqd.deliver(2).await;
        messages.next().await.unwrap().finish().unwrap();
        nsqd.expect_fin(2).await;
        nsqd.expect_ready(10).await;
        let events = recorder.take().into_iter().skip(1);
        let texts: Vec<_> = events.map(|event| event.to_string()).collect();
        assert_eq!(
            texts,
            ["backoff level 1: no messages for 2s", "backoff ended"]
        );
    });
}

/// consumer contract: 6
/// checklist: 59
#[test]
fn requeue_without_backoff_leaves_the_rate_alone() {
    in_virtual_time(async |mut network: Network| {
        let (_consumer, mut messages, mut nsqd) = network.start_consuming().await;
        for number in 1..5 {
            nsqd.deliver(number).await;
            let message = messages.next().await.unwrap();
            message.requeue(Requeue::now().without_backoff()).unwrap();
            nsqd.expect_req(number, 0).await;
        }
        nsqd.expect_silence(s(5)).await;
    });
}

/// checklist: 57
#[test]
fn pause_and_max_in_flight_take_effect_at_run_time() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, _messages, mut nsqd) = network.start_consuming().await;
        let state = async || consumer.send(GetState).await.unwrap();
        assert_eq!(state().await, ConsumerState::Subscribed);
        consumer.send(Pause).await.unwrap();
        nsqd.expect_ready(0).await;
        assert_eq!(state().await, ConsumerState::Paused);
        consumer.send(Resume).await.unwrap();
        nsqd.expect_ready(10).await;
        consumer.send(SetMaxInFlight(0)).await.unwrap();
        nsqd.expect_ready(0).await;
        assert_eq!(state().await, ConsumerState::Paused);
        consumer.send(SetMaxInFlight(3)).await.unwrap();
        nsqd.expect_ready(3).await;
        assert_eq!(state().await, ConsumerState::Subscribed);
    });
}

/// checklist: 72
#[test]
fn consumer_is_starved_when_a_batch_cannot_grow() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut nsqd) = network.start_consuming().await;
        let mut batch = Vec::new();
        for number in 1..=9 {
            assert!(!consumer.send(IsStarved).await.unwrap(), "{number}");
            nsqd.deliver(number).await;
            batch.push(messages.next().await.unwrap());
        }
        assert!(consumer.send(IsStarved).await.unwrap());
        drop(batch);
    });
}

/// RDY is written when it changes only, and lowered before the answers in the same write.
/// consumer contract: 4
/// checklist: 52, 54
/// fault: G1, G3
#[test]
fn capacity_moves_to_a_new_nsqd_without_exceeding_the_maximum() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, mut messages, mut first) = network.start_consuming().await;
        first.deliver_all(1..=10).await;
        let mut held = Vec::new();
        for _ in 0..10 {
            held.push(messages.next().await.unwrap());
        }
        let added = consumer.send(AddNsqd("second".to_owned())).await;
        added.unwrap().unwrap();
        let mut second = network.connected().await;
        second.expect_sub().await;
        second.send_ok().await;
        // The capacity is in use: the first gives half of it, and the second gets it with the
        // answers.
        first.expect_ready(5).await;
        second.expect_silence(s(1)).await;
        for message in held {
            message.finish().unwrap();
        }
        for number in 1..=10 {
            first.expect_fin(number).await;
        }
        second.expect_ready(5).await;
    });
}

/// fault: C1, G8
#[test]
fn all_of_several_connections_are_replaced_when_they_end() {
    in_virtual_time(async |mut network: Network| {
        for count in 1..=6 {
            let (handler, mut messages) = MessageHandler::stream();
            let addresses = (0..count).map(|number| format!("nsqd {number}"));
            let options =
                |config: ConsumerConfigBuilder| config.addresses(addresses).max_in_flight(6);
            let consumer = network.start_consumer_with(options, handler);
            for _ in 0..3 {
                let mut nsqds = Vec::new();
                for _ in 0..count {
                    let mut nsqd = network.connected().await;
                    nsqd.expect_sub().await;
                    nsqd.send_ok().await;
                    nsqds.push(nsqd);
                }
                let last = nsqds.last_mut().unwrap();
                last.deliver(1).await;
                messages.next().await.unwrap().finish().unwrap();
                while last.next_command().await != Command::Fin(message_id(1)) {}
                for nsqd in &mut nsqds {
                    nsqd.fin().await;
                }
            }
            assert!(drain(&consumer, s(1)).await.is_clean());
            network.expect_no_dial(s(600)).await;
        }
    });
}

/// checklist: 78
#[test]
fn same_id_of_two_nsqds_is_two_messages() {
    in_virtual_time(async |mut network: Network| {
        let (handler, mut messages) = MessageHandler::stream();
        let options =
            |config: ConsumerConfigBuilder| config.addresses(["a", "b"]).max_in_flight(10);
        let _consumer = network.start_consumer_with(options, handler);
        let mut nsqds = BTreeMap::new();
        for _ in 0..2 {
            let dial = network.dial().await;
            let address = dial.address.clone();
            let mut nsqd: Peer = dial.accept();
            nsqd.greet().await;
            nsqd.expect_sub().await;
            nsqd.send_ok().await;
            nsqds.insert(address, nsqd);
        }
        for nsqd in nsqds.values_mut() {
            while let Command::Rdy(0..5 | 10) = nsqd.next_command().await {}
            nsqd.deliver_again(1, 2).await;
        }
        let (one, other) = (messages.next().await, messages.next().await);
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_ne!(one.address(), other.address());
        let address = other.address().to_owned();
        other.finish().unwrap();
        nsqds.get_mut(&address).unwrap().expect_fin(1).await;
        let address = one.address().to_owned();
        one.finish().unwrap();
        nsqds.get_mut(&address).unwrap().expect_fin(1).await;
    });
}

/// checklist: 79
/// fault: C4
#[test]
fn removed_nsqd_is_left_gracefully() {
    in_virtual_time(async |mut network: Network| {
        let (handler, mut messages) = MessageHandler::stream();
        let options = |config: ConsumerConfigBuilder| config.max_in_flight(10).concurrency(1);
        let consumer = network.start_consumer_with(options, handler);
        let mut nsqd = network.subscribed(10).await;
        nsqd.deliver_all([1, 2]).await;
        let running = messages.next().await.unwrap();
        let remove = || consumer.send(RemoveNsqd("nsqd in memory".to_owned()));
        assert!(remove().await.unwrap());
        assert!(!remove().await.unwrap());
        nsqd.leave_with_returned(&[2]).await;
        // A message that nsqd sent before it read CLS.
        nsqd.deliver(3).await;
        nsqd.expect_req(3, 0).await;
        sleep(s(1)).await;
        running.finish().unwrap();
        nsqd.expect_fin(1).await;
        nsqd.expect_end().await;
        drop(nsqd);
        network.expect_no_dial(s(600)).await;
        // It can be added again.
        let added = consumer.send(AddNsqd("nsqd in memory".to_owned())).await;
        added.unwrap().unwrap();
        network.subscribed(10).await;
    });
}

/// While it waits to connect again, too.
#[test]
fn nsqd_removed_without_a_connection_is_not_dialled_again() {
    in_virtual_time(async |mut network: Network| {
        let (handler, _messages) = MessageHandler::stream();
        let consumer = network.start_consumer_with(|config| config, handler);
        network.dial().await.refuse();
        sleep(ms(1)).await;
        let removed = consumer.send(RemoveNsqd("nsqd in memory".to_owned()));
        assert!(removed.await.unwrap());
        network.expect_no_dial(s(600)).await;
        let error = consumer.send(AddNsqd(String::new())).await.unwrap();
        // An own connector understands any address.
        assert!(error.is_ok());
    });
}

/// What nsqd sent before it read the lower RDY is in the socket.
/// consumer contract: 4
#[test]
fn capacity_does_not_settle_while_the_arbiter_is_blocked() {
    in_virtual_time(async |mut network: Network| {
        let (consumer, _messages, mut first) = network.start_consuming().await;
        let added = consumer.send(AddNsqd("second".to_owned())).await;
        added.unwrap().unwrap();
        let mut second = network.connected().await;
        second.expect_sub().await;
        second.send_ok().await;
        first.expect_ready(5).await;
        // The consumer runs before its reader.
        consumer.do_send(GetState);
        first.deliver_all(1..=10).await;
        block(s(1));
        second.expect_silence(s(1)).await;
    });
}
