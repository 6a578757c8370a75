//! Compression by a peer that does it in every way that can be, and wrongly: what is skipped, what breaks a connection off, and that
//! what is sent can be read as soon as it is sent.

use std::{
    cell::RefCell,
    io::{Read, Write},
};

use actix_nsq::{
    ConnectionError, ConnectionEvent, Delivery, ErrorKind, MultiPublish, ProducerConfigBuilder,
    Publish, SubscribeEvents,
};
use flate2::{Compression, Decompress, FlushDecompress, write::DeflateEncoder};
use tokio::{
    io::AsyncReadExt,
    time::{sleep, timeout},
};

use crate::harness::{
    HOUR, Network, Peer, Recorder, assert_error, in_virtual_time, is_pending, ms, publish, s, send,
    topic,
};
use crate::support::spoken::{
    Command, frame, heartbeat_frame, identify_answer, ok_frame, response_frame,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Method {
    Snappy,
    Deflate,
}

const BOTH: [Method; 2] = [Method::Snappy, Method::Deflate];

impl Method {
    fn asked(self, config: ProducerConfigBuilder) -> ProducerConfigBuilder {
        match self {
            Self::Snappy => config.snappy(true),
            Self::Deflate => config.deflate(true),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Snappy => "snappy",
            Self::Deflate => "deflate",
        }
    }

    /// nsqd's answer to IDENTIFY where it grants this one.
    fn granted(self) -> Vec<u8> {
        let answer = String::from_utf8(identify_answer()).unwrap();
        let json = answer.split_once('{').unwrap().1;
        let (from, to) = match self {
            Self::Snappy => (r#""snappy":false"#, r#""snappy":true"#),
            Self::Deflate => (r#""deflate":false"#, r#""deflate":true"#),
        };
        response_frame(format!("{{{}", json.replace(from, to)))
    }
}

/// What nsqd compresses with, a burst at a time.
enum Compressor {
    Snappy(Box<snap::write::FrameEncoder<Vec<u8>>>),
    Deflate(DeflateEncoder<Vec<u8>>),
}

impl Compressor {
    fn new(method: Method) -> Self {
        match method {
            Method::Snappy => Self::Snappy(snap::write::FrameEncoder::new(Vec::new()).into()),
            Method::Deflate => {
                Self::Deflate(DeflateEncoder::new(Vec::new(), Compression::default()))
            }
        }
    }

    fn burst(&mut self, plain: impl AsRef<[u8]>) -> Vec<u8> {
        match self {
            Self::Snappy(snappy) => {
                snappy.write_all(plain.as_ref()).unwrap();
                snappy.flush().unwrap();
                std::mem::take(snappy.get_mut())
            }
            Self::Deflate(deflate) => {
                deflate.write_all(plain.as_ref()).unwrap();
                deflate.flush().unwrap();
                std::mem::take(deflate.get_mut())
            }
        }
    }
}

/// All that can be read of what the client has sent so far.
fn plain(method: Method, compressed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match method {
        Method::Snappy => {
            // An end in the midst of a chunk is an error; what comes before it is not.
            let _ = snap::read::FrameDecoder::new(compressed).read_to_end(&mut plain);
        }
        Method::Deflate => {
            // More than any client of these tests says.
            plain.reserve(64 << 10);
            let mut inflate = Decompress::new(false);
            let inflated = inflate.decompress_vec(compressed, &mut plain, FlushDecompress::Sync);
            inflated.unwrap();
        }
    }
    plain
}

/// A connection inside of compression.
struct Nsqd {
    method: Method,
    client: Peer,
    compressor: Compressor,
    came: Vec<u8>,
    read: usize,
}

impl Nsqd {
    /// Up to the `OK` of the layer, which comes in one piece with the answer to IDENTIFY.
    async fn connected(mut client: Peer, method: Method) -> Self {
        client.expect_magic().await;
        let identify = client.expect_identify().await;
        assert_eq!(identify[method.name()], true);
        let mut compressor = Compressor::new(method);
        let ok = compressor.burst(ok_frame());
        client.send([method.granted(), ok].concat()).await;
        Self {
            method,
            client,
            compressor,
            came: Vec::new(),
            read: 0,
        }
    }

    async fn send(&mut self, plain: impl AsRef<[u8]>) {
        let burst = self.compressor.burst(plain);
        self.client.send(burst).await;
    }

    /// The next command, which must be there without anything more being sent after it.
    async fn command(&mut self) -> Command {
        loop {
            let plain = plain(self.method, &self.came);
            if let Some((command, length)) = Command::parse(&plain[self.read..]).unwrap() {
                self.read += length;
                return command;
            }
            let read = self.client.stream().read_buf(&mut self.came).await.unwrap();
            assert!(read > 0, "the client has closed");
        }
    }

    async fn expect_pub(&mut self, body: &str) {
        let expected = Command::Pub {
            topic: "t".to_owned(),
            body: body.into(),
        };
        assert_eq!(self.command().await, expected);
    }
}

/// fault: T7, T8, T9
/// checklist: 96, 97, 98, 99
#[test]
fn each_burst_can_be_read_as_soon_as_it_is_sent_both_ways() {
    for method in BOTH {
        for chunk in [usize::MAX, 1] {
            in_virtual_time(async move |mut network: Network| {
                let producer = network.start_with(|config| method.asked(config));
                let mut nsqd = Nsqd::connected(network.accept().await, method).await;
                nsqd.client.chunk(chunk);
                for body in ["a", "b", "c"] {
                    let publish = publish(&producer, body);
                    nsqd.expect_pub(body).await;
                    nsqd.send(ok_frame()).await;
                    publish.await.unwrap();
                }
                nsqd.send(heartbeat_frame()).await;
                assert_eq!(nsqd.command().await, Command::Nop);
            });
        }
    }
}

/// fault: T8
/// checklist: 96, 97, 98, 99
#[test]
fn hundreds_of_thousands_of_heartbeats_in_a_few_kib_leave_publishes_their_turn() {
    for method in BOTH {
        in_virtual_time(async move |mut network: Network| {
            let producer = network.start_with(|config| method.asked(config));
            let mut nsqd = Nsqd::connected(network.accept().await, method).await;
            let publish = publish(&producer, "a");
            nsqd.expect_pub("a").await;
            let bomb = heartbeat_frame().repeat(300_000);
            nsqd.send([bomb, ok_frame()].concat()).await;
            publish.await.unwrap();
        });
    }
}

/// Whatever a layer holds when all is handed to it, so much must go within write_timeout, and not all of it.
/// checklist: 96, 97, 98, 99
#[test]
fn a_slow_but_steady_reader_of_a_large_batch_is_not_cut_off_by_what_the_layer_holds() {
    for method in BOTH {
        in_virtual_time(async move |mut network: Network| {
            let producer = network.start_with(|config| {
                method
                    .asked(config)
                    .publish_timeout(HOUR)
                    .heartbeat_interval(None)
                    .ack_timeout(s(60))
            });
            let mut body = vec![0; (1 << 20) - 5];
            fastrand::Rng::with_seed(7).fill(&mut body);
            let batch = MultiPublish::new(topic("t"), vec![body; 5]);
            let mut batch = send(&producer, batch);
            let (client, _line) = network.dial().await.accept_over(4096);
            let mut nsqd = Nsqd::connected(client, method).await;
            // 64 KiB in each 4.9 s, until nothing more comes.
            let size = 64 << 10;
            loop {
                sleep(ms(4_900)).await;
                let mut part = Vec::with_capacity(size);
                let mut stream = nsqd.client.stream().take(size as u64);
                let whole = timeout(ms(50), stream.read_to_end(&mut part)).await;
                assert!(is_pending(&mut batch), "cut off: {method:?}");
                nsqd.came.extend(part);
                if whole.is_err() {
                    break;
                }
            }
            assert!(nsqd.came.len() > 5 << 20, "{} bytes", nsqd.came.len());
            nsqd.send(ok_frame()).await;
            batch.await.unwrap();
        });
    }
}

/// Why the connection was lost, if it was, and what a publish in flight is told, when nsqd says this in place of an answer.
fn answered(method: Method, said: &[u8]) -> (Option<ConnectionError>, Result<(), Delivery>) {
    let outcome = RefCell::new(None);
    in_virtual_time(async |mut network: Network| {
        let producer = network.start_with(|config| method.asked(config));
        let (recipient, seen) = Recorder::start();
        producer.do_send(SubscribeEvents(recipient));
        let publish = publish(&producer, "a");
        let mut nsqd = Nsqd::connected(network.accept().await, method).await;
        nsqd.expect_pub("a").await;
        nsqd.client.send(said).await;
        // Where that says nothing, the answer follows.
        let ok = nsqd.compressor.burst(ok_frame());
        let answer = match said {
            [0xff, ..] | [0xfe, ..] | [0x80, ..] => {
                nsqd.client.send(ok).await;
                publish.await
            }
            _ => publish.await,
        };
        sleep(ms(1)).await;
        let lost = seen.take().into_iter().find_map(|event| match event {
            ConnectionEvent::Disconnected { reason, .. } => Some(reason),
            _ => None,
        });
        let answer = answer.map_err(|error| error.delivery());
        outcome.replace(Some((lost, answer)));
    });
    outcome.take().expect("an outcome")
}

/// fault: T7
/// checklist: 96, 97, 98, 99
#[test]
fn what_says_nothing_in_a_snappy_stream_is_skipped() {
    for said in [
        // Padding, a chunk that may be skipped, and the identifier again.
        &b"\xfe\x05\x00\x00\x00\x00\x00\x00\x00"[..],
        b"\x80\x03\x00\x00any",
        b"\xff\x06\x00\x00sNaPpY",
    ] {
        let (lost, answer) = answered(Method::Snappy, said);
        assert!(lost.is_none(), "{said:?}: {lost:?}");
        assert_eq!(answer, Ok(()), "{said:?}");
    }
}

/// fault: T7
/// checklist: 96, 97, 98, 99
#[test]
fn what_is_no_snappy_breaks_the_connection_off() {
    let good = b"\x01\x0e\x00\x00\x00\x00\x00\x00\x00\x00\x00\x06\x00\x00\x00\x00OK";
    for said in [
        // A checksum that is another's, a reserved chunk that may not be skipped, a length that cannot be, and what is none
        // at all: an `OK` that is not compressed.
        &good[..],
        b"\x02\x03\x00\x00any",
        b"\x00\xff\xff\xff",
        &ok_frame(),
    ] {
        let (lost, answer) = answered(Method::Snappy, said);
        assert!(
            matches!(lost, Some(ConnectionError::Io(_))),
            "{said:?}: {lost:?}"
        );
        assert_eq!(answer, Err(Delivery::MaybeWritten), "{said:?}");
    }
}

/// fault: T8
/// checklist: 96, 97, 98, 99
#[test]
fn what_is_no_deflate_breaks_the_connection_off() {
    for said in [
        // A kind of block that there is not, lengths that do not agree, and an end that comes too early.
        &b"\x07\x00\x00"[..],
        b"\x00\x05\x00\x05\x00hello",
        b"\x03\x00",
    ] {
        let (lost, answer) = answered(Method::Deflate, said);
        assert!(
            matches!(lost, Some(ConnectionError::Io(_))),
            "{said:?}: {lost:?}"
        );
        assert_eq!(answer, Err(Delivery::MaybeWritten), "{said:?}");
    }
}

/// fault: T8
/// checklist: 96, 97, 98, 99
#[test]
fn a_frame_beyond_all_bounds_is_refused_however_well_it_is_compressed() {
    for method in BOTH {
        let mut compressor = Compressor::new(method);
        // The `OK` of the layer went before it, in the same stream.
        compressor.burst(ok_frame());
        let bomb = compressor.burst(frame(0, &vec![0; 8 << 20]));
        in_virtual_time(async |mut network: Network| {
            let producer = network.start_with(|config| method.asked(config));
            let publish = publish(&producer, "a");
            let mut nsqd = Nsqd::connected(network.accept().await, method).await;
            nsqd.expect_pub("a").await;
            nsqd.client
                .send(&bomb[..(bomb.len() / 2).min(32 << 10)])
                .await;
            let error = publish.await.unwrap_err();
            assert_eq!(error.delivery(), Delivery::MaybeWritten);
            let why = error.connection_error();
            assert!(matches!(why, Some(ConnectionError::Protocol(_))), "{why:?}");
        });
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_layer_that_does_not_begin_with_ok_ends_the_handshake() {
    for method in BOTH {
        for plain in [
            heartbeat_frame(),
            response_frame("NO"),
            b"\0\0\0\x06\0\0".to_vec(),
        ] {
            in_virtual_time(async |mut network: Network| {
                let producer = network.start_with(|config| method.asked(config));
                let body = Publish::new(topic("t"), "a").expires_in(s(6));
                let publish = send(&producer, body);
                let mut client = network.accept().await;
                client.expect_magic().await;
                client.expect_identify().await;
                let burst = Compressor::new(method).burst(&plain);
                client.send([method.granted(), burst].concat()).await;
                client.fin().await;
                let said = plain_of(&mut client, method).await;
                assert!(said.is_empty() || said == b"NOP\n", "{said:?}");
                assert_error(publish.await, ErrorKind::Timeout, Delivery::NotWritten);
            });
        }
    }
}

/// What the client says until it goes.
async fn plain_of(client: &mut Peer, method: Method) -> Vec<u8> {
    plain(method, &client.wait_closed().await)
}
