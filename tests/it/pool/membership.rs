//! Members that are added and removed, and the limits of the whole pool.

use actix_nsq::{
    ConnectionEvent, Delivery, ErrorKind, PoolConfigBuilder, ProducerHandle, SubscribeEvents,
    pool::{AddMember, AddMemberError, MemberState, PoolEvent},
};
use tokio::time::sleep;

use crate::harness::{
    Network, Recorder, all_ok, assert_error, events_of, in_virtual_time, lost, ms, pool_members,
    pool_stats, primary, publish, publish_each, remove_member, s, topic,
};

/// pool contract: 8
#[test]
fn max_pending_limits_the_whole_pool() {
    in_virtual_time(async |mut network: Network| {
        let limits = |config: PoolConfigBuilder| {
            let config = config.auto_batch(true).auto_batch_messages(2);
            let config = config.max_publish_size(30).max_batch_size(30);
            config.max_pending(4).max_pending_bytes(30)
        };
        let (pool, [mut a, mut b]) = network.start_pool(limits).await;
        let answers = publish_each(&pool, ["1", "2", "3", "4"]);
        let full = publish(&pool, "5").await;
        assert_error(full, ErrorKind::Full, Delivery::NotWritten);
        b.expect_mpub("t", &["1", "2"]).await;
        a.expect_mpub("t", &["3", "4"]).await;
        // Those of one member count for all.
        publish(&pool, "6").await.unwrap_err();
        b.send_ok().await;
        sleep(ms(1)).await;
        let bytes = publish(&pool, [b'x'; 29].to_vec()).await;
        assert_error(bytes, ErrorKind::Full, Delivery::NotWritten);
        let last = publish(&pool, [b'x'; 28].to_vec());
        assert_eq!(pool_stats(&pool).await.held_bytes, 30);
        a.send_ok().await;
        all_ok(answers).await;
        b.confirm([b'x'; 28]).await;
        last.await.unwrap();
        let stats = pool_stats(&pool).await;
        assert_eq!(
            (stats.held, stats.held_bytes, stats.rejected_full),
            (0, 0, 3)
        );
    });
}

/// pool contract: 8
#[test]
fn handle_of_a_pool_waits_for_capacity() {
    in_virtual_time(async |mut network: Network| {
        let config = network.pool_config(2).max_pending(1).build().unwrap();
        let handle = ProducerHandle::start_pool(config);
        let [mut a, mut b] = network.members_connected().await;
        let peer = async {
            b.confirm("1").await;
            b.confirm("2").await;
        };
        let publishes = async {
            let (one, two) = tokio::join!(
                handle.publish(topic("t"), "1"),
                handle.publish(topic("t"), "2"),
            );
            one.unwrap();
            two.unwrap();
        };
        tokio::join!(peer, publishes);
        a.expect_silence(ms(10)).await;
    });
}

/// pool contract: 9
#[test]
fn members_are_added_and_removed() {
    in_virtual_time(async |mut network: Network| {
        let options = |config: PoolConfigBuilder| config.max_members(2);
        let config = options(network.pool_config(1)).build().unwrap();
        let (pool, [mut a]) = network.start_pool(options).await;
        sleep(ms(1)).await;
        let events = events_of(&pool);
        let add = async |address: &str| {
            let member = config.member(address).unwrap();
            pool.send(AddMember(member)).await.unwrap()
        };
        add("b:1").await.unwrap();
        let twice = add("b:1").await.unwrap_err();
        assert!(
            matches!(twice, AddMemberError::AlreadyMember { .. }),
            "{twice}"
        );
        let third = add("c:1").await.unwrap_err();
        assert!(
            matches!(third, AddMemberError::TooMany { max: 2, .. }),
            "{third}"
        );
        let b = network.member_connected("b:1").await;
        sleep(ms(1)).await;
        let members = pool_members(&pool).await;
        let shown: Vec<_> = members.iter().map(|it| (&*it.address, it.state)).collect();
        assert_eq!(shown, [("a:1", MemberState::Up), ("b:1", MemberState::Up)]);
        let report = remove_member(&pool, "b:1", s(5)).await.unwrap();
        assert!(report.is_clean());
        drop(b);
        assert!(remove_member(&pool, "b:1", s(5)).await.is_none());
        let answer = publish(&pool, "1");
        a.confirm("1").await;
        answer.await.unwrap();
        let shown: Vec<_> = events.take().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "a:1: added to the pool",
                "a member of the pool is connected",
                "b:1: added to the pool",
                "b:1: removed from the pool",
            ]
        );
        assert_eq!(network.open_connections(), 1);
    });
}

