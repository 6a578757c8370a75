//! Tests of snappy's framing format with hand-written bytes.

use bytes::BytesMut;

use super::{Method::Snappy, assert_at_every_split, assert_rejected, decode_all, noise};

const IDENTIFIER: &[u8] = b"\xff\x06\0\0sNaPpY";
/// An uncompressed chunk that contains "OK".
const OK: &[u8] = b"\x01\x06\0\0\xd2\x4e\xdb\xbdOK";
/// Twenty times "a": the letter, then a copy of 19 bytes from offset 1.
const LETTERS: &[u8] = b"\x00\x0a\0\0\xf1\xea\x4d\xca\x14\x00a\x4a\x01\x00";
/// Empty chunks, uncompressed and compressed.
const EMPTY: [&[u8]; 2] = [
    b"\x01\x04\0\0\xd8\xea\x82\xa2",
    b"\x00\x05\0\0\xd8\xea\x82\xa2\x00",
];

fn stream(chunks: &[&[u8]]) -> Vec<u8> {
    [&[IDENTIFIER], chunks].concat().concat()
}

fn header(kind: u8, length: usize) -> [u8; 4] {
    let [low, middle, high, _] = u32::try_from(length).unwrap().to_le_bytes();
    [kind, low, middle, high]
}

/// fault: T7
/// checklist: 96, 97, 98, 99
#[test]
fn stream_split_anywhere_is_decoded() {
    let padding = [&header(0xfe, 5)[..], b"\0\0\0\0\0"].concat();
    let unknown = [&header(0x80, 3)[..], b"???"].concat();
    let [empty, compressed_empty] = EMPTY;
    let stream = stream(&[
        &padding,
        OK,
        empty,
        LETTERS,
        &unknown,
        IDENTIFIER,
        compressed_empty,
        LETTERS,
        OK,
    ]);
    let expected = b"OKaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaOK";
    assert_at_every_split(Snappy, &stream, expected);
}

