//! `Ping`: a question that nsqd answers, in its place among the publishes, and that changes nothing.

use actix::Addr;
use actix_nsq::{
    Delivery, ErrorKind, Ping, Producer, ProducerState, producer::Drain, producer::GetStats,
};
use tokio::time::sleep;

use crate::harness::{
    Answer, HOUR, Network, Peer, assert_error, in_virtual_time, is_pending, ms, publish, s, send,
    timed,
};
use crate::support::spoken::{Command, error_frame, heartbeat_frame, ok_frame};

fn ping(producer: &Addr<Producer>, seconds: u64) -> Answer {
    let timeout = s(seconds);
    send(producer, Ping { timeout })
}

/// Expects the question of a ping: a second IDENTIFY.
async fn expect_ping(nsqd: &mut Peer) {
    let came = nsqd.next_command().await;
    assert!(matches!(came, Command::Identify(_)), "{came}");
}

/// checklist: 44
#[test]
fn the_question_is_the_names_and_nothing_else() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| {
            let config = config.client_id("me").hostname("me.example");
            config.user_agent("test/1").topology_region("eu")
        });
        let mut nsqd = network.connected().await;
        let answer = ping(&producer, 5);
        let json = concat!(
            r#"{"client_id":"me","hostname":"me.example","user_agent":"test/1","#,
            r#""topology_region":"eu"}"#
        );
        let size = u32::try_from(json.len()).unwrap().to_be_bytes();
        nsqd.expect([b"IDENTIFY\n".as_slice(), &size, json.as_bytes()].concat())
            .await;
        nsqd.send(ok_frame()).await;
        let (after, answer) = timed(answer).await;
        answer.unwrap();
        assert_eq!(after, s(0));
    });
}

/// checklist: 44
#[test]
fn the_names_are_those_of_the_first_identify() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.accept().await;
        let first = nsqd.greet().await;
        let _answer = ping(&producer, 5);
        let Command::Identify(second) = nsqd.next_command().await else {
            panic!("another command");
        };
        for (name, value) in second.as_object().unwrap() {
            assert_eq!(&first[name], value, "{name}");
        }
        assert_eq!(second.as_object().unwrap().len(), 3);
    });
}

/// contract: 2
/// checklist: 44
#[test]
fn a_heartbeat_is_no_answer() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let mut answer = ping(&producer, 5);
        expect_ping(&mut nsqd).await;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
        sleep(s(1)).await;
        assert!(is_pending(&mut answer));
        nsqd.send(ok_frame()).await;
        answer.await.unwrap();
    });
}

/// checklist: 44
#[test]
fn without_an_answer_it_times_out_and_the_late_ok_shifts_nobody_elses() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let (after, answer) = timed(ping(&producer, 3)).await;
        assert_eq!(after, s(3));
        let error = assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
        assert!(error.is_retryable(), "{error}");
        expect_ping(&mut nsqd).await;
        let mut publish = publish(&producer, "a");
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        sleep(ms(1)).await;
        assert!(is_pending(&mut publish));
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// checklist: 44
#[test]
fn it_waits_for_a_connection_as_long_as_its_time_allows() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.dial_timeout(s(300)));
        let dial = network.dial().await;
        let (after, answer) = timed(ping(&producer, 3)).await;
        assert_eq!(after, s(3));
        assert_error(answer, ErrorKind::Timeout, Delivery::NotWritten);
        let answer = ping(&producer, 3);
        sleep(s(1)).await;
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        // The one that is out of time is not asked any more.
        expect_ping(&mut nsqd).await;
        nsqd.send(ok_frame()).await;
        answer.await.unwrap();
        nsqd.expect_silence(s(20)).await;
    });
}

/// checklist: 44
#[test]
fn a_lazy_producer_connects_for_it() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.connect_at_start(false));
        let answer = ping(&producer, 3);
        let mut nsqd = network.connected().await;
        expect_ping(&mut nsqd).await;
        nsqd.send(ok_frame()).await;
        answer.await.unwrap();
    });
}

/// checklist: 44
#[test]
fn it_is_answered_behind_the_publishes_sent_and_asked_before_those_that_wait() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.publish_window(2));
        let mut nsqd = network.connected().await;
        let publishes = ["1", "2", "3"].map(|body| publish(&producer, body));
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_pub("t", "2").await;
        let mut answer = ping(&producer, 5);
        expect_ping(&mut nsqd).await;
        nsqd.send(ok_frame()).await;
        nsqd.expect_pub("t", "3").await;
        nsqd.send(ok_frame()).await;
        sleep(ms(1)).await;
        assert!(is_pending(&mut answer));
        nsqd.send(ok_frame()).await;
        answer.await.unwrap();
        nsqd.send(ok_frame()).await;
        for publish in publishes {
            publish.await.unwrap();
        }
    });
}

/// checklist: 44
#[test]
fn where_nothing_is_answered_it_times_out_however_much_is_sent() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let mut pending = Vec::new();
        let mut answer = ping(&producer, 3);
        while is_pending(&mut answer) {
            pending.push(publish(&producer, "flows"));
            sleep(ms(100)).await;
        }
        assert!(network.elapsed() <= s(3) + ms(100));
        expect_ping(&mut nsqd).await;
        assert!(pending.iter_mut().all(is_pending));
    });
}

