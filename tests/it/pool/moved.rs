//! Which publishes move to another member, and which do not.

use actix_nsq::{
    Delivery, ErrorKind, ErrorScope, MultiPublish, Publish, Reconnect,
    pool::{MemberState, MoveReason, PoolEvent},
    protocol::ErrorCode,
};
use tokio::time::sleep;

use crate::{
    harness::{
        Network, PUB_FAILED, all_ok, assert_error, events_of, in_virtual_time, lost, ms,
        never_sent, pool_members, pool_stats, primary, publish, publish_each, publish_within,
        rejected, s, send, timed, topic,
    },
    support::spoken::error_frame,
};

/// pool contract: 1, 2
#[test]
fn queued_publish_moves_when_its_connection_is_lost() {
    in_virtual_time(async |mut network: Network| {
        let window = |config| primary(config).publish_window(1).topic_stats(1);
        let (pool, [mut a, mut b]) = network.start_pool(window).await;
        let [first, second, third] = publish_each(&pool, ["1", "2", "3"]);
        a.expect_pub("t", "1").await;
        a.fin().await;
        lost(first).await;
        b.confirm("2").await;
        b.confirm("3").await;
        all_ok([second, third]).await;
        let stats = pool_stats(&pool).await;
        assert_eq!((stats.published, stats.ok, stats.maybe_written), (3, 2, 1));
        assert_eq!((stats.moved, stats.held), (2, 0));
        let moves = stats.members.iter().map(|it| (it.moved_to, it.moved_from));
        assert_eq!(moves.collect::<Vec<_>>(), [(3, 2), (2, 0)]);
        assert_eq!(stats.members[0].moves.disconnected, 2);
        let [topic] = &stats.topics[..] else {
            panic!("{:?}", stats.topics);
        };
        assert_eq!((topic.ok, topic.maybe_written), (2, 1));
        assert!(stats.members.iter().all(|it| it.producer.topics.is_empty()));
    });
}

/// pool contract: 1
#[test]
fn publish_keeps_its_timeout_however_often_it_moves() {
    in_virtual_time(async |mut network: Network| {
        let pool = network.start_pool_with(2, primary);
        let answer = publish_within(&pool, s(5), "1");
        // Both members accept, and close before they read.
        let closing = async {
            loop {
                drop(network.dial().await.accept_over(64));
            }
        };
        let (took, _) = timed(async {
            tokio::select! {
                error = never_sent(answer) => error,
                () = closing => unreachable!("dials do not end"),
            }
        })
        .await;
        assert!(took >= s(5) && took < s(6), "{took:?}");
        let stats = pool_stats(&pool).await;
        assert_eq!((stats.not_written, stats.timed_out), (1, 1), "{stats:?}");
    });
}

/// pool contract: 2
#[test]
fn publish_that_may_be_stored_does_not_move() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(primary).await;
        let single = publish(&pool, "1");
        let batch = send(&pool, MultiPublish::new(topic("t"), ["2", "3"]));
        a.expect_pub("t", "1").await;
        a.expect_mpub("t", &["2", "3"]).await;
        a.fin().await;
        lost(single).await;
        let (kind, delivery) = (ErrorKind::ConnectionLost, Delivery::MaybePartial);
        assert_error(batch.await, kind, delivery);
        b.expect_silence(s(60)).await;
    });
}

/// pool contract: 2
#[test]
fn retry_maybe_written_lets_any_member_get_it() {
    in_virtual_time(async |mut network: Network| {
        let retries = |config| primary(config).retry_maybe_written(true);
        let (pool, [mut a, mut b]) = network.start_pool(retries).await;
        let answer = publish(&pool, "1");
        a.expect_pub("t", "1").await;
        a.fin().await;
        b.confirm("1").await;
        answer.await.unwrap();
    });
}

