//! The bytes between a socket and its session, and the layers that a connection adds: TLS, and
//! compression inside it.

#[cfg(any(feature = "snappy", feature = "deflate"))]
mod compressed;
#[cfg(not(any(feature = "snappy", feature = "deflate")))]
#[path = "wire/uncompressed.rs"]
mod compressed;
#[cfg(feature = "tls")]
pub(super) mod tls;
#[cfg(not(feature = "tls"))]
#[path = "wire/no_tls.rs"]
pub(super) mod tls;

use std::io;

use bytes::{Buf, BytesMut};
use tokio::net::TcpStream;

pub(super) use compressed::Compressed;
use tls::Tls;

/// Maximum bytes per read. All complete commands of a read are executed, and answered with one
/// write.
const READ: usize = 64 * 1024;

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Read from the socket, and not yet decoded.
    pub(super) incoming: BytesMut,
    /// Number of bytes read that are not yet counted as received.
    pub(super) uncounted: usize,
    /// Decrypted, and not yet decompressed.
    decrypted: BytesMut,
    /// Encoded, and not yet accepted by the socket.
    pub(super) outgoing: BytesMut,
    tls: Option<Tls>,
    compressed: Option<Compressed>,
    /// Whether `decode` has returned [`Decoded::TlsEstablished`].
    tls_established: bool,
}

/// The result of one call of [`Wire::decode`].
#[derive(Debug, PartialEq)]
pub(super) enum Decoded {
    /// More input is needed.
    Nothing,
    /// Plain bytes were added, and there may be more.
    Bytes,
    /// The TLS handshake is complete.
    TlsEstablished,
    /// The client closed its TLS.
    TlsClosed,
}

/// A layer to add.
#[derive(Debug)]
pub(super) enum Layer {
    Tls(Tls),
    Compressed(Compressed),
}

impl Wire {
    /// Reads once. Returns `false` at the end of the input.
    pub(super) fn read(&mut self, stream: &TcpStream) -> io::Result<bool> {
        self.incoming.reserve(READ);
        let n = stream.try_read_buf(&mut self.incoming)?;
        self.uncounted += n;
        Ok(n > 0)
    }

    /// Decodes some of the input. An error ends the connection; during the TLS handshake it has
    /// nsqd's text.
    pub(super) fn decode(&mut self, plain: &mut BytesMut) -> Result<Decoded, String> {
        let mut tls_closed = false;
        let compressed = match &mut self.tls {
            None => &mut self.incoming,
            Some(tls) => {
                let read = tls.read(&mut self.incoming, &mut self.decrypted);
                // Handshake records, or an alert.
                tls.write(&[], &mut self.outgoing);
                tls_closed = read?;
                if tls.is_handshaking() {
                    return Ok(Decoded::Nothing);
                }
                if !self.tls_established {
                    self.tls_established = true;
                    return Ok(Decoded::TlsEstablished);
                }
                &mut self.decrypted
            }
        };
        let before = plain.len();
        match &mut self.compressed {
            None => {
                // Copied, so that both buffers keep their allocation.
                plain.extend_from_slice(compressed);
                compressed.clear();
            }
            Some(compression) => compression
                .read(compressed, plain)
                .map_err(|error| error.to_string())?,
        }
        Ok(if plain.len() > before {
            Decoded::Bytes
        } else if tls_closed {
            Decoded::TlsClosed
        } else {
            Decoded::Nothing
        })
    }

    /// Encodes plain bytes, flushes the layers, and appends the result to `outgoing`.
    pub(super) fn encode(&mut self, plain: &[u8]) {
        let mut smaller = BytesMut::new();
        let bytes = match &mut self.compressed {
            None => plain,
            Some(compressed) => {
                if let Err(error) = compressed.write(plain, &mut smaller) {
                    log::error!("embedded nsqd: compression failed: {error}");
                }
                &smaller
            }
        };
        match &mut self.tls {
            None => self.outgoing.extend_from_slice(bytes),
            Some(tls) => tls.write(bytes, &mut self.outgoing),
        }
    }

    /// Adds a layer to both directions. As in nsqd, TLS replaces all layers, and compression is
    /// added inside those that exist.
    pub(super) fn add(&mut self, layer: Layer) {
        match layer {
            Layer::Tls(tls) => {
                self.tls = Some(tls);
                self.compressed = None;
                self.tls_established = false;
            }
            Layer::Compressed(compressed) => self.compressed = Some(compressed),
        }
    }

    /// Discards bytes that were read ahead, as nsqd does when it creates the buffer of a new layer.
    pub(super) fn discard_read_ahead(&mut self) {
        self.incoming.clear();
        self.decrypted.clear();
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.is_some() && !self.tls_established
    }

    /// Removes TLS after a failed handshake: nsqd sends the error in clear text.
    pub(super) fn remove_tls(&mut self) {
        self.tls = None;
    }

    /// Whether the input ends within a TLS record.
    pub(super) fn is_within_record(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| !self.incoming.is_empty() || tls.is_within_record())
    }

    /// The TLS of the connection, once established.
    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref().filter(|_| self.tls_established)
    }

    /// Writes as much as the socket accepts, and returns the number of bytes.
    pub(super) fn write(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let n = stream.try_write(&self.outgoing)?;
        self.outgoing.advance(n);
        Ok(n)
    }
}
