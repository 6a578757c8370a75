//! Raw deflate (RFC 1951) without an end: one stream for all that a direction carries, flushed to a byte's end.

use std::io;

use bytes::{Buf, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// So much room there is for what comes out at a time.
const ROOM: usize = 32 << 10;

pub(crate) struct Encoder {
    deflate: Compress,
    /// Where it puts what comes out.
    room: Box<[u8]>,
    /// Whether anything was written since the last flush.
    held: bool,
    /// Whether more may be waiting to come out than there was room for.
    full: bool,
}

impl Encoder {
    pub(crate) fn new(level: u32) -> Self {
        Self {
            deflate: Compress::new(Compression::new(level.clamp(1, 9)), false),
            room: vec![0; ROOM].into(),
            held: false,
            full: false,
        }
    }

    pub(crate) fn write(&mut self, mut plain: &[u8], out: &mut BytesMut) -> io::Result<()> {
        while !plain.is_empty() {
            self.held = true;
            let taken = self.step(plain, FlushCompress::None, out)?;
            if taken == 0 && !self.full {
                return Err(io::Error::other("deflate: the compressor stands still"));
            }
            plain.advance(taken);
        }
        Ok(())
    }

    /// A call to flush does nothing but put out what waits, when something waits, and does not say so. Only one that had
    /// nothing to wait for, before and after it, has surely flushed; one too many costs five bytes.
    pub(crate) fn flush(&mut self, out: &mut BytesMut) -> io::Result<()> {
        while self.held {
            while self.full {
                self.step(&[], FlushCompress::None, out)?;
            }
            self.step(&[], FlushCompress::Sync, out)?;
            self.held = self.full;
        }
        Ok(())
    }

    /// How many bytes were taken.
    fn step(
        &mut self,
        plain: &[u8],
        flush: FlushCompress,
        out: &mut BytesMut,
    ) -> io::Result<usize> {
        let (taken, given) = (self.deflate.total_in(), self.deflate.total_out());
        self.deflate
            .compress(plain, &mut self.room, flush)
            .map_err(io::Error::other)?;
        let taken = (self.deflate.total_in() - taken) as usize;
        let given = (self.deflate.total_out() - given) as usize;
        let came = self.room.get(..given).unwrap_or_default();
        out.extend_from_slice(came);
        self.full = given == self.room.len();
        Ok(taken)
    }
}

pub(crate) struct Decoder {
    inflate: Decompress,
    broken: Option<&'static str>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            inflate: Decompress::new(false),
            broken: None,
        }
    }
}

impl Decoder {
    pub(crate) fn read(&mut self, input: &mut BytesMut, out: &mut [u8]) -> io::Result<usize> {
        while self.broken.is_none() && !out.is_empty() {
            let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
            let done = self.inflate.decompress(input, out, FlushDecompress::None);
            let taken = (self.inflate.total_in() - taken) as usize;
            let given = (self.inflate.total_out() - given) as usize;
            input.advance(taken);
            match done {
                Ok(Status::Ok | Status::BufError) => {}
                Ok(Status::StreamEnd) => {
                    self.broken = Some("broken deflate stream: it ends in the midst");
                }
                // The library's own words depend on where the stream was split.
                Err(_) => self.broken = Some("broken deflate stream: it makes no sense"),
            }
            // What came before the fault is told first, as far as there is room for it.
            if given > 0 {
                return Ok(given);
            }
            if self.broken.is_none() && (taken == 0 || input.is_empty()) {
                return Ok(0);
            }
        }
        match self.broken {
            Some(text) => Err(io::Error::new(io::ErrorKind::InvalidData, text)),
            None => Ok(0),
        }
    }
}
