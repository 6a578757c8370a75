//! Inspecting messages, commands, connections and statistics, and waiting for them.

use std::time::Duration;

use futures::FutureExt;

use super::*;

#[test]
fn messages_are_listed_in_order_with_their_details() {
    let nsqd = start();
    let mut first = Client::connect(&nsqd);
    first.send(&publish("t", b"one"));
    first.expect(OK);
    let mut second = Client::connect(&nsqd);
    second.send(b"DPUB t 1500\n\0\0\0\x03twoPUB u\n\0\0\0\x01x");
    second.expect(&OK.repeat(2));

    let messages = nsqd.messages("t");
    let listed: Vec<_> = messages
        .iter()
        .map(|m| (&m.body[..], m.defer, m.connection))
        .collect();
    assert_eq!(
        listed,
        [
            (&b"one"[..], None, 1),
            (b"two", Some(Duration::from_millis(1_500)), 2)
        ]
    );
    let is_id = |id: &str| id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(messages.iter().all(|m| is_id(&m.id)));
    assert!(messages[0].id < messages[1].id);
    assert!(messages[0].timestamp > 1_700_000_000_000_000_000);
    assert_eq!(nsqd.topics(), ["t", "u"]);
    assert_eq!((nsqd.message_count("t"), nsqd.message_count("v")), (2, 0));
}

#[test]
fn statistics_count_deliveries_and_answers() {
    let nsqd = start();
    publish_all(&nsqd, "t", &["1", "2", "3", "4", "5"]);
    let mut client = Client::consumer(&nsqd, "t", "c", 2);
    client.finish(1);
    client.message();
    let (id, ..) = client.message();
    client.send(format!("RDY 0\nREQ {id} 0\nNOP\n").as_bytes());
    wait(nsqd.wait_for_command("NOP", 1, TIMEOUT));

    let info = nsqd.channel("t", "c").unwrap();
    let counts = (info.depth, info.in_flight_count, info.requeue_count);
    assert_eq!((counts, info.message_count), ((3, 1, 1), 5));
    let [consumer] = &info.clients[..] else {
        panic!("{info:?}")
    };
    assert_eq!((consumer.ready_count, consumer.in_flight_count), (0, 1));
    assert_eq!((consumer.message_count, consumer.connection), (3, 2));
    assert_eq!((consumer.finish_count, consumer.requeue_count), (1, 1));
    assert_eq!(nsqd.messages("t").len(), 5, "finished messages are kept");
}

#[test]
fn rejected_or_incomplete_mpub_creates_its_topic() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(b"MPUB rejected\n\0\0\0\0");
    let mut client = Client::connect(&nsqd);
    client.send(b"MPUB incomplete\n\0\0");
    wait(nsqd.wait_until(TIMEOUT, |nsqd| nsqd.topics() == ["incomplete", "rejected"]));
}

#[test]
fn executed_and_rejected_commands_are_recorded() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(b"NOP\r\nDPUB t 5 x\n\0\0\0\x03abcPUB $\n");
    client.rest();
    let commands = nsqd.commands();
    let recorded: Vec<_> = commands
        .iter()
        .map(|c| (&c.name[..], c.parameters.join(","), c.body_length))
        .collect();
    let expected = [("NOP", "", 0), ("DPUB", "t,5,x", 3), ("PUB", "$", 0)];
    assert_eq!(recorded, expected.map(|(a, b, n)| (a, b.to_owned(), n)));
    assert_eq!(commands[1].error, None);
    assert_eq!(
        commands[2].error.as_deref(),
        Some("E_BAD_TOPIC PUB topic name \"$\" is not valid")
    );
    assert_eq!(nsqd.command_count("DPUB"), 1);
    assert_eq!(nsqd.command_count("MPUB"), 0);
    assert_eq!(nsqd.bytes_received(), 4 + 5 + 18 + 6);
}

#[test]
fn newest_commands_are_kept_and_all_are_counted() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&[b"NOP old\n".to_vec(), b"NOP\n".repeat(10_000)].concat());
    wait(nsqd.wait_for_command("NOP", 10_001, TIMEOUT));
    let commands = nsqd.commands();
    assert_eq!(commands.len(), 10_000);
    assert!(commands.iter().all(|command| command.parameters.is_empty()));
}

#[test]
fn connections_are_listed_with_their_first_identify() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(
        &[
            identify(r#"{"client_id":"me"}"#),
            identify(r#"{"client_id":"ping"}"#),
        ]
        .concat(),
    );
    client.expect(&OK.repeat(2));
    let _silent = Client::without_magic(nsqd.address());
    wait(nsqd.wait_until(TIMEOUT, |nsqd| nsqd.connections().len() == 2));

    let connections = nsqd.connections();
    assert_eq!(
        connections[0].identify,
        Some(serde_json::json!({"client_id": "me"}))
    );
    assert_eq!(connections[0].peer, client.0.local_addr().unwrap());
    let listed: Vec<_> = connections
        .iter()
        .map(|c| (c.number, c.magic, c.open))
        .collect();
    assert_eq!(listed, [(1, true, true), (2, false, true)]);

    client.subscribe("t", "c", 1);
    drop(client);
    wait(nsqd.wait_for_connections(0, TIMEOUT));
    let connection = &nsqd.connections()[0];
    assert!(!connection.open);
    assert_eq!(connection.subscription, Some(("t".into(), "c".into())));
}

#[test]
fn wait_ends_when_messages_arrive_and_can_be_cancelled() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    wait(async {
        let cancelled = nsqd.wait_for_messages("t", 1, TIMEOUT);
        assert!(cancelled.now_or_never().is_none());
        let waiting = nsqd.wait_for_messages("t", 2, TIMEOUT);
        client.send(&publish("t", b"x").repeat(2));
        assert_eq!(waiting.await?.len(), 2);
        Ok(())
    });
}

/// The clock of the runtime is paused, and would end a timeout of tokio at once.
#[tokio::test(start_paused = true)]
async fn wait_ends_after_its_limit_and_says_what_there_is() {
    let nsqd = start();
    let mut client = Client::without_magic(nsqd.address());
    client.send(b"  V2NOP\n");
    client.send(&publish("t", b"x"));
    client.expect(OK);
    let limit = Duration::from_millis(50);
    let began = std::time::Instant::now();
    let messages = nsqd.wait_for_messages("t", 2, limit).await.unwrap_err();
    assert!(began.elapsed() >= limit);
    let connections = nsqd.wait_for_connections(0, limit).await.unwrap_err();
    let commands = nsqd.wait_for_command("NOP", 3, limit).await.unwrap_err();
    let condition = nsqd.wait_until(limit, |_| false).await.unwrap_err();
    for (error, text) in [
        (
            messages,
            "2 messages in topic \"t\" not within 50ms; there are 1",
        ),
        (connections, "0 connections not within 50ms; there are 1"),
        (commands, "3 commands NOP not within 50ms; there are 1"),
        (condition, "the condition not within 50ms"),
    ] {
        assert_eq!(error.to_string(), text);
    }
    // A limit beyond every clock is none.
    nsqd.wait_for_messages("t", 1, Duration::MAX).await.unwrap();
}
