//! Automatic batching as nsqd sees it: publishes that wait together are sent as one MPUB.

use actix::Addr;
use actix_nsq::{Delivery, ErrorKind, Producer, Publish, protocol::ErrorCode};

use crate::harness::{
    Network, all_ok, assert_error, in_virtual_time, publish, publish_each, s, send, timed, topic,
};

fn start(network: &Network) -> Addr<Producer> {
    network.start_with(|config| config.auto_batch(true))
}

/// contract: 2, 9
#[test]
fn waiting_publishes_of_one_topic_are_sent_as_one_mpub() {
    in_virtual_time(async |mut network: Network| {
        let producer = start(&network);
        let waiting = publish_each(&producer, ["1", "2", "3"]);
        let other = send(&producer, Publish::new(topic("other"), "4"));
        let mut nsqd = network.connected().await;
        nsqd.expect_mpub("t", &["1", "2", "3"]).await;
        nsqd.expect_pub("other", "4").await;
        nsqd.send_ok().await;
        all_ok(waiting).await;
        nsqd.send_ok().await;
        other.await.unwrap();
        // A single publish does not wait for others.
        let single = async {
            let answer = publish(&producer, "single");
            nsqd.confirm("single").await;
            answer.await.unwrap();
        };
        assert_eq!(timed(single).await.0, s(0));
    });
}

/// contract: 3, 4, 9
/// fault: P19
#[test]
fn rejected_batch_is_retried_one_by_one() {
    in_virtual_time(async |mut network: Network| {
        let producer = start(&network);
        let [one, invalid, two] = publish_each(&producer, ["1", "invalid", "2"]);
        let behind = send(&producer, Publish::new(topic("other"), "behind"));
        let mut nsqd = network.connected().await;
        nsqd.expect_mpub("t", &["1", "invalid", "2"]).await;
        nsqd.expect_pub("other", "behind").await;
        nsqd.reject("E_INVALID MPUB").await;
        let mut nsqd = network.connected().await;
        // Publishes behind the rejected batch are sent before its members.
        nsqd.expect_pub("other", "behind").await;
        nsqd.expect_pubs(&["1", "invalid", "2"]).await;
        nsqd.send_oks(2).await;
        all_ok([behind, one]).await;
        nsqd.reject("E_INVALID PUB").await;
        let rejected = ErrorKind::Rejected(ErrorCode::Invalid);
        assert_error(invalid.await, rejected, Delivery::NotWritten);
        let mut nsqd = network.connected().await;
        nsqd.confirm("2").await;
        two.await.unwrap();
    });
}
