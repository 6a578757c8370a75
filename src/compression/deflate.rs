//! Raw deflate (RFC 1951) without an end: one stream for all that a direction carries, flushed to a byte's end.

use std::io;

use bytes::{Buf, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// So much room is made at a time for what comes out.
const ROOM: usize = 8 << 10;

pub(crate) struct Encoder {
    deflate: Compress,
    /// Whether anything was written since the last flush.
    held: bool,
}

impl Encoder {
    pub(crate) fn new(level: u32) -> Self {
        Self {
            deflate: Compress::new(Compression::new(level.clamp(1, 9)), false),
            held: false,
        }
    }

    pub(crate) fn write(&mut self, mut plain: &[u8], out: &mut BytesMut) {
        while !plain.is_empty() {
            self.held = true;
            let (taken, given) = self.step(plain, FlushCompress::None, out);
            if taken + given == 0 {
                debug_assert!(false, "with input and room, there is no rest");
                return;
            }
            plain.advance(taken);
        }
    }

    pub(crate) fn flush(&mut self, out: &mut BytesMut) {
        // All is out when there was room for more.
        while self.held {
            let (_, given) = self.step(&[], FlushCompress::Sync, out);
            self.held = given == ROOM;
        }
    }

    /// How many bytes were taken, and how many came out.
    fn step(&mut self, plain: &[u8], flush: FlushCompress, out: &mut BytesMut) -> (usize, usize) {
        let (taken, given) = (self.deflate.total_in(), self.deflate.total_out());
        let end = out.len();
        out.resize(end + ROOM, 0);
        let room = out.get_mut(end..).unwrap_or_default();
        let done = self.deflate.compress(plain, room, flush);
        debug_assert!(done.is_ok(), "only after the end there is an error");
        let taken = (self.deflate.total_in() - taken) as usize;
        let given = (self.deflate.total_out() - given) as usize;
        out.truncate(end + given);
        (taken, given)
    }
}

pub(crate) struct Decoder {
    inflate: Decompress,
    broken: Option<String>,
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
                    self.broken = Some("broken deflate stream: it ends in the midst".into());
                }
                Err(error) => self.broken = Some(format!("broken deflate stream: {error}")),
            }
            // What came before the fault is told first.
            if given > 0 {
                return Ok(given);
            }
            if self.broken.is_none() && (taken == 0 || input.is_empty()) {
                return Ok(0);
            }
        }
        match &self.broken {
            Some(text) => Err(io::Error::new(io::ErrorKind::InvalidData, text.as_str())),
            None => Ok(0),
        }
    }
}
