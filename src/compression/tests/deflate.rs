//! Tests of raw deflate with hand-written bytes and with bytes from zlib.

use bytes::BytesMut;

use super::{DEFLATE, assert_at_every_split, assert_rejected, decode_all};

/// A stored block that contains "OK".
const OK: &[u8] = b"\x00\x02\x00\xfd\xffOK";
/// An empty stored block, which ends each flush.
const EMPTY: &[u8] = b"\x00\x00\x00\xff\xff";
/// Twenty times "a" and a flush, by zlib with the fixed Huffman table.
const LETTERS: &[u8] = b"\x4a\x4c\xc4\x04\x00\x00\x00\x00\xff\xff";
/// [`TEXT`] and a flush, by zlib with a dynamic Huffman table.
const DYNAMIC: &[u8] = b"\
    \x5c\x8c\x6b\x0e\x02\x41\x08\x83\xaf\xd2\x03\x78\x02\x6f\x83\x2e\xeb\x4c\x32\x03\
    \x0a\x35\xea\xed\x65\xe3\x23\xc6\xef\x07\x81\x96\xd6\xf2\xb2\xc0\xbe\x43\xd0\xae\
    \xb6\x84\xd6\x66\x0b\xb2\xdf\xf9\xc0\x50\x52\x23\x77\x48\x9f\x0a\x5f\xc1\xa6\x13\
    \xab\x04\xa6\xc7\x26\x50\xad\x34\x31\x78\x39\xaf\xc7\xed\x66\xb5\x51\x0e\xe3\x93\
    \xe9\x51\x55\x76\x62\x4b\xf4\xc4\xcd\x83\x0d\x9d\x89\xf3\x90\xa3\xee\xa1\x7f\x80\
    \x3f\x40\xde\xc0\x8b\x27\x00\x00\x00\xff\xff";
const TEXT: &str = "\
    nsqd nsqd nsqd a hundred and sixty letters, some of them far more often than others, so \
    that a table of their lengths is worth its place: eeeeeeeeeeeeeeee tttttttttttt \
    aaaaaaaa oooo";

/// fault: T8
/// checklist: 96, 97, 98, 99
#[test]
fn stream_split_anywhere_is_decoded() {
    let stream = [OK, EMPTY, LETTERS, EMPTY, EMPTY, DYNAMIC, OK].concat();
    let expected = ["OK", &"a".repeat(20), TEXT, "OK"].concat();
    assert_at_every_split(DEFLATE, &stream, expected.as_bytes());
}

/// checklist: 96, 97, 98, 99
#[test]
fn flushed_bytes_are_decoded_without_further_input() {
    let (mut decoder, mut input) = (DEFLATE.decoder(), BytesMut::new());
    let blocks = [(OK, "OK"), (DYNAMIC, TEXT), (EMPTY, ""), (OK, "OK")];
    for (block, text) in blocks {
        input.extend_from_slice(block);
        let plain = decode_all(&mut decoder, &mut input, 16).unwrap();
        assert_eq!(plain, text.as_bytes());
        assert!(input.is_empty());
    }
}

