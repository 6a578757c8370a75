//! Snappy's framing format: a row of chunks, each with the check sum of what is in it.

use std::{
    io::{self, Read, Write},
    mem,
};

use bytes::{
    Buf, BufMut, BytesMut,
    buf::{Reader, Take, Writer},
};
use snap::{read::FrameDecoder, write::FrameEncoder};

/// A chunk's type, and the three bytes of its length.
const HEADER: usize = 4;
const CHECK_SUM: usize = 4;

/// The stream identifier, the first chunk of a stream.
const IDENTIFIER: u8 = 0xff;
const IDENTIFIER_LENGTH: usize = 6;

/// So much plain data is in a chunk at most, says the format.
const MOST_PLAIN: usize = 1 << 16;
/// So long that much can become, and no encoder writes a chunk that long: what does not shrink goes as it is.
const MOST_COMPRESSED: usize = 76_490;

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

    /// Lends `out` to snap's encoder for one call, so that nothing is copied.
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

/// Feeds snap's decoder whole chunks only. Of one that is cut short it would lose the part that it has read, without an
/// error.
pub(crate) struct Decoder {
    frames: FrameDecoder<Reader<Take<BytesMut>>>,
    /// Whether the stream identifier was there.
    begun: bool,
    /// So much of a chunk that says nothing is still to come.
    skip: usize,
    broken: Option<String>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            frames: FrameDecoder::new(BytesMut::new().take(0).reader()),
            begun: false,
            skip: 0,
            broken: None,
        }
    }
}

impl Decoder {
    pub(crate) fn read(&mut self, input: &mut BytesMut, out: &mut [u8]) -> io::Result<usize> {
        if self.broken.is_none() {
            match self.read_chunks(input, out) {
                Ok(read) => return Ok(read),
                Err(why) => self.broken = Some(format!("broken snappy stream: {why}")),
            }
        }
        let text = self.broken.clone().unwrap_or_default();
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    }

    fn read_chunks(&mut self, input: &mut BytesMut, out: &mut [u8]) -> Result<usize, String> {
        if out.is_empty() {
            return Ok(0);
        }
        // What is left of the last chunk comes before the next one is looked at.
        let mut read = self.decode(input, 0, out)?;
        while read == 0 {
            let Some(chunk) = self.next_chunk(input)? else {
                return Ok(0);
            };
            read = self.decode(input, chunk, out)?;
            self.begun = true;
        }
        Ok(read)
    }

    /// Lends `input` to snap's decoder for one call, in which it sees one `chunk` of so many bytes, and takes all of it.
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

    /// How long the next chunk is that says something, once all of it is there.
    fn next_chunk(&mut self, input: &mut BytesMut) -> Result<Option<usize>, String> {
        loop {
            let skipped = self.skip.min(input.len());
            input.advance(skipped);
            self.skip -= skipped;
            let Some(&[kind, low, middle, high]) = input.first_chunk::<HEADER>() else {
                return Ok(None);
            };
            let length = u32::from_le_bytes([low, middle, high, 0]) as usize;
            if !self.begun && kind != IDENTIFIER {
                return Err(format!("it begins with a chunk of type 0x{kind:02x}"));
            }
            let allowed = match kind {
                0x00 => CHECK_SUM..=MOST_COMPRESSED,
                0x01 => CHECK_SUM..=CHECK_SUM + MOST_PLAIN,
                IDENTIFIER => IDENTIFIER_LENGTH..=IDENTIFIER_LENGTH,
                0x02..=0x7f => return Err(format!("a chunk of the unknown type 0x{kind:02x}")),
                0x80..IDENTIFIER => {
                    input.advance(HEADER);
                    self.skip = length;
                    continue;
                }
            };
            if !allowed.contains(&length) {
                return Err(format!("a chunk of type 0x{kind:02x} with {length} bytes"));
            }
            let whole = HEADER + length;
            return Ok((input.len() >= whole).then_some(whole));
        }
    }
}
