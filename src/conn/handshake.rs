//! The handshake: from connecting to a transport on which nsqd accepts commands.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use serde_json::error::Category;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{
    counter::BytesWritten,
    options::{Compression, ConnOptions, SecretError},
    panic::catch_panic,
    stream::dial,
    transport::Transport,
};
use crate::{
    error::ConnectionError,
    protocol::{AuthResponse, Command, Frame, FrameDecoder, IdentifyResponse, MAGIC, Outbox},
};

/// A transport on which nsqd accepts commands, and the outcome of the handshake.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(super) transport: Transport,
    /// Bytes that the transport below TLS or compression has accepted.
    pub(super) transport_written: BytesWritten,
    pub(crate) negotiated: IdentifyResponse,
    /// The identity that nsqd derived from the secret. `None`: nsqd requires no AUTH.
    pub(crate) auth: Option<AuthResponse>,
    /// Time between IDENTIFY and its response.
    pub(crate) round_trip: Duration,
}

/// Connects to nsqd and performs the handshake.
///
/// Cancel safe: dropping the future closes the transport.
pub(crate) async fn connect(options: &ConnOptions) -> Result<Connected, ConnectionError> {
    let transport = dial(&*options.connector, &options.target()).await?;
    let transport_written = transport.bytes_written();
    let after = options.handshake_timeout;
    let handshake = async {
        let mut peer = Peer {
            transport,
            decoder: FrameDecoder::new(options.max_msg_size),
        };
        let sent = Instant::now();
        let negotiated = identify(&mut peer, options).await?;
        let round_trip = sent.elapsed();
        let peer = start_tls(peer, options, &negotiated).await?;
        let mut peer = start_compression(peer, options, &negotiated).await?;
        let auth = authenticate(&mut peer, options, &negotiated).await?;
        Ok(Connected {
            transport: peer.transport,
            transport_written,
            negotiated,
            auth,
            round_trip,
        })
    };
    let handshake = timeout(
        after,
        catch_panic("the stream or a TLS callback", handshake),
    );
    handshake
        .await
        .map_err(|_| ConnectionError::HandshakeTimeout { after })??
}

async fn identify(
    peer: &mut Peer,
    options: &ConnOptions,
) -> Result<IdentifyResponse, ConnectionError> {
    const STEP: &str = "IDENTIFY";
    let json = options.identify.to_json();
    // Together with the magic: if the peer is not an nsqd, it may close the connection after that,
    // and a second write would fail before the peer's response is read.
    let mut out = Outbox::new();
    Command::Identify(&json).encode(&mut out);
    let mut hello = BytesMut::from(&MAGIC[..]);
    hello.extend(out.take());
    peer.send(hello.freeze()).await?;
    match peer.response().await? {
        Frame::Ok => Ok(IdentifyResponse::legacy()),
        Frame::Response(json) => {
            IdentifyResponse::parse(&json).map_err(|error| not_json(STEP, &error))
        }
        other => Err(unexpected(STEP, &other)),
    }
}

/// Starts TLS if it was requested.
///
/// [`Peer`] has read nothing of the TLS stream yet. Clear-text bytes that follow the response to
/// IDENTIFY are read as TLS, and fail there.
async fn start_tls(
    peer: Peer,
    options: &ConnOptions,
    negotiated: &IdentifyResponse,
) -> Result<Peer, ConnectionError> {
    let is_requested = options.requires_tls();
    if !is_granted("TLS", is_requested, negotiated.tls_v1)? {
        return if is_requested {
            Err(ConnectionError::TlsDeclined)
        } else {
            Ok(peer)
        };
    }
    #[cfg(feature = "rustls")]
    if let Some(tls) = &options.tls {
        return peer
            .upgrade("TLS", async |transport| {
                tls.connect(transport, !negotiated.deflate).await
            })
            .await;
    }
    // Unreachable: without the feature TLS cannot be requested.
    Err(ConnectionError::TlsDeclined)
}

/// Starts compression if it was requested.
async fn start_compression(
    peer: Peer,
    options: &ConnOptions,
    negotiated: &IdentifyResponse,
) -> Result<Peer, ConnectionError> {
    let requested = options.compression;
    let mut granted = None;
    for (method, response) in [
        (Compression::Snappy, negotiated.snappy),
        (Compression::Deflate, negotiated.deflate),
    ] {
        if is_granted(method.name(), requested == Some(method), response)? {
            granted = Some(method);
        }
    }
    match (requested, granted) {
        (_, Some(method)) => {
            let level = negotiated.deflate_level;
            peer.upgrade(method.name(), async |transport| {
                compressed(transport, method, level)
            })
            .await
        }
        (Some(method), None) if !options.allow_uncompressed => {
            Err(ConnectionError::CompressionDeclined {
                method: method.name(),
            })
        }
        _ => Ok(peer),
    }
}

#[cfg(any(feature = "snappy", feature = "deflate"))]
#[cfg_attr(not(feature = "deflate"), expect(unused_variables))]
fn compressed(
    transport: Transport,
    method: Compression,
    level: i64,
) -> Result<Transport, ConnectionError> {
    use super::compressed::Compressed;
    use crate::compression::Method;

    let method = match method {
        #[cfg(feature = "snappy")]
        Compression::Snappy => Method::Snappy,
        // The level that nsqd uses, which may be below the requested one.
        #[cfg(feature = "deflate")]
        Compression::Deflate => {
            Method::Deflate(u32::try_from(level).unwrap_or_default().clamp(1, 9))
        }
        // Unreachable: without its feature a method cannot be requested.
        #[cfg(not(all(feature = "snappy", feature = "deflate")))]
        method => {
            return Err(ConnectionError::CompressionDeclined {
                method: method.name(),
            });
        }
    };
    Ok(Transport::new(Compressed::new(transport, method)))
}

