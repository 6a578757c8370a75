//! Consumers: who gets which message when, and what becomes of it.

use std::time::Instant;

use super::*;

const A_SECOND: &str = r#"{"msg_timeout":1000}"#;

impl Client {
    /// A consumer of this channel that is ready for so many messages.
    fn consumer(nsqd: &EmbeddedNsqd, topic: &str, channel: &str, ready: usize) -> Self {
        let mut client = Self::connect(nsqd);
        client.subscribe(topic, channel, ready);
        client
    }

    fn subscribe(&mut self, topic: &str, channel: &str, ready: usize) {
        self.send(format!("SUB {topic} {channel}\nRDY {ready}\n").as_bytes());
        self.expect(OK);
    }

    /// The next message: its id, how often it was tried, and its body.
    #[track_caller]
    fn message(&mut self) -> (String, u16, String) {
        let mut head = [0; 34];
        self.0.read_exact(&mut head).unwrap();
        assert_eq!(head[4..8], [0, 0, 0, 2], "{}", head.escape_ascii());
        let size = u32::from_be_bytes(head[..4].try_into().unwrap());
        let mut body = vec![0; size as usize - 30];
        self.0.read_exact(&mut body).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let attempts = u16::from_be_bytes([head[16], head[17]]);
        (text(&head[18..]), attempts, text(&body))
    }

    /// The bodies of so many messages, each of which is finished.
    #[track_caller]
    fn finished(&mut self, n: usize) -> Vec<String> {
        let finished = (0..n).map(|_| {
            let (id, _, body) = self.message();
            self.send(format!("FIN {id}\n").as_bytes());
            body
        });
        finished.collect()
    }
}

fn publish_all(nsqd: &EmbeddedNsqd, topic: &str, bodies: &[&str]) {
    let mut client = Client::connect(nsqd);
    for body in bodies {
        client.send(&publish(topic, body.as_bytes()));
        client.expect(OK);
    }
}

/// Waits until nothing of a channel is left, and what became of it: requeues and time-outs.
fn counts_when_done(nsqd: &EmbeddedNsqd, topic: &str, channel: &str) -> (u64, u64) {
    let mut info = nsqd.channel(topic, channel).unwrap();
    wait(nsqd.wait_until(|nsqd| {
        info = nsqd.channel(topic, channel).unwrap();
        info.depth + info.in_flight_count + info.deferred_count == 0
    }));
    (info.requeue_count, info.timeout_count)
}

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
fn ready_is_a_ceiling_for_what_is_in_flight() {
    let nsqd = start();
    publish_all(&nsqd, "t", &["1", "2", "3", "4", "5"]);
    let mut client = Client::consumer(&nsqd, "t", "c", 2);
    let (first, _, _) = client.message();
    client.message();
    client.expect_silence();
    client.send(format!("FIN {first}\n").as_bytes());
    assert_eq!(client.message().2, "3");
    client.send(b"RDY 3\n");
    assert_eq!(client.message().2, "4");
    client.send(b"RDY 0\nFIN 0123456789abcdef\n");
    client.expect(&error(
        "E_FIN_FAILED FIN 0123456789abcdef failed ID not in flight",
    ));
    client.expect_silence();
    let info = nsqd.channel("t", "c").unwrap();
    assert_eq!(
        (info.depth, info.in_flight_count, info.message_count),
        (1, 3, 5)
    );
    let [consumer] = &info.clients[..] else {
        panic!("{info:?}")
    };
    assert_eq!(
        (
            consumer.ready_count,
            consumer.in_flight_count,
            consumer.message_count
        ),
        (0, 3, 4)
    );
    assert_eq!((consumer.finish_count, consumer.requeue_count), (1, 0));
}