/// checklist: 44
#[test]
fn an_unanswered_ping_ends_the_connection_at_ack_timeout_and_asks_the_next() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.ack_timeout(s(4)));
        let mut nsqd = network.connected().await;
        let answer = ping(&producer, 20);
        expect_ping(&mut nsqd).await;
        let (after, _) = timed(nsqd.wait_closed()).await;
        assert!(after >= s(4) && after < s(6), "{after:?}");
        let mut nsqd = network.connected().await;
        expect_ping(&mut nsqd).await;
        nsqd.send(ok_frame()).await;
        answer.await.unwrap();
        let stats = producer.send(GetStats).await.unwrap();
        assert_eq!(
            (stats.disconnects, stats.published, stats.requeued),
            (1, 0, 0)
        );
    });
}

/// checklist: 44
#[test]
fn a_lost_connection_and_a_refusal_before_it_ask_again() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let bad = publish(&producer, "bad");
        nsqd.expect_pub("t", "bad").await;
        let answer = ping(&producer, 20);
        expect_ping(&mut nsqd).await;
        let behind = publish(&producer, "behind");
        nsqd.expect_pub("t", "behind").await;
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        nsqd.fin().await;
        bad.await.unwrap_err();
        let mut nsqd = network.connected().await;
        expect_ping(&mut nsqd).await;
        drop(nsqd);
        let mut nsqd = network.connected().await;
        // It changes nothing, so that asking twice is no harm.
        expect_ping(&mut nsqd).await;
        nsqd.send(ok_frame()).await;
        answer.await.unwrap();
        drop(behind);
    });
}

/// checklist: 44
#[test]
fn an_nsqd_that_refuses_the_question_fails_the_ping_alone() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let answer = ping(&producer, 5);
        let publish = publish(&producer, "a");
        expect_ping(&mut nsqd).await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(error_frame("E_INVALID cannot IDENTIFY in current state"))
            .await;
        nsqd.fin().await;
        let invalid = ErrorKind::Rejected(actix_nsq::protocol::ErrorCode::Invalid);
        assert_error(answer.await, invalid, Delivery::NotWritten);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// checklist: 44
#[test]
fn one_that_is_cancelled_before_it_is_sent_is_not_sent() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let dial = network.dial().await;
        let mut cancelled = ping(&producer, 60);
        assert!(is_pending(&mut cancelled));
        sleep(ms(1)).await;
        drop(cancelled);
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        nsqd.expect_silence(s(5)).await;
    });
}

/// checklist: 44
#[test]
fn one_that_nobody_awaits_is_not_sent_at_all() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        producer.do_send(Ping { timeout: s(5) });
        nsqd.expect_silence(s(5)).await;
    });
}

/// checklist: 44
#[test]
fn a_draining_producer_refuses_it_and_waits_for_those_outstanding() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let mut nsqd = network.connected().await;
        let outstanding = ping(&producer, 20);
        expect_ping(&mut nsqd).await;
        let drain = tokio::task::spawn_local(producer.send(Drain { timeout: s(10) }));
        sleep(s(1)).await;
        let (after, answer) = timed(ping(&producer, 5)).await;
        assert_eq!(after, s(0));
        assert_error(answer, ErrorKind::Drained, Delivery::NotWritten);
        nsqd.send(ok_frame()).await;
        outstanding.await.unwrap();
        let report = drain.await.unwrap().unwrap();
        assert!(report.is_clean() && report.ok == 0, "{report:?}");
        assert_error(
            ping(&producer, 5).await,
            ErrorKind::Drained,
            Delivery::NotWritten,
        );
        let stats = producer.send(GetStats).await.unwrap();
        assert_eq!((stats.state, stats.published), (ProducerState::Drained, 0));
    });
}

/// checklist: 44
#[test]
fn a_drain_that_is_over_answers_a_ping_that_nsqd_did_not() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let _nsqd = network.connected().await;
        let outstanding = ping(&producer, 3600);
        let (after, _) = timed(producer.send(Drain { timeout: s(3) })).await;
        assert_eq!(after, s(3));
        assert_error(outstanding.await, ErrorKind::Drained, Delivery::NotWritten);
    });
}

/// checklist: 44
#[test]
fn with_its_last_address_gone_a_producer_still_answers_it() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let answer = ping(&producer, 60);
        drop(producer);
        let mut nsqd = network.connected().await;
        expect_ping(&mut nsqd).await;
        nsqd.send(ok_frame()).await;
        answer.await.unwrap();
        nsqd.wait_closed().await;
        assert!(network.next_dial().await.is_none());
    });
}

/// checklist: 44
#[test]
fn answered_pings_leave_no_timer() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| config.heartbeat_interval(None));
        let mut nsqd = network.connected().await;
        let _ = HOUR;
        for _ in 0..100 {
            let answer = ping(&producer, 36_000);
            expect_ping(&mut nsqd).await;
            nsqd.send(ok_frame()).await;
            answer.await.unwrap();
        }
        // But one, of the earliest dead-line, which finds nothing to do.
        nsqd.expect_silence(11 * HOUR).await;
        network.expect_no_timer_for_an_hour().await;
    });
}
