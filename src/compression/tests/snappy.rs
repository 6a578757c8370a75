//! The framing format of snappy, by bytes typed by hand.

use bytes::BytesMut;

use super::{Method::Snappy, assert_at_every_split, assert_refused, decode_all, noise};

const IDENTIFIER: &[u8] = b"\xff\x06\0\0sNaPpY";
/// "OK" as it is, in a chunk.
const OK: &[u8] = b"\x01\x06\0\0\xd2\x4e\xdb\xbdOK";
/// Twenty times "a": the letter, and 19 more of what is one byte back.
const LETTERS: &[u8] = b"\x00\x0a\0\0\xf1\xea\x4d\xca\x14\x00a\x4a\x01\x00";
/// Nothing, as it is and compressed.
const NOTHING: [&[u8]; 2] = [
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
fn a_stream_is_read_in_whatever_pieces_it_arrives() {
    let padding = [&header(0xfe, 5)[..], b"\0\0\0\0\0"].concat();
    let unknown = [&header(0x80, 3)[..], b"???"].concat();
    let [empty, compressed_empty] = NOTHING;
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

/// fault: T7
/// checklist: 96, 97, 98, 99
#[test]
fn a_stream_that_does_not_begin_with_its_identifier_is_refused_at_once() {
    let beginnings: [&[u8]; 6] = [
        OK,
        LETTERS,
        b"\xfe\0\0\0",
        b"\x80\xff\xff\xff",
        b"\0\0\0\x06\0\0\0\0OK",
        b"HTTP/1.1 400 Bad Request",
    ];
    for beginning in beginnings {
        assert_refused(Snappy, beginning, b"", "it begins with a chunk of type 0x");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn an_identifier_of_something_else_is_refused_at_the_beginning_and_later() {
    for wrong in [&b"\xff\x06\0\0sNaPpX"[..], b"\xff\x06\0\0\0\0\0\0\0\0"] {
        assert_refused(Snappy, wrong, b"", "broken snappy stream: ");
        let later = stream(&[OK, wrong]);
        assert_refused(Snappy, &later, b"OK", "broken snappy stream: ");
    }
    for length in [0, 5, 7, (1 << 24) - 1] {
        let why = format!("a chunk of type 0xff with {length} bytes");
        assert_refused(Snappy, &header(0xff, length), b"", &why);
        let later = stream(&[OK, &header(0xff, length)]);
        assert_refused(Snappy, &later, b"OK", &why);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_bit_that_was_turned_on_the_way_is_found() {
    let intact = stream(&[OK, LETTERS]);
    // In the check sums and in what they are for.
    let first = IDENTIFIER.len() + 4..IDENTIFIER.len() + OK.len();
    let second = first.end + 4..intact.len();
    for bit in (first.start * 8..first.end * 8).chain(second.start * 8..second.end * 8) {
        let mut turned = intact.clone();
        turned[bit / 8] ^= 1 << (bit % 8);
        let before: &[u8] = if bit / 8 < first.end { b"" } else { b"OK" };
        assert_refused(Snappy, &turned, before, "broken snappy stream: ");
    }
}

/// fault: T7
/// checklist: 96, 97, 98, 99
#[test]
fn a_chunk_of_a_length_that_cannot_be_is_refused_by_its_header() {
    let most = (1 << 24) - 1;
    let compressed = [0, 1, 3, 76_491, most].map(|length| (0x00, length));
    let as_it_is = [0, 1, 3, 65_541, most].map(|length| (0x01, length));
    for (kind, length) in compressed.into_iter().chain(as_it_is) {
        let why = format!("a chunk of type 0x0{kind} with {length} bytes");
        let stream = stream(&[OK, &header(kind, length)]);
        assert_refused(Snappy, &stream, b"OK", &why);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_chunk_that_claims_more_than_64_kib_of_plain_bytes_is_refused() {
    for claim in [&b"\x81\x80\x04"[..], b"\xff\xff\xff\xff\x0f"] {
        let chunk = [
            &header(0, 4 + claim.len() + 2)[..],
            b"\0\0\0\0",
            claim,
            b"\0a",
        ]
        .concat();
        assert_refused(
            Snappy,
            &stream(&[OK, &chunk]),
            b"OK",
            "broken snappy stream: ",
        );
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_chunk_without_any_contents_is_refused() {
    let chunk = [&header(0, 4)[..], b"\xd8\xea\x82\xa2"].concat();
    // Whatever the chunk before it has left behind.
    for before in [OK, LETTERS] {
        let plain: &[u8] = if before == OK { b"OK" } else { &[b'a'; 20] };
        let stream = stream(&[before, &chunk]);
        assert_refused(Snappy, &stream, plain, "broken snappy stream: ");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn the_longest_chunk_of_plain_bytes_is_taken() {
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
fn a_reserved_chunk_is_refused_where_it_may_not_be_skipped() {
    for kind in 0x02..=0x7f {
        let why = format!("a chunk of the unknown type 0x{kind:02x}");
        let stream = stream(&[OK, &header(kind, 2), b"??", OK]);
        assert_refused(Snappy, &stream, b"OK", &why);
    }
}

/// fault: T7
/// checklist: 96, 97, 98, 99
#[test]
fn a_chunk_that_says_nothing_is_skipped_and_never_held() {
    for kind in 0x80..=0xfe {
        let stream = stream(&[&header(kind, 2), b"??", &header(kind, 0), OK]);
        assert_at_every_split(Snappy, &stream, b"OK");
    }
    for kind in [0x80, 0xfd, 0xfe] {
        let (mut decoder, mut out) = (Snappy.decoder(), [0; 16]);
        let mut input = BytesMut::from(&stream(&[&header(kind, (1 << 24) - 1)])[..]);
        assert_eq!(decoder.read(&mut input, &mut out).unwrap(), 0);
        for _ in 0..(1 << 24) / 4096 - 1 {
            assert!(input.is_empty(), "{} bytes are held", input.len());
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
fn a_fault_is_final_and_comes_after_the_bytes_before_it() {
    let (mut decoder, mut out) = (Snappy.decoder(), [0; 1]);
    let mut input = BytesMut::from(&stream(&[OK, b"\x02\0\0\0"])[..]);
    assert_eq!(decoder.read(&mut input, &mut out).unwrap(), 1);
    assert_eq!(decoder.read(&mut input, &mut out).unwrap(), 1);
    let fault = decoder.read(&mut input, &mut out).unwrap_err().to_string();
    assert_eq!(
        fault,
        "broken snappy stream: a chunk of the unknown type 0x02"
    );
    input.clear();
    input.extend_from_slice(&stream(&[OK]));
    let again = decoder.read(&mut input, &mut out).unwrap_err();
    assert_eq!(again.to_string(), fault);
}
