//! Checks the embedded nsqd with any bytes of a client, split anywhere, over a real socket.

use std::{
    cell::RefCell,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use actix_nsq::embedded::EmbeddedNsqd;

use super::input::Input;

/// Inputs per embedded nsqd. It records everything it receives, so it is replaced regularly.
const INPUTS: u64 = 200;

/// Maximum time for the embedded nsqd to read or respond.
const TIMEOUT: Duration = Duration::from_secs(10);

thread_local! {
    static NSQD: RefCell<Option<(EmbeddedNsqd, u64)>> = const { RefCell::new(None) };
}

/// The input: a byte with a flag (whether the stream contains the magic) and the number of pieces,
/// the length of each piece, and the stream.
pub fn embedded(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let pieces: Vec<usize> = (0..flags >> 1 & 3).map(|_| input.byte().into()).collect();
    let bytes = match flags & 1 {
        0 => [b"  V2", input.rest()].concat(),
        _ => input.rest().to_vec(),
    };
    NSQD.with_borrow_mut(|nsqd| {
        let (nsqd, connections) = match nsqd {
            Some((_, INPUTS)) | None => nsqd.insert((start(), 0)),
            Some(running) => running,
        };
        *connections += 1;
        talk(nsqd, *connections, &bytes, &pieces);
        for topic in nsqd.topics() {
            assert!(nsqd.delete_topic(&topic));
        }
    });
}

fn start() -> EmbeddedNsqd {
    let nsqd = EmbeddedNsqd::builder().max_msg_size(300).max_body_size(700);
    nsqd.start().expect("loopback has a free port")
}

fn talk(nsqd: &EmbeddedNsqd, number: u64, bytes: &[u8], pieces: &[usize]) {
    let received_before = nsqd.bytes_received();
    let mut client = TcpStream::connect(nsqd.address()).expect("it listens");
    client.set_nodelay(true).expect("a fresh socket");
    client
        .set_read_timeout(Some(TIMEOUT))
        .expect("a fresh socket");
    let mut sent = 0;
    for piece in pieces {
        let end = bytes.len().min(sent + piece);
        // nsqd closes the connection after an error.
        if client.write_all(&bytes[sent..end]).is_err() {
            break;
        }
        sent = end;
        wait_until_read(nsqd, number, received_before + sent as u64);
    }
    let _ = client.write_all(&bytes[sent..]);
    let _ = client.shutdown(Shutdown::Write);
    let mut received = Vec::new();
    let end = client.read_to_end(&mut received);
    if let Err(error) = &end {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    check(nsqd, number, bytes, &received, end.is_err());
}

/// Waits until nsqd has read `total` bytes or closed the connection.
fn wait_until_read(nsqd: &EmbeddedNsqd, number: u64, total: u64) {
    let end = Instant::now() + TIMEOUT;
    let closed = || {
        nsqd.connections()
            .iter()
            .any(|c| c.number == number && !c.open)
    };
    while nsqd.bytes_received() < total && !closed() {
        assert!(Instant::now() < end, "it does not read within {TIMEOUT:?}");
        std::thread::yield_now();
    }
}

/// Asserts that the executed commands and the stored messages are those in the bytes, in order, and
/// that each command was answered once.
fn check(nsqd: &EmbeddedNsqd, number: u64, bytes: &[u8], received: &[u8], reset: bool) {
    let frames = frames(received);
    let commands = nsqd.commands();
    let mut commands = commands
        .iter()
        .filter(|command| command.connection == number)
        .peekable();
    let mut at = 4;
    let mut stored: Vec<(String, Vec<u8>)> = Vec::new();
    let (mut succeeded, mut failed) = (0, Vec::new());
    if commands.peek().is_some() {
        assert!(bytes.starts_with(b"  V2"));
    }
    while let Some(command) = commands.next() {
        let rest = &bytes[at..];
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .expect("a complete line");
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        let recorded = [&[command.name.clone()][..], &command.parameters]
            .concat()
            .join(" ");
        assert_eq!(String::from_utf8_lossy(line), recorded);
        at += end + 1;
        if let Some(error) = &command.error {
            failed.push(error.clone());
            let survived = ["E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"];
            if survived.iter().any(|code| error.starts_with(code)) {
                continue;
            }
            assert!(
                commands.peek().is_none(),
                "it executed a command after {error}"
            );
            break;
        }
        let topic = || command.parameters[0].clone();
        match command.name.as_str() {
            "PUB" | "DPUB" => {
                let body = sized(bytes, &mut at);
                assert_eq!(body.len(), command.body_length);
                assert!((1..=300).contains(&body.len()));
                stored.push((topic(), body.to_vec()));
                succeeded += 1;
            }
            "MPUB" => {
                // nsqd checks the total length once, then reads the announced number of messages.
                let (from, length) = (at + 4, number_at(bytes, &mut at));
                assert!((1..=700).contains(&length));
                for _ in 0..number_at(bytes, &mut at) {
                    let body = sized(bytes, &mut at);
                    assert!((1..=300).contains(&body.len()));
                    stored.push((topic(), body.to_vec()));
                }
                assert_eq!(at - from, command.body_length);
                succeeded += 1;
            }
            "IDENTIFY" => {
                assert_eq!(sized(bytes, &mut at).len(), command.body_length);
                succeeded += 1;
            }
            "SUB" => succeeded += 1,
            "RDY" | "FIN" | "REQ" | "TOUCH" | "CLS" | "NOP" => {}
            other => panic!("{other} cannot succeed"),
        }
    }
    let topics = nsqd.topics();
    let mut in_topics: Vec<_> = topics
        .iter()
        .flat_map(|topic| {
            let messages = nsqd.messages(topic).into_iter();
            messages.map(move |message| (topic.clone(), message.body.to_vec()))
        })
        .collect();
    in_topics.sort();
    stored.sort();
    assert!(in_topics == stored, "{in_topics:?} instead of {stored:?}");

    let of_success = |frame: &&(u32, Vec<u8>)| frame.1 == b"OK" || frame.1.starts_with(b"{");
    let answered = frames.iter().filter(of_success).count();
    let mut errors = frames.iter().filter(|frame| frame.0 == 1);
    for error in &failed {
        match errors.next() {
            Some((_, text)) => assert_eq!(&String::from_utf8_lossy(text), error),
            None => assert!(reset, "{error} was not sent"),
        }
    }
    // One more error response is possible, for the magic or for an incomplete command at the end.
    assert!(errors.count() <= 1);
    // After a reset, responses may be lost.
    assert!(
        answered == succeeded || reset && answered < succeeded,
        "{answered} of {succeeded}"
    );
}

/// Parses the complete frames, which must be valid. Only a reset leaves an incomplete one.
fn frames(received: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let (mut frames, mut at) = (Vec::new(), 0);
    while at + 8 <= received.len() {
        let size = number_at(received, &mut at);
        let Some(frame) = received.get(at..at + size) else {
            break;
        };
        at += size;
        let kind = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]);
        let payload = &frame[4..];
        match kind {
            0 => {
                let known: [&[u8]; 3] = [b"OK", b"CLOSE_WAIT", b"_heartbeat_"];
                assert!(known.contains(&payload) || payload.starts_with(b"{"));
            }
            1 => assert!(payload.starts_with(b"E_")),
            2 => assert!((27..=326).contains(&payload.len())),
            other => panic!("a frame of type {other}"),
        }
        frames.push((kind, payload.to_vec()));
    }
    frames
}

fn number_at(bytes: &[u8], at: &mut usize) -> usize {
    let number = &bytes[*at..*at + 4];
    *at += 4;
    u32::from_be_bytes([number[0], number[1], number[2], number[3]]) as usize
}

fn sized<'a>(bytes: &'a [u8], at: &mut usize) -> &'a [u8] {
    let length = number_at(bytes, at);
    *at += length;
    &bytes[*at - length..*at]
}
