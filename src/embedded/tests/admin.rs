//! Pausing, emptying and deleting topics and channels, and ephemeral ones.

use super::*;

#[test]
fn paused_topic_or_channel_keeps_its_messages() {
    let nsqd = start();
    let mut client = Client::consumer(&nsqd, "t", "c", 10);
    assert!(nsqd.pause_channel("t", "c"));
    publish_all(&nsqd, "t", &["1"]);
    assert_eq!(nsqd.channel("t", "c").unwrap().depth, 1);
    assert!(nsqd.pause_topic("t"));
    publish_all(&nsqd, "t", &["2"]);
    assert_eq!(nsqd.topic("t").unwrap().depth, 1);
    client.expect_silence();
    assert!(nsqd.unpause_channel("t", "c"));
    assert_eq!(client.message().2, "1");
    assert!(nsqd.topic("t").unwrap().paused && !nsqd.channels("t")[0].paused);
    assert!(nsqd.unpause_topic("t"));
    assert_eq!(client.message().2, "2");
    assert!(!nsqd.pause_topic("u") && !nsqd.unpause_channel("t", "d"));
}

#[test]
fn emptied_topic_and_channel_drop_all_messages() {
    let nsqd = start();
    publish_all(&nsqd, "t", &["1"]);
    assert!(nsqd.empty_topic("t"));
    let mut client = Client::consumer(&nsqd, "t", "c", 1);
    publish_all(&nsqd, "t", &["2", "3"]);
    let (id, _, body) = client.message();
    assert_eq!(body, "2");
    assert!(nsqd.empty_channel("t", "c"));
    assert_eq!(counts_when_empty(&nsqd, "t", "c"), (0, 0));
    client.send(format!("FIN {id}\n").as_bytes());
    client.expect(&error(&format!(
        "E_FIN_FAILED FIN {id} failed ID not in flight"
    )));
    publish_all(&nsqd, "t", &["4"]);
    assert_eq!(client.finish(1), ["4"]);
    assert_eq!(nsqd.message_count("t"), 4);
}

#[test]
fn deleted_channel_or_topic_disconnects_its_consumers() {
    let nsqd = start();
    let mut publisher = Client::connect(&nsqd);
    let mut first = Client::consumer(&nsqd, "t", "c", 1);
    assert!(nsqd.delete_channel("t", "c") && !nsqd.delete_channel("t", "c"));
    first.expect_end(End::Eof);
    let mut second = Client::consumer(&nsqd, "t", "c", 1);
    assert_eq!(nsqd.channels("t").len(), 1);
    assert!(nsqd.delete_topic("t") && !nsqd.delete_topic("t"));
    second.expect_end(End::Eof);
    publisher.send(&publish("t", b"x"));
    publisher.expect(OK);
    assert_eq!(nsqd.topic("t").unwrap().channels, []);
}

#[test]
fn created_topic_and_channel_need_valid_names() {
    let nsqd = start();
    assert!(nsqd.create_topic("t") && !nsqd.create_topic("$"));
    assert!(nsqd.create_channel("u", "c") && !nsqd.create_channel("v", "$"));
    assert_eq!(nsqd.topics(), ["t", "u"]);
}

#[test]
fn ephemeral_channel_and_topic_end_with_the_last_consumer() {
    let nsqd = start();
    let mut first = Client::consumer(&nsqd, "t#ephemeral", "c#ephemeral", 1);
    let second = Client::consumer(&nsqd, "t#ephemeral", "c#ephemeral", 1);
    publish_all(&nsqd, "t#ephemeral", &["x"]);
    drop(second);
    wait(nsqd.wait_until(TIMEOUT, |nsqd| {
        nsqd.channels("t#ephemeral")[0].client_count == 1
    }));
    first.shut_down_write();
    wait(nsqd.wait_until(TIMEOUT, |nsqd| nsqd.topics().is_empty()));
    // A channel that is not ephemeral keeps its topic.
    drop(Client::consumer(&nsqd, "t#ephemeral", "c", 1));
    wait(nsqd.wait_for_connections(0, TIMEOUT));
    assert_eq!(nsqd.topics(), ["t#ephemeral"]);
}
