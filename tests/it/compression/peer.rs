//! nsqd's side of a compressed connection. It uses other libraries than the client.

use std::io::{Read, Write};

use actix_nsq::ProducerConfigBuilder;
use flate2::{Compression, Decompress, FlushDecompress, write::DeflateEncoder};
use tokio::io::AsyncReadExt;

use crate::harness::Peer;
use crate::support::spoken::{Command, identify_answer, ok_frame, response_frame};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Method {
    Snappy,
    Deflate,
}

pub(super) const BOTH: [Method; 2] = [Method::Snappy, Method::Deflate];

impl Method {
    pub(super) fn requested(self, config: ProducerConfigBuilder) -> ProducerConfigBuilder {
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

    /// The response to IDENTIFY of an nsqd that grants this method.
    pub(super) fn granted(self) -> Vec<u8> {
        let response = String::from_utf8(identify_answer().split_off(8)).unwrap();
        let [declined, granted] = [false, true].map(|is| format!("\"{}\":{is}", self.name()));
        response_frame(response.replace(&declined, &granted))
    }
}

/// Compresses one stream, burst by burst.
pub(super) enum Compressor {
    Snappy(Box<snap::write::FrameEncoder<Vec<u8>>>),
    Deflate(DeflateEncoder<Vec<u8>>),
}

impl Compressor {
    pub(super) fn new(method: Method) -> Self {
        match method {
            Method::Snappy => Self::Snappy(snap::write::FrameEncoder::new(Vec::new()).into()),
            Method::Deflate => {
                Self::Deflate(DeflateEncoder::new(Vec::new(), Compression::default()))
            }
        }
    }

    pub(super) fn burst(&mut self, plain: impl AsRef<[u8]>) -> Vec<u8> {
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

/// Decompresses all that is complete.
pub(super) fn decompress(method: Method, compressed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match method {
        Method::Snappy => {
            // EOF inside a chunk is an error, after the complete chunks were read.
            let _ = snap::read::FrameDecoder::new(compressed).read_to_end(&mut plain);
        }
        Method::Deflate => {
            // More than any client of these tests sends.
            plain.reserve(64 << 10);
            let mut inflate = Decompress::new(false);
            let inflated = inflate.decompress_vec(compressed, &mut plain, FlushDecompress::Sync);
            inflated.unwrap();
        }
    }
    plain
}

/// A connection inside compression.
pub(super) struct Nsqd {
    method: Method,
    pub(super) client: Peer,
    compressor: Compressor,
    pub(super) received: Vec<u8>,
    /// The decompressed bytes that were parsed.
    parsed: usize,
}

impl Nsqd {
    /// Completes the handshake. The layer's OK is sent together with the response to IDENTIFY.
    pub(super) async fn connected(mut client: Peer, method: Method) -> Self {
        let identify = client.identify().await;
        assert_eq!(identify[method.name()], true);
        let mut compressor = Compressor::new(method);
        let ok = compressor.burst(ok_frame());
        client.send([method.granted(), ok].concat()).await;
        Self {
            method,
            client,
            compressor,
            received: Vec::new(),
            parsed: 0,
        }
    }

    pub(super) async fn send(&mut self, plain: impl AsRef<[u8]>) {
        let burst = self.compressor.burst(plain);
        self.client.send(burst).await;
    }

    /// The next command. It must be complete without later bytes.
    pub(super) async fn command(&mut self) -> Command {
        loop {
            let plain = decompress(self.method, &self.received);
            if let Some((command, length)) = Command::parse(&plain[self.parsed..]).unwrap() {
                self.parsed += length;
                return command;
            }
            let stream = self.client.stream();
            let read = stream.read_buf(&mut self.received).await.unwrap();
            assert!(read > 0, "the client has closed");
        }
    }

    pub(super) async fn expect_pub(&mut self, body: &str) {
        let expected = Command::Pub {
            topic: "t".to_owned(),
            body: body.into(),
        };
        assert_eq!(self.command().await, expected);
    }
}
