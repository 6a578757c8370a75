//! Looking inside, waiting, stopping and starting again.

use std::{
    net::TcpListener,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::*;

#[test]
fn messages_are_kept_in_order_with_what_is_known_of_them() {
    let nsqd = start();
    let mut first = Client::connect(&nsqd);
    first.send(&publish("t", b"one"));
    first.expect(OK);
    let mut second = Client::connect(&nsqd);
    second.send(b"DPUB t 1500\n\0\0\0\x03twoPUB u\n\0\0\0\x01x");
    second.expect(&OK.repeat(2));

    let messages = nsqd.messages("t");
    let seen: Vec<_> = messages
        .iter()
        .map(|m| (&m.body[..], m.defer, m.connection))
        .collect();
    assert_eq!(
        seen,
        [
            (&b"one"[..], None, 1),
            (b"two", Some(Duration::from_millis(1_500)), 2)
        ]
    );
    assert!(
        messages
            .iter()
            .all(|m| m.id.len() == 16 && m.id.bytes().all(|b| b.is_ascii_hexdigit()))
    );
    assert!(messages[0].id < messages[1].id);
    assert!(messages[0].timestamp > 1_700_000_000_000_000_000);
    assert_eq!(nsqd.topics(), ["t", "u"]);
    assert_eq!(
        (nsqd.message_count("t"), nsqd.message_count("nowhere")),
        (2, 0)
    );
    assert!(nsqd.delete_topic("t") && !nsqd.delete_topic("t"));
    assert_eq!(nsqd.topics(), ["u"]);
}

#[test]
fn commands_are_recorded_refused_ones_too() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(b"NOP\r\nDPUB t 5 x\n\0\0\0\x03abcPUB $\n");
    client.rest();
    let seen: Vec<_> = nsqd
        .commands()
        .into_iter()
        .map(|c| (c.name, c.parameters.join(","), c.body_length))
        .collect();
    let expected = [("NOP", "", 0), ("DPUB", "t,5,x", 3), ("PUB", "$", 0)];
    assert_eq!(
        seen,
        expected.map(|(name, parameters, n)| (name.to_owned(), parameters.to_owned(), n))
    );
    assert_eq!(nsqd.commands()[1].error, None);
    assert_eq!(
        nsqd.commands()[2].error.as_deref(),
        Some("E_BAD_TOPIC PUB topic name \"$\" is not valid")
    );
    assert_eq!(
        (nsqd.command_count("DPUB"), nsqd.command_count("MPUB")),
        (1, 0)
    );
    assert_eq!(nsqd.bytes_received(), 4 + 5 + 18 + 6);
}

#[test]
fn only_the_newest_commands_are_kept_but_all_are_counted() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&[b"NOP old\n".to_vec(), b"NOP\n".repeat(10_000)].concat());
    wait(nsqd.wait_for_command("NOP", 10_001));
    assert_eq!(nsqd.commands().len(), 10_000);
    assert!(
        nsqd.commands()
            .iter()
            .all(|command| command.parameters.is_empty())
    );
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
    let _silent = Client::silent(nsqd.address());
    wait(nsqd.wait_until(|nsqd| nsqd.connections().len() == 2));

    let connections = nsqd.connections();
    assert_eq!(
        connections[0].identify,
        Some(serde_json::json!({"client_id": "me"}))
    );
    assert_eq!(connections[0].peer, client.0.local_addr().unwrap());
    let seen: Vec<_> = connections
        .iter()
        .map(|c| (c.number, c.magic, c.open))
        .collect();
    assert_eq!(seen, [(1, true, true), (2, false, true)]);

    drop(client);
    wait(nsqd.wait_for_connections(0));
    assert!(!nsqd.connections()[0].open);
}

#[test]
fn waiting_ends_when_it_has_come_and_may_be_given_up() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    wait(async {
        let given_up =
            tokio::time::timeout(Duration::from_millis(1), nsqd.wait_for_messages("t", 1));
        assert!(given_up.await.is_err());
        let waiting = nsqd.wait_for_messages("t", 2);
        client.send(&publish("t", b"x").repeat(2));
        assert_eq!(waiting.await.len(), 2);
    });
}

#[test]
fn it_serves_while_the_callers_clock_is_paused() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&publish("t", b"x"));
    let messages = runtime.block_on(nsqd.wait_for_messages("t", 1));
    assert_eq!(messages.len(), 1);
}

#[test]
fn stopped_it_is_gone_and_restarted_it_is_back_with_its_messages() {
    let nsqd = start();
    for round in 1..=20 {
        let mut client = Client::connect(&nsqd);
        client.send(&publish("t", b"x"));
        client.expect(OK);
        nsqd.stop();
        client.expect_end(End::Eof);
        let refused = TcpStream::connect(nsqd.address()).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(nsqd.connections().iter().all(|connection| !connection.open));
        assert_eq!(nsqd.message_count("t"), round);
        nsqd.restart().unwrap();
    }
    // Both may be called twice.
    nsqd.restart().unwrap();
    nsqd.stop();
    nsqd.stop();
}

/// A process that is being started holds every socket of its parent for a moment, a listening one too.
#[test]
#[cfg(target_os = "linux")]
fn it_restarts_while_its_process_starts_others() {
    let nsqd = start();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                Command::new("true").status().unwrap();
            }
        });
        let restarted = (0..500).try_for_each(|_| {
            nsqd.stop();
            nsqd.restart()
        });
        over.store(true, Ordering::Relaxed);
        restarted.unwrap();
    });
}

#[test]
#[cfg(target_os = "linux")]
fn its_port_is_given_to_nobody_while_it_is_stopped() {
    let nsqd = start();
    nsqd.stop();
    let others: Vec<_> = (0..1_000)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    assert!(
        others
            .iter()
            .all(|other| other.local_addr().unwrap() != nsqd.address())
    );
    nsqd.restart().unwrap();
    Client::connect(&nsqd);
}

#[test]
fn dropped_it_leaves_nothing_behind() {
    let nsqd = start();
    let address = nsqd.address();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().freeze(true);
    let mut frozen = Client::silent(address);
    wait(nsqd.wait_until(|nsqd| nsqd.connections().len() == 2));
    drop(nsqd);
    client.expect_end(End::Eof);
    frozen.expect_end(End::Eof);
    assert_eq!(
        TcpStream::connect(address).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    // The port can be had again at once.
    let again = EmbeddedNsqd::builder().address(address).start().unwrap();
    assert_eq!(again.address(), address);
}

#[test]
fn it_listens_where_it_is_told_to() {
    let free = start().address().port();
    let nsqd = EmbeddedNsqd::builder()
        .address("localhost:1")
        .port(free)
        .version("9.9")
        .start()
        .unwrap();
    assert_eq!(nsqd.address().port(), free);
    let mut client = Client::connect(&nsqd);
    client.send(&identify(r#"{"feature_negotiation":true}"#));
    let mut answer = [0; 60];
    client.0.read_exact(&mut answer).unwrap();
    assert!(
        answer
            .escape_ascii()
            .to_string()
            .contains(r#"\"version\":\"9.9\""#)
    );
    assert!(
        EmbeddedNsqd::builder()
            .address(nsqd.address())
            .start()
            .is_err(),
        "the port is taken"
    );
}
