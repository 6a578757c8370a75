//! The compression of a connection, with the codecs of the crate.

use std::{fmt, io};

use bytes::BytesMut;

use crate::{
    compression::{Decoder, Encoder, Method},
    embedded::upgrade::Compression,
};

/// Maximum bytes decompressed per call: bounds the memory that a small input can expand to.
const DECOMPRESSED: usize = 16 * 1024;

/// Both directions.
pub(in crate::embedded) struct Compressed {
    decoder: Decoder,
    encoder: Encoder,
}

impl Compressed {
    pub(in crate::embedded) fn new(compression: Compression) -> Option<Self> {
        let method = match compression {
            #[cfg(feature = "snappy")]
            Compression::Snappy => Method::Snappy,
            #[cfg(feature = "deflate")]
            Compression::Deflate(level) => Method::Deflate(level),
            #[allow(
                unreachable_patterns,
                reason = "a method without its feature is never negotiated"
            )]
            _ => return None,
        };
        Some(Self {
            decoder: method.decoder(),
            encoder: method.encoder(),
        })
    }

    /// Decompresses some of `input`.
    pub(super) fn read(&mut self, input: &mut BytesMut, plain: &mut BytesMut) -> io::Result<()> {
        let before = plain.len();
        plain.resize(before + DECOMPRESSED, 0);
        let buffer = plain.get_mut(before..).unwrap_or_default();
        let read = self.decoder.read(input, buffer);
        plain.truncate(before + read.as_ref().unwrap_or(&0));
        read.map(drop)
    }

    /// Compresses and flushes.
    pub(super) fn write(&mut self, plain: &[u8], out: &mut BytesMut) -> io::Result<()> {
        self.encoder.write(plain, out)?;
        self.encoder.flush(out)
    }
}

impl fmt::Debug for Compressed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressed").finish_non_exhaustive()
    }
}