/// contract: 12
/// fault: T7
/// checklist: 96, 97, 98, 99
#[test]
fn stream_without_its_identifier_is_rejected_at_once() {
    let beginnings: [&[u8]; 6] = [
        OK,
        LETTERS,
        b"\xfe\0\0\0",
        b"\x80\xff\xff\xff",
        b"\0\0\0\x06\0\0\0\0OK",
        b"HTTP/1.1 400 Bad Request",
    ];
    for beginning in beginnings {
        assert_rejected(Snappy, beginning, b"", "the first chunk has type 0x");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn invalid_identifier_is_rejected_at_the_start_and_later() {
    for wrong in [&b"\xff\x06\0\0sNaPpX"[..], b"\xff\x06\0\0\0\0\0\0\0\0"] {
        assert_rejected(Snappy, wrong, b"", "invalid snappy stream: ");
        let later = stream(&[OK, wrong]);
        assert_rejected(Snappy, &later, b"OK", "invalid snappy stream: ");
    }
    for length in [0, 5, 7, (1 << 24) - 1] {
        let problem = format!("chunk of type 0xff with invalid length {length}");
        assert_rejected(Snappy, &header(0xff, length), b"", &problem);
        let later = stream(&[OK, &header(0xff, length)]);
        assert_rejected(Snappy, &later, b"OK", &problem);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn flipped_bit_is_detected() {
    let intact = stream(&[OK, LETTERS]);
    // In the checksums and in the contents.
    let first = IDENTIFIER.len() + 4..IDENTIFIER.len() + OK.len();
    let second = first.end + 4..intact.len();
    for bit in (first.start * 8..first.end * 8).chain(second.start * 8..second.end * 8) {
        let mut corrupt = intact.clone();
        corrupt[bit / 8] ^= 1 << (bit % 8);
        let before: &[u8] = if bit / 8 < first.end { b"" } else { b"OK" };
        assert_rejected(Snappy, &corrupt, before, "invalid snappy stream: ");
    }
}

/// contract: 12
/// fault: T7
/// checklist: 96, 97, 98, 99
#[test]
fn chunk_with_an_invalid_length_is_rejected_by_its_header() {
    let most = (1 << 24) - 1;
    let compressed = [0, 1, 3, 76_491, most].map(|length| (0x00, length));
    let uncompressed = [0, 1, 3, 65_541, most].map(|length| (0x01, length));
    for (kind, length) in compressed.into_iter().chain(uncompressed) {
        let problem = format!("chunk of type 0x0{kind} with invalid length {length}");
        let stream = stream(&[OK, &header(kind, length)]);
        assert_rejected(Snappy, &stream, b"OK", &problem);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn chunk_of_more_than_64_kib_of_plain_bytes_is_rejected() {
    for claim in [&b"\x81\x80\x04"[..], b"\xff\xff\xff\xff\x0f"] {
        let chunk = [
            &header(0, 4 + claim.len() + 2)[..],
            b"\0\0\0\0",
            claim,
            b"\0a",
        ]
        .concat();
        assert_rejected(
            Snappy,
            &stream(&[OK, &chunk]),
            b"OK",
            "invalid snappy stream: ",
        );
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn chunk_without_contents_is_rejected() {
    let chunk = [&header(0, 4)[..], b"\xd8\xea\x82\xa2"].concat();
    // Independent of the state that the chunk before it left behind.
    for before in [OK, LETTERS] {
        let plain: &[u8] = if before == OK { b"OK" } else { &[b'a'; 20] };
        let stream = stream(&[before, &chunk]);
        assert_rejected(Snappy, &stream, plain, "invalid snappy stream: ");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn longest_uncompressed_chunk_is_accepted() {
    let body = noise(65_536);
    let mut wire = BytesMut::new();
    let mut encoder = Snappy.encoder();
    encoder.write(&body, &mut wire).unwrap();
    encoder.flush(&mut wire).unwrap();
    assert_eq!(wire[10..14], header(1, 65_540));
    let plain = decode_all(&mut Snappy.decoder(), &mut wire, 16 << 10).unwrap();
    assert!(plain == body);
}

/// checklist: 96, 97, 98, 99
#[test]
fn unskippable_reserved_chunk_is_rejected() {
    for kind in 0x02..=0x7f {
        let problem = format!("unsupported chunk type 0x{kind:02x}");
        let stream = stream(&[OK, &header(kind, 2), b"??", OK]);
        assert_rejected(Snappy, &stream, b"OK", &problem);
    }
}

/// fault: T7
/// checklist: 96, 97, 98, 99
#[test]
fn skippable_chunk_is_skipped_and_not_buffered() {
    for kind in 0x80..=0xfe {
        let stream = stream(&[&header(kind, 2), b"??", &header(kind, 0), OK]);
        assert_at_every_split(Snappy, &stream, b"OK");
    }
    for kind in [0x80, 0xfd, 0xfe] {
        let (mut decoder, mut out) = (Snappy.decoder(), [0; 16]);
        let mut input = BytesMut::from(&stream(&[&header(kind, (1 << 24) - 1)])[..]);
        assert_eq!(decoder.read(&mut input, &mut out).unwrap(), 0);
        for _ in 0..(1 << 24) / 4096 - 1 {
            assert!(input.is_empty(), "{} bytes are buffered", input.len());
            input.extend_from_slice(&[0xff; 4096]);
            assert_eq!(decoder.read(&mut input, &mut out).unwrap(), 0);
        }
        assert!(input.capacity() <= 8192, "{}", input.capacity());
        input.extend_from_slice(&[0xff; 4095]);
        input.extend_from_slice(OK);
        assert_eq!(decoder.read(&mut input, &mut out).unwrap(), 2);
        assert_eq!(&out[..2], b"OK");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn error_is_final_and_follows_the_bytes_before_it() {
    let (mut decoder, mut out) = (Snappy.decoder(), [0; 1]);
    let mut input = BytesMut::from(&stream(&[OK, b"\x02\0\0\0"])[..]);
    assert_eq!(decoder.read(&mut input, &mut out).unwrap(), 1);
    assert_eq!(decoder.read(&mut input, &mut out).unwrap(), 1);
    let error = decoder.read(&mut input, &mut out).unwrap_err().to_string();
    assert_eq!(error, "invalid snappy stream: unsupported chunk type 0x02");
    input.clear();
    input.extend_from_slice(&stream(&[OK]));
    let again = decoder.read(&mut input, &mut out).unwrap_err();
    assert_eq!(again.to_string(), error);
}
