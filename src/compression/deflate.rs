//! Raw deflate (RFC 1951): one endless stream per direction, aligned to a byte by each flush.

use std::io;

use bytes::{Buf, BytesMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Size in bytes of the buffer for compressed output: one burst usually fits.
const BUFFER: usize = 32 << 10;

pub(crate) struct Encoder {
    deflate: Compress,
    /// Receives the output of one call of the compressor.
    buffer: Box<[u8]>,
    /// Whether anything was written since the last complete flush.
    dirty: bool,
    /// Whether the last call filled `buffer`, so that more output may be pending.
    pending: bool,
}

impl Encoder {
    pub(crate) fn new(level: u32) -> Self {
        Self {
            deflate: Compress::new(Compression::new(level.clamp(1, 9)), false),
            buffer: vec![0; BUFFER].into(),
            dirty: false,
            pending: false,
        }
    }

    pub(crate) fn write(&mut self, mut plain: &[u8], out: &mut BytesMut) -> io::Result<()> {
        while !plain.is_empty() {
            self.dirty = true;
            let consumed = self.step(plain, FlushCompress::None, out)?;
            if consumed == 0 && !self.pending {
                return Err(io::Error::other("deflate compressor made no progress"));
            }
            plain.advance(consumed);
        }
        Ok(())
    }

    /// A flush call that finds pending output only writes that output, without reporting it. So the
    /// stream is flushed only if no output was pending before and after the call. One call too
    /// many costs five bytes.
    pub(crate) fn flush(&mut self, out: &mut BytesMut) -> io::Result<()> {
        while self.dirty {
            while self.pending {
                self.step(&[], FlushCompress::None, out)?;
            }
            self.step(&[], FlushCompress::Sync, out)?;
            self.dirty = self.pending;
        }
        Ok(())
    }

    /// Appends the final block. A second call appends nothing.
    pub(crate) fn finish(&mut self, out: &mut BytesMut) -> io::Result<()> {
        loop {
            self.step(&[], FlushCompress::Finish, out)?;
            if !self.pending {
                self.dirty = false;
                return Ok(());
            }
        }
    }

    /// Calls the compressor once and returns the number of bytes consumed of `plain`.
    fn step(
        &mut self,
        plain: &[u8],
        flush: FlushCompress,
        out: &mut BytesMut,
    ) -> io::Result<usize> {
        let (total_in, total_out) = (self.deflate.total_in(), self.deflate.total_out());
        self.deflate
            .compress(plain, &mut self.buffer, flush)
            .map_err(io::Error::other)?;
        let consumed = (self.deflate.total_in() - total_in) as usize;
        let produced = (self.deflate.total_out() - total_out) as usize;
        out.extend_from_slice(self.buffer.get(..produced).unwrap_or_default());
        self.pending = produced == self.buffer.len();
        Ok(consumed)
    }
}

pub(crate) struct Decoder {
    inflate: Decompress,
    failed: Option<&'static str>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            inflate: Decompress::new(false),
            failed: None,
        }
    }
}

impl Decoder {
    pub(crate) fn read(&mut self, input: &mut BytesMut, out: &mut [u8]) -> io::Result<usize> {
        while self.failed.is_none() && !out.is_empty() {
            let (total_in, total_out) = (self.inflate.total_in(), self.inflate.total_out());
            let result = self.inflate.decompress(input, out, FlushDecompress::None);
            let consumed = (self.inflate.total_in() - total_in) as usize;
            let produced = (self.inflate.total_out() - total_out) as usize;
            input.advance(consumed);
            match result {
                Ok(Status::Ok | Status::BufError) => {}
                Ok(Status::StreamEnd) => {
                    self.failed = Some("invalid deflate stream: unexpected final block");
                }
                // The text of the library depends on where the input is split.
                Err(_) => self.failed = Some("invalid deflate stream: malformed block"),
            }
            // Bytes before the error are returned first, as far as `out` has capacity for them.
            if produced > 0 {
                return Ok(produced);
            }
            if self.failed.is_none() && (consumed == 0 || input.is_empty()) {
                return Ok(0);
            }
        }
        match self.failed {
            Some(text) => Err(io::Error::new(io::ErrorKind::InvalidData, text)),
            None => Ok(0),
        }
    }
}