/// pool contract: 2, 5
/// checklist: 48
#[test]
fn rejection_because_of_the_server_moves_what_it_concerns() {
    for text in [
        PUB_FAILED,
        "E_AUTH_FAILED AUTH failed",
        "E_INVALID cannot PUB (TLS required)",
    ] {
        in_virtual_time(async |mut network: Network| {
            let (pool, [mut a, mut b]) = network.start_pool(primary).await;
            let events = events_of(&pool);
            let answers = publish_each(&pool, ["1", "2", "3"]);
            a.expect_pubs(&["1", "2", "3"]).await;
            a.reject(text).await;
            b.confirm_all(&["1", "2", "3"]).await;
            all_ok(answers).await;
            // It is suspect as long as nothing shows that it can store.
            let events = events.take();
            let is_suspect = |event: &PoolEvent| event.to_string() == "a:1: suspect";
            assert!(events.iter().any(is_suspect), "{events:?}");
            let moved = events.into_iter().find_map(|event| match event {
                PoolEvent::Moved {
                    address,
                    publishes,
                    reason,
                    ..
                } => Some((address, publishes, reason)),
                _ => None,
            });
            assert_eq!(moved, Some(("a:1".into(), 3, MoveReason::Rejected)));
            assert_eq!(pool_stats(&pool).await.members[0].moves.rejected, 3);
        });
    }
}

/// pool contract: 2
/// checklist: 48
#[test]
fn publish_that_every_member_rejects_is_answered_with_the_code() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(primary).await;
        let answer = publish(&pool, "1");
        a.expect_pub("t", "1").await;
        a.reject(PUB_FAILED).await;
        b.expect_pub("t", "1").await;
        b.reject(PUB_FAILED).await;
        let (took, _) = timed(async {
            let _again = network.connected().await;
            rejected(answer).await;
        })
        .await;
        assert!(took < s(1), "{took:?}");
    });
}

/// pool contract: 2
#[test]
fn deferred_publish_moves_like_any_other() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(primary).await;
        let deferred = actix_nsq::DeferredPublish::new(topic("t"), s(3), "1");
        let answer = send(&pool, deferred);
        a.expect_dpub("t", 3_000, "1").await;
        a.reject("E_DPUB_FAILED DPUB failed").await;
        b.expect_dpub("t", 3_000, "1").await;
        b.send_ok().await;
        answer.await.unwrap();
    });
}

/// pool contract: 9
/// fault: D3
#[test]
fn publish_returns_soon_to_the_only_member_that_is_up() {
    in_virtual_time(async |mut network: Network| {
        let window = |config| primary(config).publish_window(1);
        let (pool, [mut a]) = network.start_pool(window).await;
        let first = publish(&pool, "1");
        let second = publish_within(&pool, s(60), "2");
        a.expect_pub("t", "1").await;
        a.fin().await;
        lost(first).await;
        let mut a = network.connected().await;
        let (took, ()) = timed(a.confirm("2")).await;
        assert!(took <= ms(100), "{took:?}");
        second.await.unwrap();
    });
}

/// pool contract: 3
#[test]
fn publish_that_is_rejected_for_itself_does_not_move() {
    for (text, code) in [
        ("E_BAD_MESSAGE no", ErrorCode::BadMessage),
        ("E_BAD_BODY no", ErrorCode::BadBody),
        ("E_INVALID no", ErrorCode::Invalid),
    ] {
        in_virtual_time(async |mut network: Network| {
            let (pool, [mut a, mut b]) = network.start_pool(primary).await;
            let [invalid, second, third] = publish_each(&pool, ["1", "2", "3"]);
            a.expect_pubs(&["1", "2", "3"]).await;
            // Only then nsqd sends OK to later ones.
            a.reject(text).await;
            assert_error(
                invalid.await,
                ErrorKind::Rejected(code),
                Delivery::NotWritten,
            );
            // Nothing else was wrong with that nsqd: the others are retried.
            let (a_again, ()) = tokio::join!(network.member_connected("a:1"), async {
                b.confirm_all(&["2", "3"]).await;
            });
            all_ok([second, third]).await;
            drop(a_again);
        });
    }
}