#[cfg(not(any(feature = "snappy", feature = "deflate")))]
fn compressed(_: Transport, method: Compression, _: i64) -> Result<Transport, ConnectionError> {
    Err(ConnectionError::CompressionDeclined {
        method: method.name(),
    })
}

/// Sends the secret if nsqd requires AUTH. nsqd rejects AUTH if it does not require it.
async fn authenticate(
    peer: &mut Peer,
    options: &ConnOptions,
    negotiated: &IdentifyResponse,
) -> Result<Option<AuthResponse>, ConnectionError> {
    const STEP: &str = "AUTH";
    if !negotiated.auth_required {
        return Ok(None);
    }
    let provider_error = |error: SecretError| ConnectionError::AuthSecretProvider {
        source: error.into(),
    };
    let secret = options.auth_secret.load().await.map_err(provider_error)?;
    if secret.is_empty() {
        return Err(ConnectionError::AuthSecretMissing);
    }
    peer.command(&Command::Auth(secret.expose())).await?;
    match peer.response().await {
        Ok(Frame::Response(json)) => AuthResponse::parse(&json)
            .map(Some)
            .map_err(|error| not_json(STEP, &error)),
        Ok(other) => Err(unexpected(STEP, &other)),
        Err(ConnectionError::HandshakeRejected(refusal)) if refusal.is_tls_required() => {
            Err(ConnectionError::TlsRequired(refusal))
        }
        Err(ConnectionError::HandshakeRejected(refusal)) => {
            Err(ConnectionError::AuthRejected(refusal))
        }
        Err(error) => Err(error),
    }
}

/// Returns whether nsqd granted an upgrade. One that was not requested is an error, because the
/// bytes that follow could not be decoded.
fn is_granted(step: &'static str, requested: bool, granted: bool) -> Result<bool, ConnectionError> {
    if granted && !requested {
        return Err(ConnectionError::HandshakeResponse {
            step: "IDENTIFY",
            problem: format!("nsqd enabled {step}, which was not requested"),
        });
    }
    Ok(granted)
}

fn not_json(step: &'static str, error: &serde_json::Error) -> ConnectionError {
    // Not serde's text, which quotes the peer's input at any length.
    let problem = match error.classify() {
        Category::Data => "JSON of an unexpected form",
        Category::Io | Category::Syntax | Category::Eof => "not JSON",
    };
    ConnectionError::HandshakeResponse {
        step,
        problem: problem.into(),
    }
}

fn unexpected(step: &'static str, frame: &Frame) -> ConnectionError {
    ConnectionError::HandshakeResponse {
        step,
        problem: frame.to_string(),
    }
}

/// nsqd during the handshake. It never reads beyond a frame, because the next bytes may belong to
/// an upgrade.
struct Peer {
    transport: Transport,
    decoder: FrameDecoder,
}

impl Peer {
    /// Adds a layer to the transport. nsqd sends `OK` as its first frame inside the layer.
    async fn upgrade(
        self,
        step: &'static str,
        layer: impl AsyncFnOnce(Transport) -> Result<Transport, ConnectionError>,
    ) -> Result<Self, ConnectionError> {
        let mut peer = Self {
            transport: layer(self.transport).await?,
            decoder: self.decoder,
        };
        match peer.response().await? {
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

    /// Returns what the peer has sent after a write has failed, if it says why: a peer that closes
    /// the connection sends that first.
    async fn rejection(&mut self) -> Option<ConnectionError> {
        loop {
            match self.frame().await {
                Ok(Frame::Heartbeat) => {}
                Ok(Frame::Error(refusal)) => {
                    return Some(ConnectionError::HandshakeRejected(refusal));
                }
                Err(error @ (ConnectionError::HttpServer | ConnectionError::NsqlookupdServer)) => {
                    return Some(error);
                }
                _ => return None,
            }
        }
    }

    async fn send(&mut self, bytes: Bytes) -> Result<(), ConnectionError> {
        let sent = async {
            self.transport.write_all(&bytes).await?;
            self.transport.flush().await
        };
        match sent.await {
            Ok(()) => Ok(()),
            Err(error) => Err(match self.rejection().await {
                Some(rejection) => rejection,
                None => read_or_write_error(error),
            }),
        }
    }

    /// Returns the next frame, and responds to heartbeats, which nsqd may send during the
    /// handshake.
    async fn response(&mut self) -> Result<Frame, ConnectionError> {
        loop {
            match self.frame().await? {
                Frame::Heartbeat => self.command(&Command::Nop).await?,
                Frame::Error(refusal) => return Err(ConnectionError::HandshakeRejected(refusal)),
                frame => return Ok(frame),
            }
        }
    }

    async fn frame(&mut self) -> Result<Frame, ConnectionError> {
        let mut header = [0; 4];
        self.transport
            .read_exact(&mut header)
            .await
            .map_err(read_or_write_error)?;
        let size = self.decoder.frame_size(header)?;
        // Grows as bytes arrive: a peer that only claims a large frame causes no large allocation.
        let mut payload = BytesMut::new();
        while payload.len() < size {
            let missing = size - payload.len();
            let read = (&mut self.transport)
                .take(missing as u64)
                .read_buf(&mut payload)
                .await
                .map_err(read_or_write_error)?;
            if read == 0 {
                return Err(ConnectionError::HandshakeClosed);
            }
        }
        Ok(Frame::decode(payload.freeze())?)
    }
}

fn read_or_write_error(error: std::io::Error) -> ConnectionError {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => ConnectionError::HandshakeClosed,
        _ => error.into(),
    }
}
