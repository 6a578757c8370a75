//! What stands between a socket and its session: the bytes on the wire, and the layers that a connection puts on.
//!
//! Compression stands inside TLS, as in nsqd. Without layers, what is plain is what is on the wire.

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

/// As much as one read takes: all whole commands in it are executed, and answered with one write.
const READ: usize = 64 * 1024;

/// The two directions of a connection, between its socket and its session.
#[derive(Debug, Default)]
pub(super) struct Wire {
    /// Read from the socket, and not yet taken by a layer.
    pub(super) incoming: BytesMut,
    /// So many of the last bytes read were not yet counted.
    pub(super) unseen: usize,
    /// Without its TLS, and not yet decompressed.
    decrypted: BytesMut,
    /// What the socket has not yet taken.
    pub(super) out: BytesMut,
    tls: Option<Tls>,
    compressed: Option<Compressed>,
    /// Whether the TLS handshake was told of.
    handshaken: bool,
}

/// What one call of [`Wire::decode`] brought.
#[derive(Debug, PartialEq)]
pub(super) enum Came {
    /// More of the wire is needed.
    Nothing,
    /// Plain bytes, and there may be more.
    Bytes,
    /// The TLS handshake is done.
    Handshake,
    /// The client has closed its TLS.
    End,
}

/// A layer to put on.
#[derive(Debug)]
pub(super) enum Layer {
    Tls(Tls),
    Compressed(Compressed),
}

impl Wire {
    /// Reads once. `false` is the end of the client's side.
    pub(super) fn read(&mut self, stream: &TcpStream) -> io::Result<bool> {
        self.incoming.reserve(READ);
        let n = stream.try_read_buf(&mut self.incoming)?;
        self.unseen += n;
        Ok(n > 0)
    }

    /// Brings some of what was read through the layers. An error is the end of the connection, and has nsqd's words.
    pub(super) fn decode(&mut self, plain: &mut BytesMut) -> Result<Came, String> {
        let mut ended = false;
        let compressed = match &mut self.tls {
            None => &mut self.incoming,
            Some(tls) => {
                let read = tls.read(&mut self.incoming, &mut self.decrypted);
                // Its side of the handshake, or what it thinks of a broken record.
                tls.write(&[], &mut self.out);
                ended = read?;
                if tls.is_handshaking() {
                    return Ok(Came::Nothing);
                }
                if !self.handshaken {
                    self.handshaken = true;
                    return Ok(Came::Handshake);
                }
                &mut self.decrypted
            }
        };
        let before = plain.len();
        match &mut self.compressed {
            None => {
                // Copied: each keeps its buffer, for the next read.
                plain.extend_from_slice(compressed);
                compressed.clear();
            }
            Some(compression) => compression
                .read(compressed, plain)
                .map_err(|error| error.to_string())?,
        }
        Ok(match plain.len() > before {
            true => Came::Bytes,
            false if ended => Came::End,
            false => Came::Nothing,
        })
    }

    /// Sends plain bytes through the layers; all that was given so far can then be read on the other side.
    pub(super) fn put(&mut self, plain: &[u8]) {
        let mut smaller = BytesMut::new();
        let bytes = match &mut self.compressed {
            None => plain,
            Some(compressed) => {
                // Into memory, too.
                if let Err(error) = compressed.write(plain, &mut smaller) {
                    log::error!("the embedded nsqd cannot compress: {error}");
                }
                &smaller
            }
        };
        match &mut self.tls {
            None => self.out.extend_from_slice(bytes),
            Some(tls) => tls.write(bytes, &mut self.out),
        }
    }

    /// From now on both directions go through this layer. As in nsqd, TLS stands on the bare socket, and compression on what
    /// is there.
    pub(super) fn put_on(&mut self, layer: Layer) {
        match layer {
            Layer::Tls(tls) => {
                self.tls = Some(tls);
                self.compressed = None;
                self.handshaken = false;
            }
            Layer::Compressed(compressed) => self.compressed = Some(compressed),
        }
    }

    /// nsqd makes new read buffers for a new layer: what was read ahead is lost.
    pub(super) fn forget_what_was_read(&mut self) {
        self.incoming.clear();
        self.decrypted.clear();
    }

    /// Whether the TLS handshake goes on.
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.is_some() && !self.handshaken
    }

    /// The handshake has failed: what nsqd has to say now, it says in clear text.
    pub(super) fn take_off_tls(&mut self) {
        self.tls = None;
    }

    /// Whether the last byte read is one within a record of TLS.
    pub(super) fn is_within_a_record(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| !self.incoming.is_empty() || tls.is_within_a_record())
    }

    /// The TLS in force.
    pub(super) fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref().filter(|_| self.handshaken)
    }

    /// Gives the socket what it takes; how many bytes.
    pub(super) fn write(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let n = stream.try_write(&self.out)?;
        self.out.advance(n);
        Ok(n)
    }
}
