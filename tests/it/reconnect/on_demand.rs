//! `Reconnect`: a new connection at once, and nothing is lost by it, whatever the old one was doing.

use actix_nsq::{
    ConnectionEvent, ProducerState, Reconnect, SubscribeEvents, producer::Drain,
    producer::GetState, producer::GetStats,
};
use tokio::time::sleep;

use crate::harness::{HOUR, Network, Recorder, in_virtual_time, is_pending, ms, publish, s, timed};
use crate::support::spoken::{error_frame, ok_frame};

#[test]
fn an_idle_connection_is_closed_and_made_anew_at_once() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        nsqd.expect_silence(s(5)).await;
        producer.do_send(Reconnect);
        let (after, mut next) = timed(network.connected()).await;
        assert_eq!(after, s(0));
        nsqd.wait_closed().await;
        assert_eq!(network.open_connections(), 1);
        next.expect_silence(s(5)).await;
    });
}

#[test]
fn what_is_in_flight_is_answered_first_and_nothing_is_sent_twice() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let in_flight = ["1", "2", "3"].map(|body| publish(&producer, body));
        for body in ["1", "2", "3"] {
            nsqd.expect_pub("t", body).await;
        }
        producer.do_send(Reconnect);
        sleep(ms(1)).await;
        // Younger ones wait for the next connection.
        let mut younger = publish(&producer, "4");
        nsqd.expect_silence(s(1)).await;
        for answer in in_flight {
            nsqd.send(ok_frame()).await;
            answer.await.unwrap();
        }
        let (after, mut next) = timed(network.connected()).await;
        assert_eq!(after, s(0));
        assert_eq!(nsqd.wait_closed().await, b"");
        assert!(is_pending(&mut younger));
        next.expect_pub("t", "4").await;
        next.send(ok_frame()).await;
        younger.await.unwrap();
        let stats = producer.send(GetStats).await.unwrap();
        assert_eq!((stats.ok, stats.requeued, stats.published), (4, 0, 4));
        assert_eq!((stats.connects, stats.disconnects), (2, 1));
    });
}

#[test]
fn publishes_behind_the_window_wait_for_the_next_connection_in_their_order() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(1));
        let mut nsqd = network.connected().await;
        let answers = ["1", "2", "3"].map(|body| publish(&producer, body));
        nsqd.expect_pub("t", "1").await;
        producer.do_send(Reconnect);
        sleep(ms(1)).await;
        nsqd.send(ok_frame()).await;
        let mut next = network.connected().await;
        assert_eq!(nsqd.wait_closed().await, b"");
        next.expect_pub("t", "2").await;
        next.send(ok_frame()).await;
        next.expect_pub("t", "3").await;
        next.send(ok_frame()).await;
        for answer in answers {
            answer.await.unwrap();
        }
    });
}

#[test]
fn a_connection_that_does_not_answer_is_left_at_ack_timeout() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.ack_timeout(s(4)));
        let mut nsqd = network.connected().await;
        let lost = publish(&producer, "1");
        nsqd.expect_pub("t", "1").await;
        producer.do_send(Reconnect);
        let (after, _next) = timed(network.connected()).await;
        assert!(after >= s(4) && after < s(6), "{after:?}");
        lost.await.unwrap_err();
    });
}

#[test]
fn a_refusal_while_it_leaves_costs_the_bystanders_nothing() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let bad = publish(&producer, "bad");
        let bystander = publish(&producer, "bystander");
        nsqd.expect_pub("t", "bad").await;
        nsqd.expect_pub("t", "bystander").await;
        producer.do_send(Reconnect);
        sleep(ms(1)).await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        nsqd.fin().await;
        let (after, mut next) = timed(network.connected()).await;
        assert_eq!(after, s(0));
        next.expect_pub("t", "bystander").await;
        next.send(ok_frame()).await;
        bystander.await.unwrap();
        bad.await.unwrap_err();
    });
}

#[test]
fn a_wait_to_connect_is_cut_short_and_what_waited_is_kept() {
    in_virtual_time(async |mut network: Network| {
        let producer =
            network.start_with(|config| config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR));
        let answer = publish(&producer, "a");
        network.dial().await.refuse();
        sleep(ms(1)).await;
        for _ in 0..3 {
            producer.do_send(Reconnect);
        }
        let (after, mut nsqd) = timed(network.connected()).await;
        assert_eq!(after, s(0));
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        answer.await.unwrap();
        network.expect_no_dial(s(60)).await;
    });
}

