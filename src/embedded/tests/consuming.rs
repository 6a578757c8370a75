//! Messages on their way: what a consumer gets when, and what becomes of it.

use std::time::Instant;

use super::{consumer::*, *};

const A_SECOND: &str = r#"{"msg_timeout":1000}"#;

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
