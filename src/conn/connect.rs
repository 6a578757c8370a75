//! How a connection comes about: awaits in a row, and what they return is the proof that all went well.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::error::Category;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::stream::Stream;
use crate::{
    config::Config,
    error::ConnectionError,
    protocol::{Command, Frame, FrameDecoder, IdentifyResponse, MAGIC, Outbox},
};

/// A stream over which nsqd waits for commands, and what was agreed upon.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(super) stream: Stream,
    pub(crate) negotiated: IdentifyResponse,
    /// From IDENTIFY to its answer.
    pub(crate) round_trip: Duration,
}

/// Dials nsqd and shakes hands.
///
/// Cancel safe: dropped, it closes what it has opened.
pub(crate) async fn connect(config: &Config) -> Result<Connected, ConnectionError> {
    let stream = dial(config).await?;
    let after = config.handshake_timeout();
    let handshake = async {
        let mut peer = Peer {
            stream,
            decoder: FrameDecoder::new(config.max_msg_size()),
        };
        peer.send(Bytes::from_static(MAGIC)).await?;
        let asked = Instant::now();
        let negotiated = identify(&mut peer, config).await?;
        let round_trip = asked.elapsed();
        // TLS, then compression, then AUTH, each over the stream that the one before it returned.
        if negotiated.auth_required {
            return Err(ConnectionError::AuthRequired);
        }
        Ok(Connected {
            stream: peer.stream,
            negotiated,
            round_trip,
        })
    };
    timeout(after, handshake)
        .await
        .unwrap_or(Err(ConnectionError::HandshakeTimeout { after }))
}

async fn dial(config: &Config) -> Result<Stream, ConnectionError> {
    let after = config.dial_timeout();
    let address = || config.address().to_owned();
    match timeout(after, config.connector().connect(config)).await {
        Ok(Err(ConnectionError::Io(source))) => Err(ConnectionError::Dial {
            address: address(),
            source,
        }),
        Ok(dialled) => dialled,
        Err(_) => Err(ConnectionError::DialTimeout {
            address: address(),
            after,
        }),
    }
}

async fn identify(peer: &mut Peer, config: &Config) -> Result<IdentifyResponse, ConnectionError> {
    let json = config.identify().to_json();
    peer.command(&Command::Identify(&json)).await?;
    match peer.answer().await? {
        Frame::Ok => Ok(IdentifyResponse::legacy()),
        Frame::Response(json) => {
            IdentifyResponse::parse(&json).map_err(|error| ConnectionError::HandshakeAnswer {
                // serde's own words quote the peer's, however long those are.
                problem: match error.classify() {
                    Category::Data => "JSON, but not nsqd's".into(),
                    Category::Io | Category::Syntax | Category::Eof => "not JSON".into(),
                },
            })
        }
        other => Err(ConnectionError::HandshakeAnswer {
            problem: format!("unexpected {other}"),
        }),
    }
}

/// nsqd, during the handshake. Exact bytes are read, never more: what follows may belong to the next layer.
struct Peer {
    stream: Stream,
    decoder: FrameDecoder,
}

impl Peer {
    async fn command(&mut self, command: &Command<'_>) -> Result<(), ConnectionError> {
        let mut out = Outbox::new();
        command.encode(&mut out);
        for bytes in out.take() {
            self.send(bytes).await?;
        }
        Ok(())
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), ConnectionError> {
        self.stream.write_all(&bytes).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)
    }

    /// The next frame that is no heartbeat. nsqd sends those at any time, also here.
    async fn answer(&mut self) -> Result<Frame, ConnectionError> {
        loop {
            match self.frame().await? {
                Frame::Heartbeat => self.command(&Command::Nop).await?,
                Frame::Error(refusal) => return Err(ConnectionError::HandshakeRefused(refusal)),
                frame => return Ok(frame),
            }
        }
    }

    async fn frame(&mut self) -> Result<Frame, ConnectionError> {
        let mut header = [0; 4];
        self.stream.read_exact(&mut header).await.map_err(broken)?;
        let size = self.decoder.frame_size(header)?;
        // Grown as bytes arrive, and not beforehand to what the peer claims.
        let mut payload = BytesMut::new();
        while payload.len() < size {
            let missing = size - payload.len();
            let read = (&mut self.stream)
                .take(missing as u64)
                .read_buf(&mut payload)
                .await
                .map_err(broken)?;
            if read == 0 {
                return Err(ConnectionError::HandshakeClosed);
            }
        }
        Ok(FrameDecoder::frame(payload.freeze())?)
    }
}

fn broken(error: std::io::Error) -> ConnectionError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => ConnectionError::HandshakeClosed,
        _ => error.into(),
    }
}
