//! The embedded nsqd: any bytes of a client, in any pieces, over a real socket.

use std::{
    cell::RefCell,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use actix_nsq::embedded::EmbeddedNsqd;

use super::input::Input;

/// What one has received is kept in it, so it is replaced after so many inputs.
const INPUTS: u64 = 200;

const PATIENCE: Duration = Duration::from_secs(10);

thread_local! {
    static NSQD: RefCell<Option<(EmbeddedNsqd, u64)>> = const { RefCell::new(None) };
}

/// The first byte says whether the client sends the magic by itself, and into how many pieces what follows is cut; so many
/// bytes more how long each piece is.
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
        .set_read_timeout(Some(PATIENCE))
        .expect("a fresh socket");
    let mut sent = 0;
    for piece in pieces {
        let end = bytes.len().min(sent + piece);
        // It hangs up on a client that it refuses.
        if client.write_all(&bytes[sent..end]).is_err() {
            break;
        }
        sent = end;
        until_heard(nsqd, number, received_before + sent as u64);
    }
    let _ = client.write_all(&bytes[sent..]);
    let _ = client.shutdown(Shutdown::Write);
    let mut said = Vec::new();
    let end = client.read_to_end(&mut said);
    if let Err(error) = &end {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
    }
    judge(nsqd, number, bytes, &said, end.is_err());
}

/// Waits until it has read so much, or hung up.
fn until_heard(nsqd: &EmbeddedNsqd, number: u64, total: u64) {
    let end = Instant::now() + PATIENCE;
    let closed = || {
        nsqd.connections()
            .iter()
            .any(|c| c.number == number && !c.open)
    };
    while nsqd.bytes_received() < total && !closed() {
        assert!(Instant::now() < end, "it does not read");
        std::thread::yield_now();
    }
}

/// Each command that it says it has executed stands in the bytes, one behind the other, and so does each message.
fn judge(nsqd: &EmbeddedNsqd, number: u64, bytes: &[u8], said: &[u8], reset: bool) {
    let frames = frames(said);
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
            .expect("a whole line");
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        let told = [&[command.name.clone()][..], &command.parameters]
            .concat()
            .join(" ");
        assert_eq!(String::from_utf8_lossy(line), told);
        at += end + 1;
        if let Some(error) = &command.error {
            failed.push(error.clone());
            let mild = ["E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"];
            if mild.iter().any(|code| error.starts_with(code)) {
                continue;
            }
            assert!(commands.peek().is_none(), "it went on after {error}");
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
                // nsqd looks at the length of the whole once, and reads as many messages as are announced.
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
    let mut kept: Vec<_> = topics
        .iter()
        .flat_map(|topic| {
            let messages = nsqd.messages(topic).into_iter();
            messages.map(move |message| (topic.clone(), message.body.to_vec()))
        })
        .collect();
    kept.sort();
    stored.sort();
    assert!(kept == stored, "{kept:?} are kept, of {stored:?}");

    let of_success = |frame: &&(u32, Vec<u8>)| frame.1 == b"OK" || frame.1.starts_with(b"{");
    let heard = frames.iter().filter(of_success).count();
    let mut errors = frames.iter().filter(|frame| frame.0 == 1);
    for error in &failed {
        match errors.next() {
            Some((_, text)) => assert_eq!(&String::from_utf8_lossy(text), error),
            None => assert!(reset, "{error} was not said"),
        }
    }
    // Of the magic, or of half a command at the end.
    assert!(errors.count() <= 1);
    // What it said before it reset the connection may not be there to be read any more.
    assert!(
        heard == succeeded || reset && heard < succeeded,
        "{heard} of {succeeded}"
    );
}

/// What was said, as whole frames of known kinds; only a reset cuts one.
fn frames(said: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let (mut frames, mut at) = (Vec::new(), 0);
    while at + 8 <= said.len() {
        let size = number_at(said, &mut at);
        let Some(frame) = said.get(at..at + size) else {
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
