//! The readers of what is compressed: any bytes, in any pieces.

#[path = "../../src/compression/deflate.rs"]
mod deflate;
#[path = "../../src/compression/snappy.rs"]
mod snappy;

use std::io;

use actix_nsq::bytes::BytesMut;

use super::input::Input;

/// A header and as much as an encoder ever puts behind it.
const LONGEST_CHUNK: usize = 4 + 76_490;
const IDENTIFIER: &[u8] = b"\xff\x06\0\0sNaPpY";

/// Of a last block, behind which nothing can come.
const AN_END: &str = "unexpected final block";

/// More is not unpacked: a bomb of a few bytes would be worth the fuzzer's whole time.
const ENOUGH: usize = 1 << 20;

type Read<'a> = &'a mut dyn FnMut(&mut BytesMut, &mut [u8]) -> io::Result<usize>;

/// The first byte says how much room there is, the second one how many pieces there are, and so many more how long each is.
struct Case<'a> {
    room: usize,
    lengths: &'a [u8],
    bytes: Vec<u8>,
}

impl<'a> Case<'a> {
    fn new(data: &'a [u8]) -> Self {
        let mut input = Input::new(data);
        Self {
            room: input.one_of(&[16 << 10, 1, 3, 64, 1000, 64 << 10]),
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

/// What a stream said, and the fault that ended it.
struct Outcome {
    plain: Vec<u8>,
    fault: Option<String>,
}

/// Reads as a connection does: what has come, after each piece, until nothing more comes of it. At most so many bytes
/// are ever kept for later.
fn read(read: Read<'_>, pieces: &[&[u8]], room: usize, kept: usize) -> Outcome {
    let (mut plain, mut fault) = (Vec::new(), None);
    let (mut input, mut out) = (BytesMut::new(), vec![0; room]);
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            let before = input.len();
            match read(&mut input, &mut out) {
                Ok(0) => break,
                Ok(came) => {
                    assert!(came <= room && input.len() <= before);
                    plain.extend_from_slice(&out[..came]);
                    if plain.len() > ENOUGH {
                        return Outcome { plain, fault };
                    }
                }
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    fault = Some(error.to_string());
                    break;
                }
            }
        }
        if let Some(fault) = fault {
            assert!(
                fault.len() < 200 && !fault.contains(char::is_control),
                "{fault}"
            );
            // There is no way back into step, whatever follows.
            input.clear();
            let again = read(&mut input, &mut out).map_err(|error| error.to_string());
            assert_eq!(again, Err(fault.clone()));
            return Outcome {
                plain,
                fault: Some(fault),
            };
        }
        assert!(input.len() <= kept, "{} bytes are kept", input.len());
        assert_eq!(read(&mut input, &mut []).ok(), Some(0));
    }
    Outcome { plain, fault }
}

/// Snappy's reader against one of its own: the chunks whose plain bytes are in them as they are, and the headers of all.
pub fn snappy_reader(data: &[u8]) {
    let case = Case::new(data);
    // Half of the inputs need not find out how a stream begins.
    let bytes = match case.bytes.split_first() {
        Some((first, rest)) if first % 2 == 1 => [IDENTIFIER, rest].concat(),
        _ => case.bytes.clone(),
    };
    let case = Case { bytes, ..case };
    let run = |pieces: &[&[u8]], room| {
        let mut decoder = snappy::Decoder::default();
        read(
            &mut |input, out| decoder.read(input, out),
            pieces,
            room,
            LONGEST_CHUNK - 1,
        )
    };
    let whole = run(&[&case.bytes], 64 << 10);
    let split = run(&case.pieces(), case.room);
    assert_eq!(
        whole.fault, split.fault,
        "the pieces {:?} decide",
        case.lengths
    );
    if whole.plain.len() <= ENOUGH && split.plain.len() <= ENOUGH {
        assert!(
            whole.plain == split.plain,
            "the pieces {:?} decide",
            case.lengths
        );
    }
    chunks_by_hand(&case.bytes, &whole);
}

