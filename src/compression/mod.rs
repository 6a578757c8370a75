//! NSQ's two compressions as pure stream codecs: bytes in, bytes out.
//!
//! Decoders accept input split anywhere, and decompress no more than the caller's buffer holds.

#[cfg(feature = "deflate")]
mod deflate;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(test)]
mod tests;

use std::io;

use bytes::BytesMut;

/// The compression of a connection; it applies to both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    #[cfg(feature = "snappy")]
    Snappy,
    /// With its level: 1 (fastest) to 9 (smallest).
    #[cfg(feature = "deflate")]
    Deflate(u32),
}

impl Method {
    pub(crate) fn encoder(self) -> Encoder {
        match self {
            #[cfg(feature = "snappy")]
            Self::Snappy => Encoder::Snappy(Box::default()),
            #[cfg(feature = "deflate")]
            Self::Deflate(level) => Encoder::Deflate(Box::new(deflate::Encoder::new(level))),
        }
    }

    pub(crate) fn decoder(self) -> Decoder {
        match self {
            #[cfg(feature = "snappy")]
            Self::Snappy => Decoder::Snappy(Box::default()),
            #[cfg(feature = "deflate")]
            Self::Deflate(_) => Decoder::Deflate(Box::default()),
        }
    }
}

/// Compresses everything that a connection sends.
pub(crate) enum Encoder {
    #[cfg(feature = "snappy")]
    Snappy(Box<snappy::Encoder>),
    #[cfg(feature = "deflate")]
    Deflate(Box<deflate::Encoder>),
}

impl Encoder {
    /// Compresses all of `plain` and appends to `out`. Part of it may be buffered until the next
    /// write or flush.
    ///
    /// # Errors
    ///
    /// If the compressor fails. The stream is incomplete then, so the connection must be closed.
    pub(crate) fn write(&mut self, plain: &[u8], out: &mut BytesMut) -> io::Result<()> {
        match self {
            #[cfg(feature = "snappy")]
            Self::Snappy(encoder) => encoder.write(plain, out),
            #[cfg(feature = "deflate")]
            Self::Deflate(encoder) => encoder.write(plain, out),
        }
    }

    /// Appends all buffered bytes to `out`: the peer can then decode everything written so far.
    /// Appends nothing if nothing was written since the last flush.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub(crate) fn flush(&mut self, out: &mut BytesMut) -> io::Result<()> {
        match self {
            #[cfg(feature = "snappy")]
            Self::Snappy(encoder) => encoder.flush(out),
            #[cfg(feature = "deflate")]
            Self::Deflate(encoder) => encoder.flush(out),
        }
    }

    /// Appends all buffered bytes and the end of the stream to `out`. Nothing can be written
    /// afterwards.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub(crate) fn finish(&mut self, out: &mut BytesMut) -> io::Result<()> {
        match self {
            // A snappy stream has no end.
            #[cfg(feature = "snappy")]
            Self::Snappy(encoder) => encoder.flush(out),
            #[cfg(feature = "deflate")]
            Self::Deflate(encoder) => encoder.finish(out),
        }
    }
}

/// Decompresses everything that a connection receives.
pub(crate) enum Decoder {
    #[cfg(feature = "snappy")]
    Snappy(Box<snappy::Decoder>),
    #[cfg(feature = "deflate")]
    Deflate(Box<deflate::Decoder>),
}

impl Decoder {
    /// Consumes from the front of `input`, decompresses into `out`, and returns the number of bytes
    /// in `out`. 0 means that more input is needed or that `out` is empty. Bytes that remain in
    /// `input` must be passed again, with more bytes appended.
    ///
    /// # Errors
    ///
    /// [`InvalidData`](io::ErrorKind::InvalidData) if the stream is invalid. All later calls fail
    /// with the same text.
    pub(crate) fn read(&mut self, input: &mut BytesMut, out: &mut [u8]) -> io::Result<usize> {
        match self {
            #[cfg(feature = "snappy")]
            Self::Snappy(decoder) => decoder.read(input, out),
            #[cfg(feature = "deflate")]
            Self::Deflate(decoder) => decoder.read(input, out),
        }
    }
}
