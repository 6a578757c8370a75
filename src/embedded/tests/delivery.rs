//! Delivery of messages, beyond what the conformance table covers.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn consumers_of_a_channel_take_turns() {
    let nsqd = start();
    let mut clients = [(); 3].map(|()| Client::consumer(&nsqd, "t", "c", 1));
    let counts = |nsqd: &EmbeddedNsqd| -> Vec<u64> {
        let clients = nsqd.channel("t", "c").unwrap().clients;
        clients.iter().map(|client| client.message_count).collect()
    };
    for round in 1..=30 {
        let before = counts(&nsqd);
        publish_all(&nsqd, "t", &["x"]);
        wait(nsqd.wait_until(TIMEOUT, |nsqd| counts(nsqd).iter().sum::<u64>() == round));
        let after = counts(&nsqd);
        let served = (0..3).find(|&client| before[client] < after[client]);
        clients[served.unwrap()].finish(1);
        assert_eq!(counts_when_empty(&nsqd, "t", "c"), (0, 0));
    }
    let counts = counts(&nsqd);
    assert!(counts.iter().all(|count| *count >= 5), "{counts:?}");
}

#[test]
fn req_delay_is_limited_by_max_req_timeout() {
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
fn dpub_delay_starts_when_the_message_reaches_a_channel() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(b"DPUB t 300\n\0\0\0\x05laterDPUB t 0\n\0\0\0\x03now");
    client.expect(&OK.repeat(2));
    let begin = Instant::now();
    assert!(nsqd.create_channel("t", "c"));
    assert_eq!(nsqd.channel("t", "c").unwrap().deferred_count, 1);
    client.subscribe("t", "c", 2);
    assert_eq!(client.finish(2), ["now", "later"]);
    assert!(begin.elapsed() >= Duration::from_millis(300));
}

#[test]
fn touch_extends_the_timeout_up_to_max_msg_timeout() {
    let nsqd = EmbeddedNsqd::builder()
        .max_msg_timeout(Duration::from_millis(1_500))
        .start()
        .unwrap();
    publish_all(&nsqd, "t", &["x"]);
    let mut client = Client::connect(&nsqd);
    client.send(&identify(r#"{"msg_timeout":1000}"#));
    client.expect(OK);
    let begin = Instant::now();
    client.subscribe("t", "c", 1);
    let (id, ..) = client.message();
    while nsqd.channel("t", "c").unwrap().timeout_count == 0 {
        assert!(begin.elapsed() < TIMEOUT, "the message never times out");
        let touches = nsqd.command_count("TOUCH");
        client.send(format!("TOUCH {id}\n").as_bytes());
        wait(nsqd.wait_for_command("TOUCH", touches + 1, TIMEOUT));
    }
    assert!(begin.elapsed() >= Duration::from_millis(1_400));
    wait(nsqd.wait_until(TIMEOUT, |nsqd| {
        nsqd.channel("t", "c").unwrap().clients[0].message_count == 2
    }));
    client.send(format!("FIN {id}\n").as_bytes());
    assert_eq!(counts_when_empty(&nsqd, "t", "c"), (0, 1));
    let [consumer] = &nsqd.channel("t", "c").unwrap().clients[..] else {
        panic!("one consumer")
    };
    assert_eq!(consumer.in_flight_count, 0);
}

#[test]
fn sample_rate_keeps_a_share_and_drops_the_rest() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&identify(r#"{"sample_rate":1}"#));
    client.expect(OK);
    client.send(&publish("t", b"x").repeat(2_000));
    client.expect(&OK.repeat(2_000));
    client.subscribe("t", "c", 2_500);
    wait(nsqd.wait_until(TIMEOUT, |nsqd| nsqd.channel("t", "c").unwrap().depth == 0));
    let sampled = nsqd.channel("t", "c").unwrap().in_flight_count;
    // About 2 %: a rate of 1, and nsqd's off-by-one.
    assert!((5..150).contains(&sampled), "{sampled}");
}

#[test]
fn slow_reader_receives_many_large_messages() {
    let nsqd = start();
    let mut publisher = Client::connect(&nsqd);
    for _ in 0..40 {
        publisher.send(&publish("t", &[b'x'; 500_000]));
        publisher.expect(OK);
    }
    let mut client = Client::consumer(&nsqd, "t", "c", 2_500);
    // The messages exceed the socket buffers. nsqd must wait, and still read commands.
    client.send(&b"NOP\n".repeat(10));
    wait(nsqd.wait_for_command("NOP", 10, TIMEOUT));
    for _ in 0..40 {
        assert_eq!(client.finish(1)[0].len(), 500_000);
    }
    assert_eq!(counts_when_empty(&nsqd, "t", "c"), (0, 0));
}

#[test]
fn stop_requeues_messages_in_flight_and_drops_delays() {
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
    let mut received = messages.map(|(_, attempts, body)| (body, attempts));
    received.sort();
    assert_eq!(
        received,
        [("1".into(), 2), ("2".into(), 1), ("3".into(), 1)]
    );
}
