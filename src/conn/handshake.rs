//! How a connection comes about: awaits in a row, and what they return is the proof that all went well.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::error::Category;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{counter::BytesWritten, transport::Transport};
use crate::{
    config::ProducerConfig,
    error::ConnectionError,
    protocol::{AuthResponse, Command, Frame, FrameDecoder, IdentifyResponse, MAGIC, Outbox},
};

const SNAPPY: &str = "snappy";
const DEFLATE: &str = "deflate";

/// A stream over which nsqd waits for commands, and what was agreed upon.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(super) stream: Transport,
    /// Counts what the stream beneath the layers takes, if there are any.
    pub(super) transport_written: BytesWritten,
    pub(crate) negotiated: IdentifyResponse,
    /// Whom nsqd takes this client for, if it asked.
    pub(crate) auth: Option<AuthResponse>,
    /// From IDENTIFY to its answer.
    pub(crate) round_trip: Duration,
}

/// Dials nsqd and shakes hands.
///
/// Cancel safe: dropped, it closes what it has opened.
pub(crate) async fn connect(config: &ProducerConfig) -> Result<Connected, ConnectionError> {
    let stream = dial(config).await?;
    let transport_written = stream.bytes_written();
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
        let peer = encrypt(peer, config, &negotiated).await?;
        let mut peer = compress(peer, config, &negotiated).await?;
        let auth = authenticate(&mut peer, config, &negotiated).await?;
        Ok(Connected {
            stream: peer.stream,
            transport_written,
            negotiated,
            auth,
            round_trip,
        })
    };
    timeout(after, handshake)
        .await
        .unwrap_or(Err(ConnectionError::HandshakeTimeout { after }))
}

