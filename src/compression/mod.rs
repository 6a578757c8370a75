//! Compression as NSQ does it: bytes in and out, without a socket.
//!
//! What a peer sends is taken in whatever pieces it arrives, and never makes more room than it is given.

#[cfg(feature = "deflate")]
mod deflate;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(test)]
mod tests;

use std::io;

use bytes::BytesMut;

/// How both directions of a connection are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    #[cfg(feature = "snappy")]
    Snappy,
    /// With its level, of 1 to 9.
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

/// Compresses one direction of a connection, from its first byte to its last.
pub(crate) enum Encoder {
    #[cfg(feature = "snappy")]
    Snappy(Box<snappy::Encoder>),
    #[cfg(feature = "deflate")]
    Deflate(Box<deflate::Encoder>),
}

impl Encoder {
    /// Takes all of `plain`. Some of it may be held back, for the next write or the flush. An error is final: a part is
    /// missing then.
    pub(crate) fn write(&mut self, plain: &[u8], out: &mut BytesMut) -> io::Result<()> {
        match self {
            #[cfg(feature = "snappy")]
            Self::Snappy(encoder) => encoder.write(plain, out),
            #[cfg(feature = "deflate")]
            Self::Deflate(encoder) => encoder.write(plain, out),
        }
    }

    /// Holds nothing back: with what was put out, all that was written can be decoded. Nothing is put out when nothing
    /// was written since the last flush.
    pub(crate) fn flush(&mut self, out: &mut BytesMut) -> io::Result<()> {
        match self {
            #[cfg(feature = "snappy")]
            Self::Snappy(encoder) => encoder.flush(out),
            #[cfg(feature = "deflate")]
            Self::Deflate(encoder) => encoder.flush(out),
        }
    }
}

/// Decompresses one direction of a connection, from its first byte to its last.
pub(crate) enum Decoder {
    #[cfg(feature = "snappy")]
    Snappy(Box<snappy::Decoder>),
    #[cfg(feature = "deflate")]
    Deflate(Box<deflate::Decoder>),
}

impl Decoder {
    /// Takes what it can use from `input` and puts plain bytes into `out`. 0 says that more input is wanted, or that
    /// `out` is empty. What stays in `input` is to be given again, with more behind it.
    ///
    /// An error is [`InvalidData`](io::ErrorKind::InvalidData), and final.
    pub(crate) fn read(&mut self, input: &mut BytesMut, out: &mut [u8]) -> io::Result<usize> {
        match self {
            #[cfg(feature = "snappy")]
            Self::Snappy(decoder) => decoder.read(input, out),
            #[cfg(feature = "deflate")]
            Self::Deflate(decoder) => decoder.read(input, out),
        }
    }
}
