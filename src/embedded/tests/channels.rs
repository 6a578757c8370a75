//! Topics and channels: who gets a copy, pauses, deletion, ephemeral ones, restarts.

use super::{consumer::*, *};

#[test]
fn each_channel_gets_every_message_and_each_consumer_some() {
    let nsqd = start();
    publish_all(&nsqd, "t", &["1", "2"]);
    // The first channel gets what was there before it; a later one only what comes.
    let mut first = Client::consumer(&nsqd, "t", "first", 1);
    assert_eq!(first.finished(2), ["1", "2"]);
    let mut second = Client::consumer(&nsqd, "t", "second", 1);
    let mut also_second = Client::consumer(&nsqd, "t", "second", 1);
    publish_all(&nsqd, "t", &["3", "4"]);
    assert_eq!(first.finished(2), ["3", "4"]);
    let mut shared = [second.finished(1), also_second.finished(1)].concat();
    shared.sort();
    assert_eq!(shared, ["3", "4"]);
    for channel in ["first", "second"] {
        assert_eq!(counts_when_done(&nsqd, "t", channel), (0, 0));
    }
    let bodies: Vec<_> = nsqd.messages("t").into_iter().map(|m| m.body).collect();
    assert_eq!(bodies, ["1", "2", "3", "4"], "the log keeps what is gone");
}

#[test]
fn paused_channels_and_topics_hold_their_messages_back() {
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
    for unknown in [nsqd.pause_topic("u"), nsqd.unpause_channel("t", "d")] {
        assert!(!unknown);
    }
}

#[test]
fn emptied_they_have_nothing_left() {
    let nsqd = start();
    publish_all(&nsqd, "t", &["1"]);
    assert!(nsqd.empty_topic("t"));
    let mut client = Client::consumer(&nsqd, "t", "c", 1);
    publish_all(&nsqd, "t", &["2", "3"]);
    let (id, _, body) = client.message();
    assert_eq!(body, "2");
    assert!(nsqd.empty_channel("t", "c"));
    assert_eq!(counts_when_done(&nsqd, "t", "c"), (0, 0));
    client.send(format!("FIN {id}\n").as_bytes());
    client.expect(&error(&format!(
        "E_FIN_FAILED FIN {id} failed ID not in flight"
    )));
    // What is gone does not stand in the way of what comes.
    publish_all(&nsqd, "t", &["4"]);
    assert_eq!(client.finished(1), ["4"]);
    assert_eq!(nsqd.message_count("t"), 4);
}

#[test]
fn a_deleted_channel_or_topic_takes_its_consumers_along() {
    let nsqd = start();
    let mut publisher = Client::connect(&nsqd);
    let mut first = Client::consumer(&nsqd, "t", "c", 1);
    assert!(nsqd.delete_channel("t", "c") && !nsqd.delete_channel("t", "c"));
    first.expect_end(End::Eof);
    let mut second = Client::consumer(&nsqd, "t", "c", 1);
    assert_eq!(nsqd.channels("t").len(), 1);
    assert!(nsqd.delete_topic("t"));
    second.expect_end(End::Eof);
    publisher.send(&publish("t", b"x"));
    publisher.expect(OK);
    assert_eq!(nsqd.topic("t").unwrap().channels, []);
}

#[test]
fn what_is_ephemeral_vanishes_with_its_last_consumer() {
    let nsqd = start();
    let mut first = Client::consumer(&nsqd, "t#ephemeral", "c#ephemeral", 1);
    let second = Client::consumer(&nsqd, "t#ephemeral", "c#ephemeral", 1);
    publish_all(&nsqd, "t#ephemeral", &["x"]);
    drop(second);
    wait(nsqd.wait_until(|nsqd| nsqd.channels("t#ephemeral")[0].client_count == 1));
    first.half_close();
    wait(nsqd.wait_until(|nsqd| nsqd.topics().is_empty()));
    // A channel that is not ephemeral keeps its topic.
    drop(Client::consumer(&nsqd, "t#ephemeral", "c", 1));
    wait(nsqd.wait_for_connections(0));
    assert_eq!(nsqd.topics(), ["t#ephemeral"]);
}

#[test]
fn the_consumers_of_a_channel_take_turns() {
    let nsqd = start();
    let mut clients = [(); 3].map(|()| Client::consumer(&nsqd, "t", "c", 1));
    let counts = |nsqd: &EmbeddedNsqd| -> Vec<u64> {
        let clients = nsqd.channel("t", "c").unwrap().clients;
        clients.iter().map(|client| client.message_count).collect()
    };
    for round in 1..=30 {
        let before = counts(&nsqd);
        publish_all(&nsqd, "t", &["x"]);
        wait(nsqd.wait_until(|nsqd| counts(nsqd).iter().sum::<u64>() == round));
        let after = counts(&nsqd);
        let served = (0..3).find(|&client| before[client] < after[client]);
        clients[served.unwrap()].finished(1);
        assert_eq!(counts_when_done(&nsqd, "t", "c"), (0, 0));
    }
    let counts = counts(&nsqd);
    assert!(counts.iter().all(|count| *count >= 5), "{counts:?}");
}

#[test]
fn stopped_it_keeps_what_was_in_flight_and_forgets_delays() {
    let nsqd = start();
    publish_all(&nsqd, "t", &["1"]);
    let mut client = Client::consumer(&nsqd, "t", "c", 1);
    client.message();
    client.send(b"DPUB t 60000\n\0\0\0\x012");
    client.expect(OK);
    nsqd.pause_topic("t");
    client.send(b"DPUB t 60000\n\0\0\0\x013");
    client.expect(OK);
    nsqd.stop();
    nsqd.restart().unwrap();
    nsqd.unpause_topic("t");
    let mut client = Client::consumer(&nsqd, "t", "c", 3);
    let messages = [client.message(), client.message(), client.message()];
    let mut seen = messages.map(|(_, attempts, body)| (body, attempts));
    seen.sort();
    assert_eq!(seen, [("1".into(), 2), ("2".into(), 1), ("3".into(), 1)]);
}
