//! Automatic batching as nsqd sees it: what waits together leaves as one command, and each caller still has an answer of its own.

use actix::Addr;
use actix_nsq::{
    DeferredPublish, Delivery, ErrorKind, MultiPublish, Producer, Publish, protocol::ErrorCode,
};

use crate::harness::{Network, assert_error, in_virtual_time, ms, publish, s, send, timed, topic};
use crate::support::spoken::{error_frame, ok_frame};

fn start(network: &Network) -> Addr<Producer> {
    network.start_with(|config| config.auto_batch(true))
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_lone_publish_is_a_pub_at_once_and_what_waits_together_is_one_command_with_one_answer() {
    in_virtual_time(async |mut network: Network| {
        let producer = start(&network);
        let waiting = ["1", "2", "3"].map(|body| publish(&producer, body));
        let other = send(&producer, Publish::new(topic("other"), "4"));
        let mut nsqd = network.connected().await;
        nsqd.expect_mpub("t", &["1", "2", "3"]).await;
        nsqd.expect_pub("other", "4").await;
        nsqd.send(ok_frame()).await;
        for each in waiting {
            each.await.unwrap();
        }
        nsqd.send(ok_frame()).await;
        other.await.unwrap();
        let (waited, ()) = timed(async {
            let lone = publish(&producer, "lone");
            nsqd.expect_pub("t", "lone").await;
            nsqd.send(ok_frame()).await;
            lone.await.unwrap();
        })
        .await;
        assert_eq!(waited, s(0), "no timer is waited for");
    });
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn a_batch_of_a_caller_and_what_is_deferred_go_by_themselves_and_nothing_overtakes_them() {
    in_virtual_time(async |mut network: Network| {
        let producer = start(&network);
        let first = ["1", "2"].map(|body| publish(&producer, body));
        let batch = send(&producer, MultiPublish::new(topic("t"), ["3", "4"]));
        let deferred = DeferredPublish::new(topic("t"), ms(70), "5");
        let deferred = send(&producer, deferred);
        let last = ["6", "7"].map(|body| publish(&producer, body));
        let mut nsqd = network.connected().await;
        nsqd.expect_mpub("t", &["1", "2"]).await;
        nsqd.expect_mpub("t", &["3", "4"]).await;
        nsqd.expect_dpub("t", 70, "5").await;
        nsqd.expect_mpub("t", &["6", "7"]).await;
        nsqd.send(ok_frame().repeat(4)).await;
        for each in first.into_iter().chain([batch, deferred]).chain(last) {
            each.await.unwrap();
        }
    });
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn who_gave_up_before_its_turn_is_in_no_batch() {
    in_virtual_time(async |mut network: Network| {
        let producer = start(&network);
        let first = publish(&producer, "first");
        let cancelled = publish(&producer, "cancelled");
        let hasty = Publish::new(topic("t"), "hasty").expires_in(ms(100));
        let hasty = send(&producer, hasty);
        let last = publish(&producer, "last");
        tokio::time::sleep(ms(1)).await;
        drop(cancelled);
        assert_error(hasty.await, ErrorKind::Timeout, Delivery::NotWritten);
        let mut nsqd = network.connected().await;
        nsqd.expect_mpub("t", &["first", "last"]).await;
        nsqd.send(ok_frame()).await;
        first.await.unwrap();
        last.await.unwrap();
        nsqd.expect_silence(s(20)).await;
    });
}

/// contract: 2, 3, 4, 7, 9
#[test]
fn who_gives_up_in_flight_keeps_its_place_in_the_batch() {
    in_virtual_time(async |mut network: Network| {
        let producer = start(&network);
        let hasty = Publish::new(topic("t"), "hasty").expires_in(ms(100));
        let hasty = send(&producer, hasty);
        let patient = publish(&producer, "patient");
        let mut nsqd = network.connected().await;
        nsqd.expect_mpub("t", &["hasty", "patient"]).await;
        assert_error(hasty.await, ErrorKind::Timeout, Delivery::MaybeWritten);
        let next = publish(&producer, "next");
        nsqd.expect_pub("t", "next").await;
        nsqd.send(ok_frame()).await;
        patient.await.unwrap();
        nsqd.send(error_frame("E_PUB_FAILED PUB failed exiting"))
            .await;
        let refused = ErrorKind::Rejected(ErrorCode::PubFailed);
        assert_error(next.await, refused, Delivery::NotWritten);
    });
}

/// contract: 2, 3, 4, 7, 9
/// fault: P19
#[test]
fn the_members_of_a_refused_batch_are_sent_again_one_by_one_and_only_the_guilty_one_fails() {
    in_virtual_time(async |mut network: Network| {
        let producer = start(&network);
        let [one, guilty, two] = ["1", "guilty", "2"].map(|body| publish(&producer, body));
        let behind = send(&producer, Publish::new(topic("other"), "behind"));
        let mut nsqd = network.connected().await;
        nsqd.expect_mpub("t", &["1", "guilty", "2"]).await;
        nsqd.expect_pub("other", "behind").await;
        nsqd.send(error_frame("E_INVALID MPUB of something guilty"))
            .await;
        nsqd.fin().await;
        let mut nsqd = network.connected().await;
        // Whom the batch held up goes before it.
        nsqd.expect_pub("other", "behind").await;
        for body in ["1", "guilty", "2"] {
            nsqd.expect_pub("t", body).await;
        }
        nsqd.send(ok_frame().repeat(2)).await;
        behind.await.unwrap();
        one.await.unwrap();
        nsqd.send(error_frame("E_INVALID PUB of something guilty"))
            .await;
        nsqd.fin().await;
        let refused = ErrorKind::Rejected(ErrorCode::Invalid);
        assert_error(guilty.await, refused, Delivery::NotWritten);
        let mut nsqd = network.connected().await;
        nsqd.expect_pub("t", "2").await;
        nsqd.send(ok_frame()).await;
        two.await.unwrap();
    });
}

/// contract: 2, 3, 4, 7, 9
/// fault: P23
#[test]
fn after_a_batch_that_failed_each_of_it_is_open_and_nothing_is_folded_until_an_ok() {
    in_virtual_time(async |mut network: Network| {
        let producer = start(&network);
        let batch = ["1", "2"].map(|body| publish(&producer, body));
        let mut nsqd = network.connected().await;
        nsqd.expect_mpub("t", &["1", "2"]).await;
        nsqd.send(error_frame("E_MPUB_FAILED MPUB failed no space left"))
            .await;
        nsqd.fin().await;
        for each in batch {
            let failed = ErrorKind::Rejected(ErrorCode::MpubFailed);
            assert_error(each.await, failed, Delivery::MaybeWritten);
        }
        let next = ["3", "4", "5"].map(|body| publish(&producer, body));
        let mut nsqd = network.connected().await;
        for body in ["3", "4", "5"] {
            nsqd.expect_pub("t", body).await;
        }
        nsqd.send(ok_frame().repeat(3)).await;
        for each in next {
            each.await.unwrap();
        }
        let well = ["6", "7"].map(|body| publish(&producer, body));
        nsqd.expect_mpub("t", &["6", "7"]).await;
        nsqd.send(ok_frame()).await;
        for each in well {
            each.await.unwrap();
        }
    });
}
