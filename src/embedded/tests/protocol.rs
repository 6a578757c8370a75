//! What is answered, stored and refused: each line as a real nsqd 1.3.0 did it.

use super::*;

/// Sends the bytes behind the magic, then ends its side. Compares the answers, the ending, and how
/// many messages the topic `t` then holds.
#[track_caller]
pub(super) fn check(sent: &[u8], answers: &[Vec<u8>], end: End, stored: usize) {
    let nsqd = EmbeddedNsqd::builder()
        .max_msg_size(1024)
        .max_body_size(2048)
        .start()
        .unwrap();
    let mut client = Client::connect(&nsqd);
    client.send(sent);
    let _ = client.0.shutdown(Shutdown::Write);
    assert_eq!(
        client.rest(),
        (answers.concat().escape_ascii().to_string(), end)
    );
    assert_eq!(nsqd.message_count("t"), stored);
}

#[track_caller]
pub(super) fn check_stored(sent: &[u8], stored: usize) {
    check(sent, &[OK.to_vec()], End::Eof, stored);
}

#[track_caller]
pub(super) fn check_refused(sent: &[u8], text: &str) {
    check(sent, &[error(text)], End::Eof, 0);
}

fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

#[test]
fn a_publish_is_stored_and_answered() {
    check_stored(b"PUB t\n\0\0\0\x01x", 1);
    check_stored(b"PUB t\r\n\0\0\0\x01x", 1);
    check_stored(b"PUB t surplus words\n\0\0\0\x01x", 1);
    check_stored(b"PUB t \n\0\0\0\x01x", 1);
    check_stored(&publish("t", &[7; 1024]), 1);
    check_stored(b"MPUB t\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0\0\x02bb", 2);
    // The length of an MPUB's body is held against the limit, and never against the body.
    check_stored(b"MPUB t\n\0\0\0\x01\0\0\0\x02\0\0\0\x01a\0\0\0\x02bb", 2);
    check_stored(b"DPUB t 0\n\0\0\0\x01x", 1);
    check_stored(b"DPUB t \n\0\0\0\x01x", 1);
    check_stored(b"DPUB t 3600000\n\0\0\0\x01x", 1);
    check_stored(b"DPUB t 18446744073709551616\n\0\0\0\x01x", 1);
}

#[test]
fn a_bad_line_is_refused_in_nsqds_words() {
    check_refused(b"\n", "E_INVALID invalid command ");
    check_refused(b"pub t\n", "E_INVALID invalid command pub");
    check(
        b"\xff\x00 x\n",
        &[frame(1, b"E_INVALID invalid command \xff\x00")],
        End::Eof,
        0,
    );
    for name in ["PUB", "MPUB", "DPUB"] {
        let text = format!("E_INVALID {name} insufficient number of parameters");
        check_refused(format!("{name}\n").as_bytes(), &text);
    }
    check_refused(
        b"DPUB t\n\0\0\0\x01x",
        "E_INVALID DPUB insufficient number of parameters",
    );
    check_refused(
        b"PUB  t\n\0\0\0\x01x",
        "E_BAD_TOPIC PUB topic name \"\" is not valid",
    );
    check_refused(
        b"PUB a\"\xff\n\0\0\0\x01x",
        r#"E_BAD_TOPIC PUB topic name "a\"\xff" is not valid"#,
    );
    check_refused(
        b"DPUB $ 1\n\0\0\0\x01x",
        "E_BAD_TOPIC DPUB topic name \"$\" is not valid",
    );
    check_refused(
        b"MPUB $\n\0\0\0\x01x",
        "E_BAD_TOPIC E_BAD_TOPIC MPUB topic name \"$\" is not valid",
    );
    check_refused(
        b"DPUB t -1\n\0\0\0\x01x",
        "E_INVALID DPUB could not parse timeout -1",
    );
    check_refused(
        b"DPUB t 3600001\n\0\0\0\x01x",
        "E_INVALID DPUB timeout 3600001 out of range 0-3600000",
    );
    check_refused(b"AUTH x\n", "E_INVALID AUTH invalid number of parameters");
    check_refused(b"AUTH\n\0\0\0\x01x", "E_AUTH_DISABLED AUTH disabled");
    for name in ["RDY 1", "FIN 0123456789abcdef", "REQ x", "TOUCH", "CLS"] {
        let text = format!(
            "E_INVALID cannot {} in current state",
            name.split(' ').next().unwrap()
        );
        check_refused(format!("{name}\n").as_bytes(), &text);
    }
}