#[test]
fn an_attempt_that_fails_is_followed_by_a_wait_as_ever() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| {
            config
                .reconnect_backoff(s(1000))
                .max_reconnect_backoff(s(1000))
        });
        let (recipient, seen) = Recorder::start();
        producer.do_send(SubscribeEvents(recipient));
        network.dial().await.refuse();
        for _ in 0..20 {
            sleep(ms(1)).await;
            producer.do_send(Reconnect);
            let (after, dial) = timed(network.dial()).await;
            assert_eq!(after, s(0));
            dial.refuse();
        }
        sleep(ms(1)).await;
        let mut waits = 0;
        for event in seen.take() {
            if let ConnectionEvent::BackingOff { delay, .. } = event {
                assert!(!delay.is_zero());
                waits += 1;
            }
        }
        assert_eq!(waits, 21);
        let state = producer.send(GetState).await.unwrap();
        assert_eq!(state, ProducerState::BackingOff);
    });
}

#[test]
fn a_connection_lost_after_it_was_made_on_demand_is_followed_by_a_wait() {
    in_virtual_time(async |mut network: Network| {
        let producer =
            network.start_with(|config| config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR));
        let nsqd = network.connected().await;
        producer.do_send(Reconnect);
        let next = network.connected().await;
        drop((nsqd, next));
        sleep(ms(1)).await;
        let state = producer.send(GetState).await.unwrap();
        assert_eq!(state, ProducerState::BackingOff);
    });
}

#[test]
fn a_dial_on_its_way_is_left_alone() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(s(300)));
        let dial = network.dial().await;
        producer.do_send(Reconnect);
        network.expect_no_dial(s(60)).await;
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        nsqd.expect_silence(s(5)).await;
    });
}

#[test]
fn an_idle_producer_connects() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        sleep(s(1)).await;
        producer.do_send(Reconnect);
        producer.do_send(Reconnect);
        let (after, mut nsqd) = timed(network.connected()).await;
        assert_eq!(after, s(0));
        nsqd.expect_silence(s(5)).await;
    });
}

#[test]
fn a_connection_that_is_closing_is_followed_by_one_at_once() {
    in_virtual_time(async |mut network: Network| {
        let producer =
            network.start_with(|config| config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR));
        let mut nsqd = network.connected().await;
        let bad = publish(&producer, "bad");
        nsqd.expect_pub("t", "bad").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        bad.await.unwrap_err();
        producer.do_send(Reconnect);
        sleep(ms(1)).await;
        nsqd.fin().await;
        let (after, _next) = timed(network.connected()).await;
        assert_eq!(after, s(0));
    });
}

#[test]
fn a_drained_producer_stays_so() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        producer.send(Drain { timeout: s(1) }).await.unwrap();
        nsqd.wait_closed().await;
        producer.send(Reconnect).await.unwrap();
        network.expect_no_dial(HOUR).await;
        let state = producer.send(GetState).await.unwrap();
        assert_eq!(state, ProducerState::Drained);
    });
}

#[test]
fn a_draining_producer_finishes_on_the_new_connection() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(1));
        let mut nsqd = network.connected().await;
        let answers = ["1", "2"].map(|body| publish(&producer, body));
        nsqd.expect_pub("t", "1").await;
        let drain = tokio::task::spawn_local(producer.send(Drain { timeout: s(30) }));
        sleep(ms(1)).await;
        producer.do_send(Reconnect);
        sleep(ms(1)).await;
        nsqd.send(ok_frame()).await;
        let mut next = network.connected().await;
        next.expect_pub("t", "2").await;
        next.send(ok_frame()).await;
        for answer in answers {
            answer.await.unwrap();
        }
        assert_eq!(drain.await.unwrap().unwrap().ok, 2);
        next.wait_closed().await;
    });
}

/// contract: 10
#[test]
fn together_with_a_drain_it_changes_nothing_in_any_order_of_the_two() {
    for drain_first in [true, false] {
        in_virtual_time(async |mut network: Network| {
            let producer = network
                .start_with(|config| config.reconnect_backoff(HOUR).max_reconnect_backoff(HOUR));
            network.dial().await.refuse();
            sleep(ms(1)).await;
            if !drain_first {
                producer.do_send(Reconnect);
            }
            let drain = producer.send(Drain { timeout: s(5) });
            producer.do_send(Reconnect);
            let (after, report) = timed(drain).await;
            assert_eq!(after, s(0));
            assert!(report.unwrap().is_clean());
            let state = producer.send(GetState).await.unwrap();
            assert_eq!(state, ProducerState::Drained);
            drop(producer);
            while let Some(dial) = network.next_dial().await {
                dial.hang().await;
            }
        });
    }
}