/// pool contract: 3
#[test]
fn served_connection_is_replaced_after_an_invalid_publish() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(primary).await;
        let before = publish(&pool, "0");
        a.confirm("0").await;
        before.await.unwrap();
        let [invalid, second, third] = publish_each(&pool, ["1", "2", "3"]);
        a.expect_pubs(&["1", "2", "3"]).await;
        a.reject("E_BAD_MESSAGE no").await;
        let kind = ErrorKind::Rejected(ErrorCode::BadMessage);
        assert_error(invalid.await, kind, Delivery::NotWritten);
        let mut a = network.member_connected("a:1").await;
        a.confirm_all(&["2", "3"]).await;
        all_ok([second, third]).await;
        b.expect_silence(s(1)).await;
        assert_eq!(pool_stats(&pool).await.moved, 0);
    });
}

/// pool contract: 6
#[test]
fn publishes_move_if_a_connection_is_not_replaced_in_time() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(primary).await;
        let before = publish(&pool, "0");
        a.confirm("0").await;
        before.await.unwrap();
        let [invalid, second] = publish_each(&pool, ["1", "2"]);
        a.expect_pubs(&["1", "2"]).await;
        a.reject("E_BAD_MESSAGE no").await;
        invalid.await.unwrap_err();
        let lost = network.elapsed();
        // Nothing responds to the handshake.
        let _silent = network.dial().await.accept();
        b.confirm("2").await;
        second.await.unwrap();
        let took = network.elapsed() - lost;
        assert!(took >= s(1) && took < ms(1_100), "{took:?}");
        let third = publish(&pool, "3");
        b.confirm("3").await;
        third.await.unwrap();
    });
}

/// pool contract: 3
#[test]
fn denied_topic_is_rejected_for_all_members() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(primary).await;
        let denied = publish(&pool, "1");
        a.expect_pub("t", "1").await;
        a.reject("E_UNAUTHORIZED PUB failed").await;
        let kind = ErrorKind::Rejected(ErrorCode::Unauthorized);
        assert_error(denied.await, kind, Delivery::NotWritten);
        // The others would reject it, too.
        let error = publish(&pool, "2").await.unwrap_err();
        assert_eq!(error.scope(), ErrorScope::Topic);
        b.expect_silence(ms(500)).await;
    });
}

/// pool contract: 3
#[test]
fn locally_invalid_publish_reaches_no_member() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(primary).await;
        for (message, kind) in [
            (Publish::new("no topic!", "1"), ErrorKind::InvalidName),
            (Publish::new(topic("t"), ""), ErrorKind::EmptyBody),
            (
                Publish::new(topic("t"), vec![0; 2 << 20]),
                ErrorKind::TooLarge,
            ),
        ] {
            assert_error(send(&pool, message).await, kind, Delivery::NotWritten);
        }
        a.expect_silence(s(1)).await;
        b.expect_silence(s(1)).await;
        let stats = pool_stats(&pool).await;
        assert_eq!(
            (stats.published, stats.rejected, stats.not_written),
            (3, 3, 3)
        );
    });
}

/// pool contract: 6
#[test]
fn publishes_wait_in_the_pool_while_no_member_is_up() {
    in_virtual_time(async |mut network: Network| {
        let pool = network.start_pool_with(2, primary);
        let events = events_of(&pool);
        let [first, second] = publish_each(&pool, ["1", "2"]);
        for _ in 0..4 {
            network.dial().await.refuse();
        }
        let stats = pool_stats(&pool).await;
        assert_eq!((stats.waiting, stats.held, stats.state.up), (2, 2, 0));
        for member in pool_members(&pool).await {
            assert_eq!((member.state, member.outstanding), (MemberState::Down, 0));
        }
        let mut peer = network.connected().await;
        peer.confirm_all(&["1", "2"]).await;
        all_ok([first, second]).await;
        let shown: Vec<_> = events.take().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "a:1: added to the pool",
                "b:1: added to the pool",
                "no member of the pool is connected",
                "a member of the pool is connected",
            ]
        );
    });
}

