//! The floor of all clients: a blocking program that writes prepared frames and reads responses.
//!
//! * `--kind pub`: writes one PUB per caller in one write, reads their responses, and repeats. With
//!   `--mpub N` each command is an MPUB of N messages.
//! * `--kind mpub`: writes the same messages as one MPUB, or one per topic: what a client that
//!   batches everything queued would do at no cost.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    process::ExitCode,
    time::{Duration, Instant},
};

use peers::{Options, Outcome, process_time};

/// A response frame: size, frame type, and text.
const OK: &[u8] = b"\x00\x00\x00\x06\x00\x00\x00\x00OK";

fn main() -> ExitCode {
    let options = Options::from_command_line();
    match run(&options) {
        Ok(mut outcome) => {
            outcome.print(&options);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> io::Result<Outcome> {
    let one_mpub = match options.kind.as_deref() {
        Some("pub") | None => false,
        Some("mpub") => true,
        Some(kind) => {
            return Err(io::Error::other(format!(
                "--kind {kind}: must be pub or mpub"
            )));
        }
    };
    if one_mpub && options.mpub.is_some() {
        return Err(io::Error::other("--mpub requires --kind pub"));
    }
    if options.bodies.len() > 1 || options.defer.is_some() || !options.producer_opts.is_empty() {
        return Err(io::Error::other(
            "--bodies, --defer and --producer-opt are not supported by the floor",
        ));
    }
    let mut nsqd = Connection::open(&options.address)?;
    let round = options.concurrency * options.mpub.unwrap_or(1);
    let whole = Window::new(options, one_mpub, round);
    nsqd.publish(
        &whole,
        &Window::new(options, one_mpub, options.warmup % round),
        options.warmup / round,
    )?;
    let last = Window::new(options, one_mpub, options.messages % round);
    nsqd.publish(&whole, &last, options.messages / round)
}

/// The commands of one write.
struct Window {
    bytes: Vec<u8>,
    commands: usize,
    messages: usize,
}

impl Window {
    /// A window of `messages`: single, in explicit batches, or batched by topic.
    fn new(options: &Options, one_mpub: bool, messages: usize) -> Self {
        let body = options.body(0);
        let topics = &options.topics;
        let (mut bytes, mut commands) = (Vec::new(), 0);
        if one_mpub {
            for (number, topic) in topics.iter().enumerate() {
                let share = messages / topics.len() + usize::from(number < messages % topics.len());
                commands += usize::from(share > 0);
                mpub(&mut bytes, topic, body, share);
            }
        } else {
            let mut left = messages;
            for topic in topics.iter().cycle() {
                let share = left.min(options.mpub.unwrap_or(1));
                match (share, options.mpub) {
                    (0, _) => break,
                    (_, Some(_)) => mpub(&mut bytes, topic, body, share),
                    (_, None) => {
                        bytes.extend(format!("PUB {topic}\n").as_bytes());
                        bytes.extend((body.len() as u32).to_be_bytes());
                        bytes.extend(body);
                    }
                }
                commands += 1;
                left -= share;
            }
        }
        Self {
            bytes,
            commands,
            messages,
        }
    }
}

fn mpub(bytes: &mut Vec<u8>, topic: &str, body: &[u8], count: usize) {
    if count == 0 {
        return;
    }
    let size = 4 + count * (4 + body.len());
    bytes.extend(format!("MPUB {topic}\n").as_bytes());
    bytes.extend((size as u32).to_be_bytes());
    bytes.extend((count as u32).to_be_bytes());
    for _ in 0..count {
        bytes.extend((body.len() as u32).to_be_bytes());
        bytes.extend(body);
    }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn open(address: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        stream.set_write_timeout(Some(Duration::from_secs(30)))?;
        let identify = concat!(
            r#"{"client_id":"floor","hostname":"floor","user_agent":"floor","#,
            r#""heartbeat_interval":-1}"#
        );
        let mut handshake = b"  V2IDENTIFY\n".to_vec();
        handshake.extend((identify.len() as u32).to_be_bytes());
        handshake.extend(identify.as_bytes());
        stream.write_all(&handshake)?;
        let mut connection = Self {
            stream,
            buffer: vec![0; 64 << 10],
        };
        connection.responses(1, |_| ())?;
        Ok(connection)
    }

    /// Sends `whole` `times` times and `last` once, and reads the responses to each before the
    /// next.
    fn publish(&mut self, whole: &Window, last: &Window, times: usize) -> io::Result<Outcome> {
        let mut outcome = Outcome {
            times: Vec::with_capacity(whole.commands * times + last.commands),
            ..Outcome::default()
        };
        let (started, cpu_before) = (Instant::now(), process_time());
        let mut now = started;
        let windows = std::iter::repeat_n(whole, times).chain((last.messages > 0).then_some(last));
        for window in windows {
            let sent = now;
            self.stream.write_all(&window.bytes)?;
            self.responses(window.commands, |count| {
                now = Instant::now();
                outcome.times.extend(std::iter::repeat_n(now - sent, count));
            })?;
            outcome.ok += window.messages;
        }
        outcome.duration = now - started;
        outcome.cpu_time = process_time() - cpu_before;
        Ok(outcome)
    }

    /// Reads `count` responses, and reports after each read how many arrived. Anything but OK is an
    /// error.
    fn responses(&mut self, count: usize, mut arrived: impl FnMut(usize)) -> io::Result<()> {
        let (mut missing, mut read) = (count * OK.len(), 0);
        while missing > 0 {
            let end = self.buffer.len().min(read + missing);
            let received = self.stream.read(&mut self.buffer[read..end])?;
            if received == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            read += received;
            missing -= received;
            let whole = read / OK.len();
            let (responses, rest) = self.buffer[..read].split_at(whole * OK.len());
            if responses.chunks_exact(OK.len()).any(|frame| frame != OK) {
                return Err(io::Error::other(format!(
                    "nsqd responded {}",
                    responses.escape_ascii()
                )));
            }
            let rest = rest.len();
            self.buffer.copy_within(read - rest..read, 0);
            read = rest;
            arrived(whole);
        }
        Ok(())
    }
}