/// contract: 12
/// fault: T8
/// checklist: 96, 97, 98, 99
#[test]
fn garbage_is_rejected_after_the_bytes_before_it() {
    let rejected: [(&str, &[u8], &[u8]); 6] = [
        ("a block of the reserved type", b"\x06", b""),
        ("the same as a final block", b"\x07", b""),
        ("two different lengths", b"\x00\x02\x00\xfd\xfeOK", b""),
        ("a letter, then an undefined code", b"\x4a\x1c\x43", b"a"),
        (
            "an invalid table",
            b"\xec\xff\xff\xff\xff\xff\xff\xff\xff",
            b"",
        ),
        ("text", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""),
    ];
    for (what, garbage, before) in rejected {
        println!("{what}");
        assert_rejected(DEFLATE, garbage, before, "invalid deflate stream: ");
    }
    for (what, garbage, before) in &rejected[..3] {
        println!("OK, then {what}");
        let stream = [OK, EMPTY, garbage].concat();
        let before = [b"OK", *before].concat();
        assert_rejected(DEFLATE, &stream, &before, "invalid deflate stream: ");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn reference_before_the_start_is_rejected() {
    let three_bytes_from_one_byte_back = b"\x02\x02\x00\x00\x00\x00\xff\xff";
    assert_rejected(
        DEFLATE,
        three_bytes_from_one_byte_back,
        b"",
        "invalid deflate stream: ",
    );
}

/// fault: T8
/// checklist: 96, 97, 98, 99
#[test]
fn final_block_is_rejected_after_its_bytes() {
    let unexpected = "invalid deflate stream: unexpected final block";
    let final_blocks: [(&[u8], &[u8]); 4] = [
        (b"\x03\x00", b"OK"),
        (b"\x01\x00\x00\xff\xff", b"OK"),
        (b"\x01\x02\x00\xfd\xffOK", b"OKOK"),
        // Followed by another block.
        (b"\x01\x02\x00\xfd\xffOK\x00\x02\x00\xfd\xffOK", b"OKOK"),
    ];
    for (block, plain) in final_blocks {
        assert_rejected(DEFLATE, &[OK, block].concat(), plain, unexpected);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn error_is_final() {
    let (mut decoder, mut out) = (DEFLATE.decoder(), [0; 16]);
    for bytes in [&b"\x06"[..], OK, b"", LETTERS] {
        let mut input = BytesMut::from(bytes);
        let error = decoder.read(&mut input, &mut out).unwrap_err();
        assert!(error.to_string().starts_with("invalid deflate stream: "));
    }
}

/// Bytes that do not fit into the caller's buffer stay compressed.
///
/// contract: 12
/// fault: T8
/// checklist: 96, 97, 98, 99
#[test]
fn bomb_is_decompressed_only_as_far_as_the_buffer_allows() {
    const BLOCK: usize = 1 << 20;
    const BLOCKS: usize = 24;
    let mut block = BytesMut::new();
    let mut encoder = DEFLATE.encoder();
    encoder.write(&[0; BLOCK], &mut block).unwrap();
    encoder.flush(&mut block).unwrap();
    assert!(block.len() < BLOCK / 950, "{} bytes", block.len());

    let (mut decoder, mut out) = (DEFLATE.decoder(), vec![1; 16 << 10]);
    let mut bomb = BytesMut::from(&block.repeat(BLOCKS)[..]);
    let (whole, mut decompressed) = (bomb.len(), 0);
    loop {
        let read = decoder.read(&mut bomb, &mut out).unwrap();
        if read == 0 {
            break;
        }
        assert!(out[..read].iter().all(|byte| *byte == 0));
        decompressed += read;
        // The decoder is at most its window of 32 KiB and a few input bytes ahead.
        let consumed = (whole - bomb.len()) as f64 / whole as f64;
        let produced = (decompressed + (64 << 10)) as f64 / (BLOCK * BLOCKS) as f64;
        assert!(
            consumed <= produced,
            "consumed {consumed} of the input for {produced} of the output"
        );
    }
    assert_eq!(decompressed, BLOCK * BLOCKS);
    assert!(bomb.is_empty());
}

/// checklist: 96, 97, 98, 99
#[test]
fn empty_blocks_are_consumed_and_not_buffered() {
    let (mut decoder, mut out) = (DEFLATE.decoder(), [0; 16]);
    let mut input = BytesMut::new();
    for _ in 0..10_000 {
        input.extend_from_slice(EMPTY);
        assert_eq!(decoder.read(&mut input, &mut out).unwrap(), 0);
        assert!(input.is_empty());
    }
    input.extend_from_slice(OK);
    assert_eq!(decode_all(&mut decoder, &mut input, 16).unwrap(), b"OK");
}
