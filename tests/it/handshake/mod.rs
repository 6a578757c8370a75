//! The handshake: what the client says about itself, and which responses begin a connection.

mod failures;
pub(crate) mod upgrades;

use crate::harness::{Network, in_virtual_time, publish, s};
use crate::support::spoken::{heartbeat_frame, identify_answer, ok_frame, response_frame};

/// checklist: 1
#[test]
fn identify_has_the_configured_names_and_values() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start_with(|config| {
            config
                .client_id("shop")
                .hostname("shop-7.example.org")
                .user_agent("shop/2.1")
                .heartbeat_interval(s(15))
                .topology_region("eu-1")
                .topology_zone("eu-1b")
        });
        let identify = network.accept().await.identify().await;
        let expected = serde_json::json!({
            "client_id": "shop",
            "hostname": "shop-7.example.org",
            "user_agent": "shop/2.1",
            "feature_negotiation": true,
            "heartbeat_interval": 15_000,
            "topology_region": "eu-1",
            "topology_zone": "eu-1b",
        });
        assert_eq!(identify, expected);
    });
}

#[test]
fn identify_has_host_and_crate_by_default_and_minus_one_for_off() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start_with(|config| {
            let config = config.heartbeat_interval(None);
            config.output_buffer_size(None).output_buffer_timeout(None)
        });
        let identify = network.accept().await.identify().await;
        let host = hostname::get().unwrap().into_string().unwrap();
        let expected = serde_json::json!({
            "client_id": host.split('.').next().unwrap(),
            "hostname": host,
            "user_agent": concat!("actix-nsq/", env!("CARGO_PKG_VERSION")),
            "feature_negotiation": true,
            "heartbeat_interval": -1,
            "output_buffer_size": -1,
            "output_buffer_timeout": -1,
        });
        assert_eq!(identify, expected);
    });
}

/// fault: P6
/// checklist: 1, 2
#[test]
fn publishes_wait_for_any_valid_response_to_identify() {
    for response in [
        identify_answer(),
        // An nsqd without feature negotiation.
        ok_frame(),
        response_frame("{}"),
        response_frame(r#"{"max_rdy_count":4000000000,"news":{"a":[1]},"version":"9.9"}"#),
    ] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let answer = publish(&producer, "a");
            let mut nsqd = network.accept().await;
            nsqd.identify().await;
            nsqd.expect_silence(s(4)).await;
            nsqd.send(response).await;
            nsqd.confirm("a").await;
            answer.await.unwrap();
        });
    }
}

/// fault: P6
/// checklist: 10, 12
#[test]
fn heartbeats_and_responses_may_be_split_and_joined() {
    let frames = [heartbeat_frame(), identify_answer(), heartbeat_frame()].concat();
    for cut in 0..frames.len() {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let mut nsqd = network.accept().await;
            nsqd.identify().await;
            nsqd.send(&frames[..cut]).await;
            tokio::time::sleep(s(1)).await;
            nsqd.send(&frames[cut..]).await;
            nsqd.expect_nop().await;
            nsqd.expect_nop().await;
            let answer = publish(&producer, "a");
            nsqd.confirm("a").await;
            answer.await.unwrap();
        });
    }
}

/// contract: 12
#[test]
fn failed_handshake_is_repeated() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let answer = publish(&producer, "a");
        let mut nsqd = network.accept().await;
        nsqd.identify().await;
        nsqd.reject("E_INVALID not yet").await;
        let mut nsqd = network.connected().await;
        nsqd.confirm("a").await;
        answer.await.unwrap();
    });
}
