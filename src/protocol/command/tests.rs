//! Tests of the encoding of every command with hand-written bytes.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

#[track_caller]
fn assert_encoded(command: Command<'_>, golden: &[u8]) {
    let mut out = Outbox::new();
    command.encode(&mut out);
    assert_eq!(out.len(), golden.len() as u64);
    assert_eq!(out.total(), golden.len() as u64);
    assert_eq!(
        out.take().concat().escape_ascii().to_string(),
        golden.escape_ascii().to_string()
    );
}

fn topic(name: &str) -> Topic {
    Topic::new(name).unwrap()
}

const ID: MessageId = MessageId::new(*b"0123456789abcdef");

#[test]
fn magic_has_two_spaces() {
    assert_eq!(MAGIC, &[0x20, 0x20, 0x56, 0x32]);
}

#[test]
fn identify_and_auth_have_a_sized_body() {
    assert_encoded(Command::Identify(b"{}"), b"IDENTIFY\n\x00\x00\x00\x02{}");
    assert_encoded(Command::Auth(b"secret"), b"AUTH\n\x00\x00\x00\x06secret");
}

#[test]
fn sub_has_topic_and_channel() {
    assert_encoded(
        Command::Subscribe {
            topic: &topic("orders"),
            channel: &Channel::new("mail#ephemeral").unwrap(),
        },
        b"SUB orders mail#ephemeral\n",
    );
}

#[test]
fn pub_has_one_sized_body() {
    assert_encoded(
        Command::Publish {
            topic: &topic("orders"),
            body: &Bytes::from_static(b"hello\n"),
        },
        b"PUB orders\n\x00\x00\x00\x06hello\n",
    );
}

#[test]
fn mpub_length_includes_count_and_length_fields() {
    assert_encoded(
        Command::MultiPublish {
            topic: &topic("orders"),
            bodies: &[Bytes::from_static(b"hello"), Bytes::from_static(b"x")],
        },
        b"MPUB orders\n\x00\x00\x00\x12\x00\x00\x00\x02\x00\x00\x00\x05hello\x00\x00\x00\x01x",
    );
    assert_encoded(
        Command::MultiPublish {
            topic: &topic("t"),
            bodies: &[],
        },
        b"MPUB t\n\x00\x00\x00\x04\x00\x00\x00\x00",
    );
}

#[test]
fn dpub_has_its_delay_in_decimal_milliseconds() {
    assert_encoded(
        Command::DeferredPublish {
            topic: &topic("orders"),
            delay_ms: 3_600_000,
            body: &Bytes::from_static(b"hi"),
        },
        b"DPUB orders 3600000\n\x00\x00\x00\x02hi",
    );
}

#[test]
fn commands_without_a_body_are_one_line() {
    assert_encoded(Command::Ready(0), b"RDY 0\n");
    assert_encoded(Command::Ready(2500), b"RDY 2500\n");
    assert_encoded(Command::Finish(ID), b"FIN 0123456789abcdef\n");
    assert_encoded(
        Command::Requeue {
            id: ID,
            delay_ms: 90,
        },
        b"REQ 0123456789abcdef 90\n",
    );
    assert_encoded(Command::Touch(ID), b"TOUCH 0123456789abcdef\n");
    assert_encoded(Command::Close, b"CLS\n");
    assert_encoded(Command::Nop, b"NOP\n");
}

#[test]
fn large_body_is_not_copied() {
    let body = Bytes::from(vec![b'x'; 5000]);
    let topic = topic("t");
    let mut out = Outbox::new();
    Command::Publish {
        topic: &topic,
        body: &body,
    }
    .encode(&mut out);
    Command::Nop.encode(&mut out);
    let pieces = out.take();
    assert_eq!(pieces.len(), 3);
    assert_eq!(pieces[0], &b"PUB t\n\x00\x00\x13\x88"[..]);
    assert!(std::ptr::eq(&pieces[1][..], &body[..]));
    assert_eq!(pieces[2], "NOP\n");
}

#[test]
fn length_above_u32_max_is_written_as_u32_max() {
    assert_eq!(wire_length(0xffff_ffff), 0xffff_ffff);
    #[cfg(target_pointer_width = "64")]
    assert_eq!(wire_length(0x1_0000_0000), 0xffff_ffff);
    assert_eq!(wire_length(usize::MAX), 0xffff_ffff);
}

#[test]
fn debug_shows_neither_secrets_nor_bodies() {
    let topic = topic("t");
    let body = Bytes::from_static(b"private");
    let shown = [
        (Command::Identify(b"{}"), "Identify(2 bytes)"),
        (Command::Auth(b"private"), "Auth(..)"),
        (
            Command::Publish {
                topic: &topic,
                body: &body,
            },
            r#"Publish { topic: Topic("t"), body: 7 bytes }"#,
        ),
        (
            Command::MultiPublish {
                topic: &topic,
                bodies: &[body.clone(), body.clone()],
            },
            r#"MultiPublish { topic: Topic("t"), bodies: 2 in 26 bytes }"#,
        ),
        (
            Command::DeferredPublish {
                topic: &topic,
                delay_ms: 5,
                body: &body,
            },
            r#"DeferredPublish { topic: Topic("t"), delay_ms: 5, body: 7 bytes }"#,
        ),
        (
            Command::Subscribe {
                topic: &topic,
                channel: &Channel::new("c").unwrap(),
            },
            r#"Subscribe { topic: Topic("t"), channel: Channel("c") }"#,
        ),
        (Command::Ready(5), "Ready(5)"),
        (Command::Finish(ID), "Finish(MessageId(0123456789abcdef))"),
        (
            Command::Requeue {
                id: ID,
                delay_ms: 5,
            },
            "Requeue { id: MessageId(0123456789abcdef), delay_ms: 5 }",
        ),
        (Command::Touch(ID), "Touch(MessageId(0123456789abcdef))"),
        (Command::Close, "Close"),
        (Command::Nop, "Nop"),
    ];
    for (command, text) in shown {
        assert_eq!(format!("{command:?}"), text);
    }
}

proptest! {
    /// Each command ends at the outbox's total, with shared and copied bodies, and whenever the
    /// outbox is taken.
    #[test]
    fn commands_are_complete_and_in_order(
        sizes in prop::collection::vec((1_usize..9000, any::<bool>()), 1..20)
    ) {
        let topic = topic("t");
        let (mut out, mut wire, mut golden) = (Outbox::new(), Vec::new(), Vec::new());
        for (size, taken) in sizes {
            let body = Bytes::from(vec![b'x'; size]);
            Command::Publish { topic: &topic, body: &body }.encode(&mut out);
            golden.extend_from_slice(b"PUB t\n\x00\x00");
            golden.extend_from_slice(&u16::try_from(size).unwrap().to_be_bytes());
            golden.extend_from_slice(&body);
            prop_assert_eq!(out.total(), golden.len() as u64);
            if taken {
                wire.extend(out.take().concat());
                prop_assert!(out.is_empty());
            }
        }
        wire.extend(out.take().concat());
        prop_assert_eq!(wire, golden);
    }
}