/// Goes over the chunks by their headers: each that is to be refused is refused, and no other one that is as it is.
fn chunks_by_hand(bytes: &[u8], outcome: &Outcome) {
    let (mut rest, mut begun, mut compressed) = (bytes, false, false);
    let mut plain = Vec::new();
    while let [kind, a, b, c, after @ ..] = rest {
        let length = usize::from(*a) | usize::from(*b) << 8 | usize::from(*c) << 16;
        let is_possible = match kind {
            0xff => length == 6,
            _ if !begun => false,
            0x00 => (4..=76_490).contains(&length),
            0x01 => (4..=65_540).contains(&length),
            0x02..=0x7f => false,
            0x80..=0xfe => true,
        };
        if !is_possible {
            assert!(
                outcome.fault.is_some(),
                "a chunk {kind:02x} of {length} bytes was taken"
            );
            break;
        }
        let Some((chunk, behind)) = after.split_at_checked(length) else {
            break;
        };
        match kind {
            0xff if chunk != &IDENTIFIER[4..] => {
                assert!(
                    outcome.fault.is_some(),
                    "an identifier {chunk:02x?} was taken"
                );
                break;
            }
            0x01 => {
                let (sum, contents) = chunk.split_at(4);
                if sum != check_sum(contents) {
                    assert!(outcome.fault.is_some(), "a wrong check sum was taken");
                    break;
                }
                plain.extend_from_slice(contents);
            }
            0x00 => compressed = true,
            _ => {}
        }
        begun = true;
        rest = behind;
    }
    // What is compressed is left to others to unpack.
    if !compressed && plain.len() <= ENOUGH {
        assert!(
            outcome.plain == plain,
            "{:02x?} came of {plain:02x?}",
            outcome.plain
        );
    }
}

/// CRC-32C, bit by bit, and masked as the format wants it.
fn check_sum(bytes: &[u8]) -> [u8; 4] {
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

/// The reader of deflate.
pub fn inflate_reader(data: &[u8]) {
    let case = Case::new(data);
    let run = |pieces: &[&[u8]], room| {
        let mut decoder = deflate::Decoder::default();
        read(&mut |input, out| decoder.read(input, out), pieces, room, 0)
    };
    let whole = run(&[&case.bytes], 64 << 10);
    let split = run(&case.pieces(), case.room);
    let trickled = run(&case.bytes.chunks(1).collect::<Vec<_>>(), case.room);
    for other in [&split, &trickled] {
        if whole.plain.len() > ENOUGH || other.plain.len() > ENOUGH {
            continue;
        }
        assert_eq!(
            whole.fault, other.fault,
            "the pieces {:?} decide",
            case.lengths
        );
        // What is before a fault comes as far as there was room for it when the fault was met.
        let is_broken = whole
            .fault
            .as_deref()
            .is_some_and(|fault| !fault.contains(AN_END));
        let agree = if is_broken {
            whole.plain.starts_with(&other.plain)
        } else {
            whole.plain == other.plain
        };
        assert!(agree, "the pieces {:?} decide", case.lengths);
    }
    stored_by_hand(&case.bytes, &whole);
}

/// Goes over the stored blocks at the beginning: what is in them comes out, and their faults are found.
fn stored_by_hand(bytes: &[u8], outcome: &Outcome) {
    let (mut rest, mut plain) = (bytes, Vec::new());
    while let [kind, a, b, not_a, not_b, after @ ..] = rest
        && kind & 0b110 == 0
    {
        if [!a, !b] != [*not_a, *not_b] {
            assert!(
                outcome.fault.is_some(),
                "two lengths that differ were taken"
            );
            break;
        }
        let length = usize::from(*a) | usize::from(*b) << 8;
        plain.extend_from_slice(&after[..length.min(after.len())]);
        let Some(behind) = after.get(length..) else {
            break;
        };
        if kind & 1 == 1 {
            let fault = outcome.fault.as_deref().unwrap_or_default();
            assert!(fault.contains(AN_END), "{fault}");
            assert!(outcome.plain == plain, "more came than there is");
            break;
        }
        rest = behind;
    }
    assert!(
        outcome.plain.starts_with(&plain),
        "what was stored is missing"
    );
}
