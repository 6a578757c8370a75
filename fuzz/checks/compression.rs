//! Checks the decompressors with any bytes, split anywhere.

#[path = "../../src/compression/deflate.rs"]
mod deflate;
#[path = "../../src/compression/snappy.rs"]
mod snappy;

use std::io;

use actix_nsq::bytes::BytesMut;

use super::input::Input;

/// Maximum length in bytes of a snappy chunk, including its header.
const LONGEST_CHUNK: usize = 4 + 76_490;
const IDENTIFIER: &[u8] = b"\xff\x06\0\0sNaPpY";

/// The error for a final deflate block.
const FINAL_BLOCK: &str = "unexpected final block";

/// Decompression stops after this many bytes: a bomb of a few bytes would take all of the fuzzer's
/// time.
const MAX_PLAIN: usize = 1 << 20;

type Read<'a> = &'a mut dyn FnMut(&mut BytesMut, &mut [u8]) -> io::Result<usize>;

/// The input: the size of the output buffer, the number of pieces, the length of each piece, and
/// the stream.
struct Case<'a> {
    capacity: usize,
    lengths: &'a [u8],
    bytes: Vec<u8>,
}

impl<'a> Case<'a> {
    fn new(data: &'a [u8]) -> Self {
        let mut input = Input::new(data);
        Self {
            capacity: input.one_of(&[16 << 10, 1, 3, 64, 1000, 64 << 10]),
            lengths: input.sized(),
            bytes: input.rest().to_vec(),
        }
    }

    fn pieces(&self) -> Vec<&[u8]> {
        let mut left = Input::new(&self.bytes);
        let lengths = self.lengths.iter().map(|length| usize::from(*length));
        let mut pieces: Vec<_> = lengths.map(|length| left.bytes(length)).collect();
        pieces.push(left.rest());
        pieces
    }
}

/// The plain bytes of a stream, and the error that ended it.
struct Outcome {
    plain: Vec<u8>,
    error: Option<String>,
}

/// Reads like a connection: all available bytes after each piece. At most `max_buffered` bytes may
/// remain in the input.
fn read(read: Read<'_>, pieces: &[&[u8]], capacity: usize, max_buffered: usize) -> Outcome {
    let (mut plain, mut failed) = (Vec::new(), None);
    let (mut input, mut out) = (BytesMut::new(), vec![0; capacity]);
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let before = input.len();
            match read(&mut input, &mut out) {
                Ok(0) => break,
                Ok(length) => {
                    assert!(length <= capacity && input.len() <= before);
                    plain.extend_from_slice(&out[..length]);
                    if plain.len() > MAX_PLAIN {
                        return Outcome { plain, error: None };
                    }
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    failed = Some(error.to_string());
                    break;
                }
            }
        }
        if let Some(error) = failed {
            assert!(
                error.len() < 200 && !error.contains(char::is_control),
                "{error}"
            );
            // The error is final, whatever follows.
            input.clear();
            let again = read(&mut input, &mut out).map_err(|error| error.to_string());
            assert_eq!(again, Err(error.clone()));
            return Outcome {
                plain,
                error: Some(error),
            };
        }
        assert!(
            input.len() <= max_buffered,
            "{} bytes are buffered",
            input.len()
        );
        assert_eq!(read(&mut input, &mut []).ok(), Some(0));
    }
    Outcome { plain, error: None }
}

/// Checks the snappy decoder against an independent parser of headers and uncompressed chunks.
pub fn snappy_reader(data: &[u8]) {
    let case = Case::new(data);
    // Half of the inputs start with the stream identifier, which the fuzzer would rarely find.
    let bytes = match case.bytes.split_first() {
        Some((first, rest)) if first % 2 == 1 => [IDENTIFIER, rest].concat(),
        _ => case.bytes.clone(),
    };
    let case = Case { bytes, ..case };
    let run = |pieces: &[&[u8]], capacity| {
        let mut decoder = snappy::Decoder::default();
        read(
            &mut |input, out| decoder.read(input, out),
            pieces,
            capacity,
            LONGEST_CHUNK - 1,
        )
    };
    let whole = run(&[&case.bytes], 64 << 10);
    let split = run(&case.pieces(), case.capacity);
    assert_eq!(whole.error, split.error, "split into {:?}", case.lengths);
    if whole.plain.len() <= MAX_PLAIN && split.plain.len() <= MAX_PLAIN {
        assert!(whole.plain == split.plain, "split into {:?}", case.lengths);
    }
    check_chunks(&case.bytes, &whole);
}