/// pool contract: 1, 6
#[test]
fn timeout_without_a_member_names_the_last_failure() {
    in_virtual_time(async |mut network: Network| {
        let pool = network.start_pool_with(2, primary);
        let answer = publish_within(&pool, s(2), "1");
        let refusing = async {
            loop {
                network.dial().await.refuse();
            }
        };
        let error = tokio::select! {
            error = never_sent(answer) => error,
            () = refusing => unreachable!("dials do not end"),
        };
        let text = error.to_string();
        assert!(text.contains("refused"), "{text}");
    });
}

/// pool contract: 6
#[test]
fn member_that_is_lost_holds_nothing() {
    in_virtual_time(async |mut network: Network| {
        let window = |config| primary(config).publish_window(2);
        let (pool, [mut a, mut b]) = network.start_pool(window).await;
        let events = events_of(&pool);
        let answers = publish_each(&pool, ["1", "2", "3", "4", "5"]);
        a.expect_pubs(&["1", "2"]).await;
        b.expect_silence(ms(10)).await;
        a.fin().await;
        b.confirm_all(&["3", "4"]).await;
        b.confirm("5").await;
        let mut answers = answers.into_iter();
        lost(answers.next().unwrap()).await;
        lost(answers.next().unwrap()).await;
        all_ok(answers).await;
        let members = pool_members(&pool).await;
        assert_eq!(members[0].outstanding, 0);
        assert!(events.take().iter().any(|event| matches!(
            event,
            PoolEvent::Moved {
                publishes: 3,
                reason: MoveReason::Disconnected,
                ..
            }
        )));
        // Nothing waits for it.
        sleep(s(1)).await;
        assert_eq!(pool_stats(&pool).await.held, 0);
    });
}

/// pool contract: 6
#[test]
fn fail_fast_pool_rejects_only_while_no_member_is_up() {
    use actix_nsq::WaitForConnection::Never;
    in_virtual_time(async |mut network: Network| {
        let fail_fast = |config| primary(config).wait_for_connection(Never);
        let pool = network.start_pool_with(2, fail_fast);
        let error = publish(&pool, "1").await.unwrap_err();
        let is = (error.kind(), error.delivery());
        assert_eq!(is, (ErrorKind::NotConnected, Delivery::NotWritten));
        let mut peer = network.connected().await;
        sleep(ms(1)).await;
        let answer = publish(&pool, "2");
        peer.confirm("2").await;
        answer.await.unwrap();
    });
}

/// pool contract: 6
#[test]
fn fail_fast_pool_accepts_while_a_connection_is_replaced() {
    use actix_nsq::WaitForConnection::Never;
    in_virtual_time(async |mut network: Network| {
        let fail_fast = |config| primary(config).wait_for_connection(Never);
        let (pool, [mut a]) = network.start_pool(fail_fast).await;
        sleep(ms(1)).await;
        pool.send(Reconnect).await.unwrap();
        let first = publish(&pool, "1");
        a.wait_closed().await;
        let mut a = network.member_connected("a:1").await;
        a.confirm("1").await;
        first.await.unwrap();
        let [invalid, second] = publish_each(&pool, ["2", "3"]);
        a.expect_pubs(&["2", "3"]).await;
        // nsqd has not closed the connection yet.
        a.send(error_frame("E_BAD_MESSAGE no")).await;
        invalid.await.unwrap_err();
        sleep(ms(1)).await;
        let third = publish(&pool, "4");
        sleep(ms(1)).await;
        drop(a);
        let mut a = network.member_connected("a:1").await;
        a.confirm_all(&["3", "4"]).await;
        all_ok([second, third]).await;
    });
}
