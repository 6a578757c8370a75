//! The handshake: what nsqd is told, and which answers begin a connection.

mod failures;
pub(crate) mod upgrades;

use actix_nsq::Producer;

use crate::harness::{Network, in_virtual_time, publish, s};
use crate::support::spoken::{heartbeat_frame, identify_answer, ok_frame, response_frame};

/// checklist: 10
#[test]
fn nsqd_is_told_who_connects() {
    in_virtual_time(async |mut network: Network| {
        let config = network
            .config()
            .client_id("shop")
            .hostname("shop-7.example.org")
            .user_agent("shop/2.1")
            .heartbeat_interval(s(15))
            .topology_region("eu-1")
            .topology_zone("eu-1b");
        let _producer = Producer::start(config.build().unwrap());
        let mut nsqd = network.accept().await;
        nsqd.expect_magic().await;
        let identify = nsqd.expect_identify().await;
        let expected = serde_json::json!({
            "client_id": "shop",
            "hostname": "shop-7.example.org",
            "user_agent": "shop/2.1",
            "feature_negotiation": true,
            "heartbeat_interval": 15_000,
            "output_buffer_size": 16_384,
            "output_buffer_timeout": 250,
            "topology_region": "eu-1",
            "topology_zone": "eu-1b",
        });
        assert_eq!(identify, expected);
    });
}

/// checklist: 10
#[test]
fn by_default_nsqd_is_told_the_host_and_this_crate() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let identify = network.accept().await.greet().await;
        let host = hostname::get().unwrap().into_string().unwrap();
        assert_eq!(identify["hostname"], host);
        assert_eq!(identify["client_id"], host.split('.').next().unwrap());
        assert_eq!(
            identify["user_agent"],
            concat!("actix-nsq/", env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(identify["heartbeat_interval"], 30_000);
        for absent in [
            "topology_region",
            "tls_v1",
            "snappy",
            "deflate",
            "sample_rate",
        ] {
            assert!(identify.get(absent).is_none(), "{absent} in {identify}");
        }
    });
}

/// checklist: 10
#[test]
fn what_is_switched_off_is_told_as_minus_one() {
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start_with(|config| {
            config
                .heartbeat_interval(None)
                .output_buffer_size(None)
                .output_buffer_timeout(None)
        });
        let identify = network.accept().await.greet().await;
        for off in [
            "heartbeat_interval",
            "output_buffer_size",
            "output_buffer_timeout",
        ] {
            assert_eq!(identify[off], -1, "{off}");
        }
    });
}

/// checklist: 1, 10
#[test]
fn the_first_publish_waits_for_the_answer_to_identify() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "early");
        let mut nsqd = network.accept().await;
        nsqd.expect_magic().await;
        nsqd.expect_identify().await;
        nsqd.expect_silence(s(4)).await;
        nsqd.send(identify_answer()).await;
        nsqd.expect_pub("t", "early").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// fault: P6
/// checklist: 2, 10
#[test]
fn an_old_nsqd_that_answers_just_ok_will_do() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        let mut nsqd = network.accept().await;
        nsqd.expect_magic().await;
        nsqd.expect_identify().await;
        nsqd.send(ok_frame()).await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// fault: P6
/// checklist: 10
#[test]
fn a_newer_nsqd_that_says_more_or_less_will_do() {
    for json in [
        "{}",
        r#"{"max_rdy_count":4000000000,"news":{"a":[1]},"version":"9.9"}"#,
    ] {
        in_virtual_time(async |mut network: Network| {
            let producer = network.start();
            let publish = publish(&producer, "a");
            let mut nsqd = network.accept().await;
            nsqd.expect_magic().await;
            nsqd.expect_identify().await;
            nsqd.send(response_frame(json)).await;
            nsqd.expect_pub("t", "a").await;
            nsqd.send(ok_frame()).await;
            publish.await.unwrap();
        });
    }
}

/// fault: P6
/// checklist: 10
#[test]
fn heartbeats_inside_the_handshake_are_answered() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        let mut nsqd = network.accept().await;
        nsqd.expect_magic().await;
        nsqd.expect_identify().await;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
        nsqd.send(heartbeat_frame()).await;
        nsqd.expect_nop().await;
        nsqd.send(identify_answer()).await;
        nsqd.expect_pub("t", "a").await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}

/// checklist: 10, 12
#[test]
fn the_answer_may_be_split_at_every_byte() {
    let whole = [heartbeat_frame(), identify_answer()].concat();
    for cut in 1..whole.len() {
        in_virtual_time(async |mut network: Network| {
            let _producer = network.start();
            let mut nsqd = network.accept().await;
            nsqd.expect_magic().await;
            nsqd.expect_identify().await;
            nsqd.send(&whole[..cut]).await;
            tokio::time::sleep(s(1)).await;
            nsqd.send(&whole[cut..]).await;
            nsqd.expect_nop().await;
            nsqd.expect_silence(s(1)).await;
        });
    }
}

/// fault: P6
/// checklist: 10
#[test]
fn a_heartbeat_glued_to_the_answer_is_read_and_answers_nothing() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let publish = publish(&producer, "a");
        let mut nsqd = network.accept().await;
        nsqd.expect_magic().await;
        nsqd.expect_identify().await;
        nsqd.send([identify_answer(), heartbeat_frame()].concat())
            .await;
        nsqd.expect_pub("t", "a").await;
        nsqd.expect_nop().await;
        nsqd.send(ok_frame()).await;
        publish.await.unwrap();
    });
}