#[test]
fn a_requeued_message_comes_again_at_once_or_after_its_delay() {
    let nsqd = start();
    publish_all(&nsqd, "t", &["x"]);
    let mut client = Client::consumer(&nsqd, "t", "c", 1);
    let (id, attempts, _) = client.message();
    assert_eq!(attempts, 1);
    client.send(format!("REQ {id} 0\n").as_bytes());
    assert_eq!(client.message(), (id.clone(), 2, "x".into()));
    let begin = Instant::now();
    client.send(format!("REQ {id} 200\n").as_bytes());
    assert_eq!(client.message(), (id.clone(), 3, "x".into()));
    assert!(begin.elapsed() >= Duration::from_millis(200));
    client.send(format!("FIN {id}\n").as_bytes());
    assert_eq!(counts_when_done(&nsqd, "t", "c"), (2, 0));
}

#[test]
fn a_requeue_longer_than_allowed_is_cut_short() {
    let nsqd = EmbeddedNsqd::builder()
        .max_req_timeout(Duration::from_millis(100))
        .start()
        .unwrap();
    publish_all(&nsqd, "t", &["x"]);
    let mut client = Client::consumer(&nsqd, "t", "c", 1);
    let (id, ..) = client.message();
    client.send(format!("REQ {id} 3600000\n").as_bytes());
    assert_eq!(client.message().1, 2);
}

#[test]
fn a_message_in_flight_times_out_unless_it_is_touched() {
    let nsqd = EmbeddedNsqd::builder()
        .max_msg_timeout(Duration::from_millis(1_500))
        .start()
        .unwrap();
    publish_all(&nsqd, "t", &["x"]);
    let mut client = Client::connect(&nsqd);
    client.send(&identify(A_SECOND));
    client.expect(OK);
    let begin = Instant::now();
    client.subscribe("t", "c", 1);
    let (id, ..) = client.message();
    assert_eq!(client.message(), (id.clone(), 2, "x".into()));
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(1_200) {
        let touches = nsqd.command_count("TOUCH");
        client.send(format!("TOUCH {id}\n").as_bytes());
        wait(nsqd.wait_for_command("TOUCH", touches + 1));
    }
    client.expect_silence();
    // Touched or not, it is due at the longest time-out.
    assert_eq!(client.message().1, 3);
    assert!(begin.elapsed() < Duration::from_millis(2_200));
    client.send(format!("FIN {id}\n").as_bytes());
    assert_eq!(counts_when_done(&nsqd, "t", "c"), (0, 2));
    assert_eq!(
        nsqd.channel("t", "c").unwrap().clients[0].in_flight_count,
        0
    );
}

#[test]
fn a_closed_connection_leaves_its_messages_in_flight_until_they_time_out() {
    let nsqd = EmbeddedNsqd::builder()
        .msg_timeout(Duration::from_millis(500))
        .start()
        .unwrap();
    publish_all(&nsqd, "t", &["1", "2"]);
    let begin = Instant::now();
    let mut gone = Client::consumer(&nsqd, "t", "c", 1);
    gone.message();
    drop(gone);
    wait(nsqd.wait_until(|nsqd| nsqd.channel("t", "c").unwrap().client_count == 0));
    assert_eq!(nsqd.channel("t", "c").unwrap().in_flight_count, 1);
    let mut next = Client::consumer(&nsqd, "t", "c", 2);
    assert_eq!(next.message().2, "2");
    assert_eq!(next.message().1, 2);
    assert!(begin.elapsed() >= Duration::from_millis(500));
}

#[test]
fn a_message_belongs_to_one_consumer() {
    let nsqd = start();
    publish_all(&nsqd, "t", &["x"]);
    let mut owner = Client::consumer(&nsqd, "t", "c", 1);
    let (id, ..) = owner.message();
    let mut other = Client::consumer(&nsqd, "t", "c", 1);
    for (command, name) in [("FIN", "FIN"), ("REQ", "REQ"), ("TOUCH", "TOUCH")] {
        other.send(format!("{command} {id} 0\n").as_bytes());
        other.expect(&error(&format!(
            "E_{name}_FAILED {name} {id} failed client does not own message"
        )));
    }
    owner.send(format!("FIN {id}\n").as_bytes());
    assert_eq!(counts_when_done(&nsqd, "t", "c"), (0, 0));
}

