//! Callers that drop the future of their publish. No other result changes.

use crate::harness::{
    Network, PUB_FAILED, all_ok, in_virtual_time, is_pending, ms, publish_each, rejected, s,
};

/// contract: 7
/// fault: P27
/// checklist: 35
#[test]
fn publish_cancelled_before_it_is_sent_is_never_sent() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let [one, two, three, four, five] = publish_each(&producer, ["1", "2", "3", "4", "5"]);
        // Before the producer has handled it, and afterwards.
        drop(two);
        tokio::time::sleep(ms(1)).await;
        drop((one, five));
        let mut nsqd = network.connected().await;
        nsqd.confirm_all(&["3", "4"]).await;
        all_ok([three, four]).await;
        nsqd.expect_silence(s(20)).await;
    });
}

/// contract: 7
/// fault: P27
/// checklist: 35
#[test]
fn publish_cancelled_in_flight_keeps_its_place() {
    in_virtual_time(async |mut network: Network| {
        let (producer, mut nsqd) = network.start_connected().await;
        let [cancelled, mut kept] = publish_each(&producer, ["cancelled", "kept"]);
        nsqd.expect_pubs(&["cancelled", "kept"]).await;
        drop(cancelled);
        nsqd.send_ok().await;
        tokio::time::sleep(ms(1)).await;
        assert!(is_pending(&mut kept), "completed by the other's OK");
        nsqd.reject(PUB_FAILED).await;
        rejected(kept).await;
    });
}