/// pool contract: 9
#[test]
fn removed_member_gives_back_what_is_not_in_flight() {
    in_virtual_time(async |mut network: Network| {
        let window = |config| primary(config).publish_window(1);
        let (pool, [mut a, mut b]) = network.start_pool(window).await;
        let [first, second] = publish_each(&pool, ["1", "2"]);
        a.expect_pub("t", "1").await;
        let removal = async {
            let report = remove_member(&pool, "a:1", s(5)).await.unwrap();
            assert_eq!((report.ok, report.is_clean()), (1, true));
        };
        let peers = async {
            b.confirm("2").await;
            second.await.unwrap();
            let members = pool_members(&pool).await;
            assert_eq!(members[0].state, MemberState::Leaving);
            assert_eq!(pool_stats(&pool).await.members[0].moves.removed, 1);
            let third = publish(&pool, "3");
            b.confirm("3").await;
            third.await.unwrap();
            a.send_ok().await;
            first.await.unwrap();
        };
        tokio::join!(removal, peers);
        let stats = pool_stats(&pool).await;
        assert_eq!((stats.published, stats.ok, stats.state.members), (3, 3, 1));
    });
}

/// pool contract: 9
#[test]
fn removal_ends_at_its_deadline() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, mut b]) = network.start_pool(primary).await;
        let first = publish(&pool, "1");
        a.expect_pub("t", "1").await;
        let began = network.elapsed();
        let report = remove_member(&pool, "a:1", s(5)).await.unwrap();
        let took = network.elapsed() - began;
        assert!(took >= s(5) && took < s(6), "{took:?}");
        assert_eq!((report.ok, report.maybe_written), (0, 1));
        assert_error(first.await, ErrorKind::Drained, Delivery::MaybeWritten);
        let second = publish(&pool, "2");
        b.confirm("2").await;
        second.await.unwrap();
    });
}

/// pool contract: 9
#[test]
fn added_member_connects_whatever_its_configuration_says() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [_a]) = network.start_pool(primary).await;
        let config = network.pool_config(2).connect_at_start(false);
        let member = config.build().unwrap().member("b:1").unwrap();
        pool.send(AddMember(member)).await.unwrap().unwrap();
        network.member_connected("b:1").await;
    });
}

/// pool contract: 9
#[test]
fn last_member_may_be_removed_and_another_added() {
    in_virtual_time(async |mut network: Network| {
        let config = network.pool_config(1).build().unwrap();
        let (pool, [mut a]) = network.start_pool(|config| config.publish_window(1)).await;
        let [first, second] = publish_each(&pool, ["1", "2"]);
        a.expect_pub("t", "1").await;
        let removal = remove_member(&pool, "a:1", s(1)).await;
        assert_eq!(removal.unwrap().maybe_written, 1);
        first.await.unwrap_err();
        assert_eq!(pool_stats(&pool).await.waiting, 1);
        let member = config.member("b:1").unwrap();
        pool.send(AddMember(member)).await.unwrap().unwrap();
        let mut b = network.member_connected("b:1").await;
        b.confirm("2").await;
        second.await.unwrap();
    });
}

/// pool contract: 10
#[test]
fn connection_events_have_the_address_of_their_member() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a, _b]) = network.start_pool(primary).await;
        sleep(ms(1)).await;
        let (recipient, recorder) = Recorder::<ConnectionEvent>::start();
        pool.do_send(SubscribeEvents(recipient));
        sleep(ms(1)).await;
        let mut now: Vec<_> = recorder
            .take()
            .iter()
            .map(|it| it.address().to_owned())
            .collect();
        now.sort();
        assert_eq!(now, ["a:1", "b:1"]);
        let answer = publish(&pool, "1");
        a.expect_pub("t", "1").await;
        a.fin().await;
        lost(answer).await;
        sleep(ms(1)).await;
        let events = recorder.take();
        assert!(
            events.iter().all(|event| event.address() == "a:1"),
            "{events:?}"
        );
        let is_lost =
            |event: &ConnectionEvent| matches!(event, ConnectionEvent::Disconnected { .. });
        assert!(events.iter().any(is_lost), "{events:?}");
    });
}

/// pool contract: 9
#[test]
fn removed_member_is_closed_once() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [_a, _b]) = network.start_pool(primary).await;
        let (recipient, recorder) = Recorder::<ConnectionEvent>::start();
        pool.do_send(SubscribeEvents(recipient));
        remove_member(&pool, "b:1", s(5)).await.unwrap();
        sleep(s(1)).await;
        let events = recorder.take();
        let of_b = events.iter().filter(|event| event.address() == "b:1");
        let closed = of_b.filter(|event| matches!(event, ConnectionEvent::Closed { .. }));
        assert_eq!(closed.count(), 1, "{events:?}");
    });
}

/// pool contract: 10
#[test]
fn pool_reports_when_no_member_is_up_and_when_one_is() {
    in_virtual_time(async |mut network: Network| {
        let (pool, [mut a]) = network.start_pool(primary).await;
        sleep(ms(1)).await;
        let events = events_of(&pool);
        a.fin().await;
        let _a = network.connected().await;
        sleep(ms(1)).await;
        let shown = events.take();
        let is = |event: &PoolEvent| matches!(event, PoolEvent::NoneUp | PoolEvent::UpAgain);
        let shown = shown.iter().filter(|event| is(event));
        let shown: Vec<_> = shown.map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "a member of the pool is connected",
                "no member of the pool is connected",
                "a member of the pool is connected",
            ]
        );
    });
}