async fn dial(config: &ProducerConfig) -> Result<Transport, ConnectionError> {
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

async fn identify(
    peer: &mut Peer,
    config: &ProducerConfig,
) -> Result<IdentifyResponse, ConnectionError> {
    const STEP: &str = "IDENTIFY";
    let json = config.identify().to_json();
    peer.command(&Command::Identify(&json)).await?;
    match peer.answer().await? {
        Frame::Ok => Ok(IdentifyResponse::legacy()),
        Frame::Response(json) => {
            IdentifyResponse::parse(&json).map_err(|error| not_json(STEP, &error))
        }
        other => Err(unexpected(STEP, &other)),
    }
}

/// TLS, if it was asked for. Its first bytes are not read yet: what else came in clear text is taken for them, and refused.
async fn encrypt(
    peer: Peer,
    config: &ProducerConfig,
    negotiated: &IdentifyResponse,
) -> Result<Peer, ConnectionError> {
    if !granted("TLS", config.tls_v1(), negotiated.tls_v1)? {
        return match config.tls_v1() {
            true => Err(ConnectionError::TlsDeclined),
            false => Ok(peer),
        };
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = config.tls() {
        return peer
            .upgrade("TLS", async |stream| tls.connect(stream).await)
            .await;
    }
    // Without the feature it cannot be asked for.
    Err(ConnectionError::TlsDeclined)
}

/// Compression, if it was asked for.
async fn compress(
    peer: Peer,
    config: &ProducerConfig,
    negotiated: &IdentifyResponse,
) -> Result<Peer, ConnectionError> {
    let snappy = granted(SNAPPY, config.snappy(), negotiated.snappy)?;
    let deflate = granted(DEFLATE, config.deflate(), negotiated.deflate)?;
    let (method, granted) = match (config.snappy(), config.deflate()) {
        (true, _) => (SNAPPY, snappy),
        (_, true) => (DEFLATE, deflate),
        _ => return Ok(peer),
    };
    let level = negotiated.deflate_level;
    match granted {
        true => {
            peer.upgrade(method, async |stream| compressed(stream, method, level))
                .await
        }
        false if config.allow_uncompressed() => Ok(peer),
        false => Err(ConnectionError::CompressionDeclined { method }),
    }
}

#[cfg(any(feature = "snappy", feature = "deflate"))]
#[cfg_attr(not(feature = "deflate"), expect(unused_variables))]
fn compressed(
    stream: Transport,
    method: &'static str,
    level: i64,
) -> Result<Transport, ConnectionError> {
    use super::compressed::Compressed;
    use crate::compression::Method;

    let method = match method {
        #[cfg(feature = "snappy")]
        SNAPPY => Method::Snappy,
        // As nsqd holds it down, which compresses by it, too.
        #[cfg(feature = "deflate")]
        DEFLATE => Method::Deflate(u32::try_from(level).unwrap_or_default().clamp(1, 9)),
        // Without the feature it cannot be asked for.
        method => return Err(ConnectionError::CompressionDeclined { method }),
    };
    Ok(Transport::new(Compressed::new(stream, method)))
}

#[cfg(not(any(feature = "snappy", feature = "deflate")))]
fn compressed(_: Transport, method: &'static str, _: i64) -> Result<Transport, ConnectionError> {
    Err(ConnectionError::CompressionDeclined { method })
}

/// The secret, to an nsqd that requires it: it refuses one that it did not ask for.
async fn authenticate(
    peer: &mut Peer,
    config: &ProducerConfig,
    negotiated: &IdentifyResponse,
) -> Result<Option<AuthResponse>, ConnectionError> {
    const STEP: &str = "AUTH";
    if !negotiated.auth_required {
        return Ok(None);
    }
    let secret = config
        .secret()
        .await
        .map_err(|error| ConnectionError::AuthSecretProvider {
            source: error.into(),
        })?;
    if secret.is_empty() {
        return Err(ConnectionError::AuthSecretMissing);
    }
    peer.command(&Command::Auth(secret.expose())).await?;
    match peer.answer().await {
        Ok(Frame::Response(json)) => AuthResponse::parse(&json)
            .map(Some)
            .map_err(|error| not_json(STEP, &error)),
        Ok(other) => Err(unexpected(STEP, &other)),
        Err(ConnectionError::HandshakeRefused(refusal)) if refusal.is_tls_required() => {
            Err(ConnectionError::TlsRequired(refusal))
        }
        Err(ConnectionError::HandshakeRefused(refusal)) => {
            Err(ConnectionError::AuthRefused(refusal))
        }
        Err(error) => Err(error),
    }
}

/// Whether what was asked for is granted; an error where it was not asked for, since nothing after it could be understood.
fn granted(step: &'static str, asked: bool, answer: bool) -> Result<bool, ConnectionError> {
    if answer && !asked {
        return Err(ConnectionError::HandshakeAnswer {
            step: "IDENTIFY",
            problem: format!("{step} is granted, which was not asked for"),
        });
    }
    Ok(answer)
}

fn not_json(step: &'static str, error: &serde_json::Error) -> ConnectionError {
    // serde's own words quote the peer's, however long those are.
    let problem = match error.classify() {
        Category::Data => "JSON, but not nsqd's",
        Category::Io | Category::Syntax | Category::Eof => "not JSON",
    };
    ConnectionError::HandshakeAnswer {
        step,
        problem: problem.into(),
    }
}

fn unexpected(step: &'static str, frame: &Frame) -> ConnectionError {
    ConnectionError::HandshakeAnswer {
        step,
        problem: format!("unexpected {frame}"),
    }
}

/// nsqd, during the handshake. Exact bytes are read, never more: what follows may belong to the next layer.
struct Peer {
    stream: Transport,
    decoder: FrameDecoder,
}

impl Peer {
    /// The same nsqd inside another layer, in which it says `OK` first of all.
    async fn upgrade(
        self,
        step: &'static str,
        layer: impl AsyncFnOnce(Transport) -> Result<Transport, ConnectionError>,
    ) -> Result<Self, ConnectionError> {
        let mut peer = Self {
            stream: layer(self.stream).await?,
            decoder: self.decoder,
        };
        match peer.answer().await? {
            Frame::Ok => Ok(peer),
            other => Err(unexpected(step, &other)),
        }
    }

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
        Ok(Frame::decode(payload.freeze())?)
    }
}

fn broken(error: std::io::Error) -> ConnectionError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => ConnectionError::HandshakeClosed,
        _ => error.into(),
    }
}