/// Parses the chunks independently: invalid chunks must be rejected, and the plain bytes of valid
/// uncompressed chunks must be in the outcome.
fn check_chunks(bytes: &[u8], outcome: &Outcome) {
    let (mut rest, mut started, mut compressed) = (bytes, false, false);
    let mut plain = Vec::new();
    while let [kind, a, b, c, after @ ..] = rest {
        let length = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
        let is_possible = match kind {
            0xff => length == 6,
            _ if !started => false,
            0x00 => (4..=76_490).contains(&length),
            0x01 => (4..=65_540).contains(&length),
            0x02..=0x7f => false,
            0x80..=0xfe => true,
        };
        if !is_possible {
            assert!(
                outcome.error.is_some(),
                "a chunk {kind:02x} of {length} bytes was accepted"
            );
            break;
        }
        let Some((chunk, behind)) = after.split_at_checked(length) else {
            break;
        };
        match kind {
            0xff if chunk != &IDENTIFIER[4..] => {
                assert!(
                    outcome.error.is_some(),
                    "the identifier {chunk:02x?} was accepted"
                );
                break;
            }
            0x01 => {
                let (sum, contents) = chunk.split_at(4);
                if sum != checksum(contents) {
                    assert!(outcome.error.is_some(), "a wrong checksum was accepted");
                    break;
                }
                plain.extend_from_slice(contents);
            }
            0x00 => compressed = true,
            _ => {}
        }
        started = true;
        rest = behind;
    }
    // The contents of compressed chunks are not checked.
    if !compressed && plain.len() <= MAX_PLAIN {
        assert!(
            outcome.plain == plain,
            "{:02x?} instead of {plain:02x?}",
            outcome.plain
        );
    }
}

/// Returns the masked CRC-32C of a chunk, computed bit by bit.
fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut sum = !0_u32;
    for byte in bytes {
        sum ^= u32::from(*byte);
        for _ in 0..8 {
            sum = (sum >> 1) ^ ((sum & 1) * 0x82f6_3b78);
        }
    }
    (!sum)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
        .to_le_bytes()
}

/// Checks the deflate decoder against an independent parser of stored blocks.
pub fn inflate_reader(data: &[u8]) {
    let case = Case::new(data);
    let run = |pieces: &[&[u8]], capacity| {
        let mut decoder = deflate::Decoder::default();
        read(
            &mut |input, out| decoder.read(input, out),
            pieces,
            capacity,
            0,
        )
    };
    let whole = run(&[&case.bytes], 64 << 10);
    let split = run(&case.pieces(), case.capacity);
    let bytewise = run(&case.bytes.chunks(1).collect::<Vec<_>>(), case.capacity);
    for other in [&split, &bytewise] {
        if whole.plain.len() > MAX_PLAIN || other.plain.len() > MAX_PLAIN {
            continue;
        }
        assert_eq!(whole.error, other.error, "split into {:?}", case.lengths);
        // Bytes before a malformed block are returned only as far as the buffer had capacity when
        // the decoder found it.
        let is_malformed = whole
            .error
            .as_deref()
            .is_some_and(|error| !error.contains(FINAL_BLOCK));
        let agree = if is_malformed {
            whole.plain.starts_with(&other.plain)
        } else {
            whole.plain == other.plain
        };
        assert!(agree, "split into {:?}", case.lengths);
    }
    check_stored(&case.bytes, &whole);
}

/// Parses the stored blocks at the start independently: their contents must be in the outcome, and
/// errors must be reported.
fn check_stored(bytes: &[u8], outcome: &Outcome) {
    let (mut rest, mut plain) = (bytes, Vec::new());
    while let [kind, a, b, not_a, not_b, after @ ..] = rest
        && kind & 0b110 == 0
    {
        if [!a, !b] != [*not_a, *not_b] {
            assert!(
                outcome.error.is_some(),
                "two different lengths were accepted"
            );
            break;
        }
        let length = usize::from(*a) | usize::from(*b) << 8;
        plain.extend_from_slice(&after[..length.min(after.len())]);
        let Some(behind) = after.get(length..) else {
            break;
        };
        if kind & 1 == 1 {
            let error = outcome.error.as_deref().unwrap_or_default();
            assert!(error.contains(FINAL_BLOCK), "{error}");
            assert!(outcome.plain == plain, "bytes after the final block");
            break;
        }
        rest = behind;
    }
    assert!(
        outcome.plain.starts_with(&plain),
        "the contents of a stored block are missing"
    );
}
