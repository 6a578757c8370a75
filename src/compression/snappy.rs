//! Snappy's framing format: a sequence of chunks, each with the checksum of its plain bytes.

use std::{
    io::{self, Read, Write},
    mem,
};

use bytes::{
    Buf, BufMut, BytesMut,
    buf::{Reader, Take, Writer},
};
use snap::{read::FrameDecoder, write::FrameEncoder};

/// Length in bytes of a chunk header: type and 24-bit length.
const HEADER: usize = 4;
/// Length of the checksum in bytes.
const CHECKSUM: usize = 4;

/// Type of the stream identifier, the first chunk of a stream.
const IDENTIFIER: u8 = 0xff;
/// Length of the stream identifier in bytes, without the header.
const IDENTIFIER_LENGTH: usize = 6;

/// Maximum number of plain bytes per chunk, by the specification.
const MAX_PLAIN: usize = 1 << 16;
/// Length to which compression can expand `MAX_PLAIN` bytes. Encoders never reach it, since they
/// store incompressible data as it is.
const MAX_COMPRESSED: usize = 76_490;

pub(crate) struct Encoder {
    frames: FrameEncoder<Writer<BytesMut>>,
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            frames: FrameEncoder::new(BytesMut::new().writer()),
        }
    }
}

impl Encoder {
    pub(crate) fn write(&mut self, plain: &[u8], out: &mut BytesMut) -> io::Result<()> {
        self.lend(out, |frames| frames.write_all(plain))
    }

    pub(crate) fn flush(&mut self, out: &mut BytesMut) -> io::Result<()> {
        self.lend(out, Write::flush)
    }

    /// Lends `out` to the encoder of `snap` for one call, so that nothing is copied.
    fn lend(
        &mut self,
        out: &mut BytesMut,
        call: impl FnOnce(&mut FrameEncoder<Writer<BytesMut>>) -> io::Result<()>,
    ) -> io::Result<()> {
        mem::swap(self.frames.get_mut().get_mut(), out);
        let done = call(&mut self.frames);
        mem::swap(self.frames.get_mut().get_mut(), out);
        done
    }
}

/// Passes only complete chunks to the decoder of `snap`, which would silently lose the part of an
/// incomplete chunk that it has read.
pub(crate) struct Decoder {
    frames: FrameDecoder<Reader<Take<BytesMut>>>,
    /// Whether the stream identifier was received.
    started: bool,
    /// Remaining bytes of a chunk that is skipped.
    skip: usize,
    failed: Option<String>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            frames: FrameDecoder::new(BytesMut::new().take(0).reader()),
            started: false,
            skip: 0,
            failed: None,
        }
    }
}

impl Decoder {
    pub(crate) fn read(&mut self, input: &mut BytesMut, out: &mut [u8]) -> io::Result<usize> {
        if self.failed.is_none() {
            match self.read_chunks(input, out) {
                Ok(read) => return Ok(read),
                Err(problem) => self.failed = Some(format!("invalid snappy stream: {problem}")),
            }
        }
        let text = self.failed.clone().unwrap_or_default();
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    fn read_chunks(&mut self, input: &mut BytesMut, out: &mut [u8]) -> Result<usize, String> {
        if out.is_empty() {
            return Ok(0);
        }
        // The rest of the last chunk is returned before the next one is examined.
        let mut read = self.decode(input, 0, out)?;
        while read == 0 {
            let Some(chunk) = self.next_chunk(input)? else {
                return Ok(0);
            };
            read = self.decode(input, chunk, out)?;
            self.started = true;
        }
        Ok(read)
    }

    /// Lends the first `chunk` bytes of `input`, one complete chunk, to the decoder of `snap`,
    /// which consumes them.
    fn decode(
        &mut self,
        input: &mut BytesMut,
        chunk: usize,
        out: &mut [u8],
    ) -> Result<usize, String> {
        self.frames.get_mut().get_mut().set_limit(chunk);
        mem::swap(self.frames.get_mut().get_mut().get_mut(), input);
        let read = self.frames.read(out);
        mem::swap(self.frames.get_mut().get_mut().get_mut(), input);
        read.map_err(|error| error.to_string())
    }

    /// Skips padding, and returns the length of the next chunk as soon as it is complete.
    fn next_chunk(&mut self, input: &mut BytesMut) -> Result<Option<usize>, String> {
        loop {
            let skipped = self.skip.min(input.len());
            input.advance(skipped);
            self.skip -= skipped;
            let Some(&[kind, low, middle, high]) = input.first_chunk::<HEADER>() else {
                return Ok(None);
            };
            let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
            if !self.started && kind != IDENTIFIER {
                return Err(format!(
                    "the first chunk has type 0x{kind:02x}, not 0xff (stream identifier)"
                ));
            }
            let allowed = match kind {
                0x00 => CHECKSUM..=MAX_COMPRESSED,
                0x01 => CHECKSUM..=CHECKSUM + MAX_PLAIN,
                IDENTIFIER => IDENTIFIER_LENGTH..=IDENTIFIER_LENGTH,
                0x02..=0x7f => return Err(format!("unsupported chunk type 0x{kind:02x}")),
                0x80..IDENTIFIER => {
                    input.advance(HEADER);
                    self.skip = length;
                    continue;
                }
            };
            if !allowed.contains(&length) {
                return Err(format!(
                    "chunk of type 0x{kind:02x} with invalid length {length}"
                ));
            }
            let whole = HEADER + length;
            return Ok((input.len() >= whole).then_some(whole));
        }
    }
}