#[test]
fn a_bad_size_is_refused_before_the_body_has_come() {
    for (name, line) in [("PUB", "PUB t\n"), ("DPUB", "DPUB t 1\n")] {
        let refused = |size: &[u8], text: &str| check_refused(&cat(&[line.as_bytes(), size]), text);
        refused(
            b"\0\0\0\0",
            &format!("E_BAD_MESSAGE {name} invalid message body size 0"),
        );
        refused(
            b"\xff\xff\xff\xff",
            &format!("E_BAD_MESSAGE {name} invalid message body size -1"),
        );
        refused(
            b"\0\0\x04\x01",
            &format!("E_BAD_MESSAGE {name} message too big 1025 > 1024"),
        );
    }
    for (name, line) in [
        ("IDENTIFY", "IDENTIFY\n"),
        ("AUTH", "AUTH\n"),
        ("MPUB", "MPUB t\n"),
    ] {
        let refused = |size: &[u8], text: &str| check_refused(&cat(&[line.as_bytes(), size]), text);
        refused(
            b"\0\0\0\0",
            &format!("E_BAD_BODY {name} invalid body size 0"),
        );
        refused(
            b"\x80\0\0\0",
            &format!("E_BAD_BODY {name} invalid body size -2147483648"),
        );
        refused(
            b"\0\0\x08\x01",
            &format!("E_BAD_BODY {name} body too big 2049 > 2048"),
        );
    }
    let refused =
        |batch: &[u8], text: &str| check_refused(&cat(&[b"MPUB t\n\0\0\0\x64", batch]), text);
    refused(b"\0\0\0\0", "E_BAD_BODY MPUB invalid message count 0");
    refused(
        b"\xff\xff\xff\xfd",
        "E_BAD_BODY MPUB invalid message count -3",
    );
    refused(b"\0\0\x01\x99", "E_BAD_BODY MPUB invalid message count 409");
    refused(
        b"\0\0\0\x02\0\0\0\x01a\0\0\0\0",
        "E_BAD_MESSAGE MPUB invalid message(1) body size 0",
    );
    refused(
        b"\0\0\0\x02\0\0\0\x01a\0\0\x04\x01",
        "E_BAD_MESSAGE MPUB message too big 1025 > 1024",
    );
}

#[test]
fn half_a_command_is_not_executed() {
    check(b"", &[], End::Eof, 0);
    check(b"PUB t", &[], End::Eof, 0);
    check_refused(
        b"PUB t\n\0\0",
        "E_BAD_MESSAGE PUB failed to read message body size",
    );
    check_refused(
        b"PUB t\n\0\0\0\x02x",
        "E_BAD_MESSAGE PUB failed to read message body",
    );
    check_refused(
        b"DPUB t 1\n",
        "E_BAD_MESSAGE DPUB failed to read message body size",
    );
    check_refused(b"MPUB t\n", "E_BAD_BODY MPUB failed to read body size");
    check_refused(
        b"MPUB t\n\0\0\0\x09",
        "E_BAD_BODY MPUB failed to read message count",
    );
    let batch = b"MPUB t\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a";
    check_refused(
        batch,
        "E_BAD_MESSAGE MPUB failed to read message(1) body size",
    );
    check_refused(
        &cat(&[batch, b"\0\0\0\x02b"]),
        "E_BAD_MESSAGE MPUB failed to read message body",
    );
    check_refused(
        b"IDENTIFY\n\0\0\0",
        "E_BAD_BODY IDENTIFY failed to read body size",
    );
    check_refused(
        b"IDENTIFY\n\0\0\0\x02{",
        "E_BAD_BODY IDENTIFY failed to read body",
    );
    let half = error("E_BAD_MESSAGE PUB failed to read message body");
    check(
        b"PUB t\n\0\0\0\x01xPUB t\n\0\0\0\x02x",
        &[OK.to_vec(), half],
        End::Eof,
        1,
    );
}

#[test]
fn a_refused_or_half_mpub_makes_its_topic() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(b"MPUB refused\n\0\0\0\0");
    let mut client = Client::connect(&nsqd);
    client.send(b"MPUB half\n\0\0");
    wait(nsqd.wait_until(|nsqd| nsqd.topics() == ["half", "refused"]));
}

#[test]
fn what_stands_behind_a_refused_command_is_not_executed() {
    let refused = error("E_BAD_TOPIC PUB topic name \"$\" is not valid");
    let sent = [publish("t", b"1"), publish("$", b"2"), publish("t", b"3")].concat();
    check(&sent, &[OK.to_vec(), refused.clone()], End::Eof, 1);
    // More than nsqd's read buffer holds stays in the kernel, which then resets; the frames come
    // first.
    let sent = [
        publish("t", b"1"),
        publish("$", b"2"),
        publish("t", &[3; 1000]).repeat(20),
    ]
    .concat();
    check(&sent, &[OK.to_vec(), refused], End::Reset, 1);
}

#[test]
fn a_line_longer_than_nsqds_buffer_ends_the_connection_without_a_word() {
    let nop = |length: usize| cat(&[b"NOP ", &vec![b'x'; length - 5], b"\n", &publish("t", b"x")]);
    check(&nop(16 * 1024), &[OK.to_vec()], End::Eof, 1);
    check(&nop(16 * 1024 + 1), &[], End::Reset, 0);
    check(&[b'x'; 16 * 1024], &[], End::Eof, 0);
    check(&[b'x'; 40_000], &[], End::Reset, 0);
}

#[test]
fn only_the_magic_opens_the_door() {
    for (sent, end) in [("  V1", End::Eof), ("GET / HTTP/1.1\r\n\r\n", End::Reset)] {
        let nsqd = start();
        let mut client = Client::silent(nsqd.address());
        client.send(sent.as_bytes());
        client.expect(&error("E_BAD_PROTOCOL"));
        client.expect_end(end);
    }
}

#[test]
fn commands_may_come_in_any_pieces() {
    let nsqd = start();
    let mut client = Client::silent(nsqd.address());
    let batch = b"MPUB t\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0\0\x02bb";
    for byte in [
        b"  V2",
        &publish("t", b"body")[..],
        b"NOP\r\n",
        batch,
        &publish("t", b"last"),
    ]
    .concat()
    {
        client.send(&[byte]);
    }
    client.expect(&OK.repeat(3));
    let bodies: Vec<_> = nsqd
        .messages("t")
        .into_iter()
        .map(|message| message.body)
        .collect();
    assert_eq!(bodies, ["body", "a", "bb", "last"]);
}