#[test]
fn deferred_messages_come_when_their_delay_is_over() {
    let nsqd = start();
    let begin = Instant::now();
    let mut client = Client::connect(&nsqd);
    client.send(b"DPUB t 300\n\0\0\0\x05laterDPUB t 0\n\0\0\0\x03now");
    client.expect(&OK.repeat(2));
    // The delay starts when it reaches a channel.
    assert!(nsqd.create_channel("t", "c"));
    let begin_of_delay = Instant::now();
    assert_eq!(nsqd.channel("t", "c").unwrap().deferred_count, 1);
    client.subscribe("t", "c", 2);
    assert_eq!(client.message().2, "now");
    assert_eq!(client.message().2, "later");
    assert!(begin.elapsed() >= Duration::from_millis(300));
    assert!(begin_of_delay.elapsed() >= Duration::from_millis(290));
}

#[test]
fn closing_it_gets_no_more_and_may_still_answer() {
    let nsqd = start();
    publish_all(&nsqd, "t", &["1", "2", "3"]);
    let mut client = Client::consumer(&nsqd, "t", "c", 2);
    let ids = [client.message().0, client.message().0];
    client.send(b"CLS\n");
    client.expect(&frame(0, b"CLOSE_WAIT"));
    client.send(
        format!(
            "RDY nonsense\nFIN {}\nREQ {} 0\nPUB t\n\0\0\0\x01x",
            ids[0], ids[1]
        )
        .as_bytes(),
    );
    client.expect(OK);
    client.expect_silence();
    client.send(b"CLS\n");
    client.expect(&error("E_INVALID cannot CLS in current state"));
    client.expect_end(End::Eof);
    let info = nsqd.channel("t", "c").unwrap();
    assert_eq!((info.depth, info.requeue_count), (3, 1));
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
fn a_sample_is_a_share_of_the_messages_and_the_rest_is_gone() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&identify(r#"{"sample_rate":1}"#));
    client.expect(OK);
    client.send(&publish("t", b"x").repeat(2_000));
    client.expect(&OK.repeat(2_000));
    client.subscribe("t", "c", 2_500);
    wait(nsqd.wait_until(|nsqd| nsqd.channel("t", "c").unwrap().depth == 0));
    let sampled = nsqd.channel("t", "c").unwrap().in_flight_count;
    // Two in a hundred: one, and nsqd's own error.
    assert!((5..150).contains(&sampled), "{sampled}");
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

#[test]
fn faults_hold_messages_back_like_answers() {
    let nsqd = start();
    publish_all(&nsqd, "t", &["x"]);
    let mut client = Client::connect(&nsqd);
    nsqd.faults().stall(true);
    client.send(b"SUB t c\nRDY 1\n");
    wait(nsqd.wait_until(|nsqd| {
        nsqd.channel("t", "c")
            .is_some_and(|info| info.in_flight_count == 1)
    }));
    client.expect_silence();
    nsqd.faults().stall(false);
    client.expect(OK);
    let (id, ..) = client.message();

    nsqd.faults()
        .fail_next("FIN", "E_FIN_FAILED FIN failed for once");
    client.send(format!("FIN {id}\n").as_bytes());
    client.expect(&error("E_FIN_FAILED FIN failed for once"));
    assert_eq!(nsqd.channel("t", "c").unwrap().in_flight_count, 1);

    nsqd.faults().freeze(true);
    client.send(format!("FIN {id}\n").as_bytes());
    nsqd.faults().freeze(false);
    assert_eq!(counts_when_done(&nsqd, "t", "c"), (0, 0));
}

#[test]
fn many_large_messages_reach_a_slow_reader() {
    let nsqd = start();
    let mut publisher = Client::connect(&nsqd);
    for _ in 0..40 {
        publisher.send(&publish("t", &[b'x'; 500_000]));
        publisher.expect(OK);
    }
    let mut client = Client::consumer(&nsqd, "t", "c", 2_500);
    // More than the sockets hold, so it must wait for us, and still hear us.
    client.send(&b"NOP\n".repeat(10));
    wait(nsqd.wait_for_command("NOP", 10));
    for _ in 0..40 {
        assert_eq!(client.finished(1)[0].len(), 500_000);
    }
    assert_eq!(counts_when_done(&nsqd, "t", "c"), (0, 0));
}
