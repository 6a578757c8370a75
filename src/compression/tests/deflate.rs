//! Raw deflate, by bytes typed by hand or made by zlib.

use bytes::BytesMut;

use super::{DEFLATE, assert_at_every_split, assert_refused, decode_all};

/// A stored block with "OK" in it.
const OK: &[u8] = b"\x00\x02\x00\xfd\xffOK";
/// What a flush ends with: a stored block with nothing in it.
const NOTHING: &[u8] = b"\x00\x00\x00\xff\xff";
/// zlib's, with its fixed table: twenty times "a", and a flush.
const LETTERS: &[u8] = b"\x4a\x4c\xc4\x04\x00\x00\x00\x00\xff\xff";
/// zlib's, with a table of the text's own: [`TEXT`], and a flush.
const OWN_TABLE: &[u8] = b"\
    \x5c\x8c\x6b\x0e\x02\x41\x08\x83\xaf\xd2\x03\x78\x02\x6f\x83\x2e\xeb\x4c\x32\x03\x0a\x35\xea\xed\
    \x65\xe3\x23\xc6\xef\x07\x81\x96\xd6\xf2\xb2\xc0\xbe\x43\xd0\xae\xb6\x84\xd6\x66\x0b\xb2\xdf\xf9\
    \xc0\x50\x52\x23\x77\x48\x9f\x0a\x5f\xc1\xa6\x13\xab\x04\xa6\xc7\x26\x50\xad\x34\x31\x78\x39\xaf\
    \xc7\xed\x66\xb5\x51\x0e\xe3\x93\xe9\x51\x55\x76\x62\x4b\xf4\xc4\xcd\x83\x0d\x9d\x89\xf3\x90\xa3\
    \xee\xa1\x7f\x80\x3f\x40\xde\xc0\x8b\x27\x00\x00\x00\xff\xff";
const TEXT: &str = "nsqd nsqd nsqd a hundred and sixty letters, some of them far more often than others, so that a table of their lengths is worth its place: eeeeeeeeeeeeeeee tttttttttttt aaaaaaaa oooo";

/// fault: T8
/// checklist: 96, 97, 98, 99
#[test]
fn a_stream_is_read_in_whatever_pieces_it_arrives() {
    let stream = [OK, NOTHING, LETTERS, NOTHING, NOTHING, OWN_TABLE, OK].concat();
    let expected = ["OK", &"a".repeat(20), TEXT, "OK"].concat();
    assert_at_every_split(DEFLATE, &stream, expected.as_bytes());
}

/// checklist: 96, 97, 98, 99
#[test]
fn each_flush_is_readable_without_a_byte_of_what_follows() {
    let (mut decoder, mut input) = (DEFLATE.decoder(), BytesMut::new());
    let blocks = [(OK, "OK"), (OWN_TABLE, TEXT), (NOTHING, ""), (OK, "OK")];
    for (block, text) in blocks {
        input.extend_from_slice(block);
        let plain = decode_all(&mut decoder, &mut input, 16).unwrap();
        assert_eq!(plain, text.as_bytes());
        assert!(input.is_empty());
    }
}

/// fault: T8
/// checklist: 96, 97, 98, 99
#[test]
fn garbage_is_refused_after_the_bytes_before_it() {
    let refused: [(&str, &[u8], &[u8]); 6] = [
        ("a block of the reserved type", b"\x06", b""),
        ("the same, as the last block", b"\x07", b""),
        ("two lengths that differ", b"\x00\x02\x00\xfd\xfeOK", b""),
        (
            "a letter, and a code that stands for nothing",
            b"\x4a\x1c\x43",
            b"a",
        ),
        (
            "a table that cannot be",
            b"\xec\xff\xff\xff\xff\xff\xff\xff\xff",
            b"",
        ),
        ("text", b"HTTP/1.1 400 Bad Request\r\n\r\n", b""),
    ];
    for (what, garbage, before) in refused {
        println!("{what}");
        assert_refused(DEFLATE, garbage, before, "broken deflate stream: ");
    }
    for (what, garbage, before) in &refused[..3] {
        println!("OK, and {what}");
        let stream = [OK, NOTHING, garbage].concat();
        let before = [b"OK", *before].concat();
        assert_refused(DEFLATE, &stream, &before, "broken deflate stream: ");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_reference_to_before_the_beginning_is_refused() {
    let three_bytes_from_one_byte_back = b"\x02\x02\x00\x00\x00\x00\xff\xff";
    assert_refused(
        DEFLATE,
        three_bytes_from_one_byte_back,
        b"",
        "broken deflate stream: ",
    );
}

/// fault: T8
/// checklist: 96, 97, 98, 99
#[test]
fn an_end_before_the_connection_ends_is_refused_after_the_bytes_in_it() {
    let ends_in_the_midst = "broken deflate stream: it ends in the midst";
    let last_blocks: [(&[u8], &[u8]); 4] = [
        (b"\x03\x00", b"OK"),
        (b"\x01\x00\x00\xff\xff", b"OK"),
        (b"\x01\x02\x00\xfd\xffOK", b"OKOK"),
        // With more behind it.
        (b"\x01\x02\x00\xfd\xffOK\x00\x02\x00\xfd\xffOK", b"OKOK"),
    ];
    for (block, plain) in last_blocks {
        assert_refused(DEFLATE, &[OK, block].concat(), plain, ends_in_the_midst);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_fault_is_final() {
    let (mut decoder, mut out) = (DEFLATE.decoder(), [0; 16]);
    for bytes in [&b"\x06"[..], OK, b"", LETTERS] {
        let mut input = BytesMut::from(bytes);
        let fault = decoder.read(&mut input, &mut out).unwrap_err();
        assert!(fault.to_string().starts_with("broken deflate stream: "));
    }
}

/// Nothing is unpacked beforehand: what does not fit into the room stays compressed.
/// fault: T8
/// checklist: 96, 97, 98, 99
#[test]
fn a_thousandfold_bomb_is_unpacked_only_as_far_as_there_is_room() {
    const BLOCK: usize = 1 << 20;
    const BLOCKS: usize = 24;
    let mut block = BytesMut::new();
    let mut encoder = DEFLATE.encoder();
    encoder.write(&[0; BLOCK], &mut block).unwrap();
    encoder.flush(&mut block).unwrap();
    assert!(block.len() < BLOCK / 950, "{} bytes", block.len());

    let (mut decoder, mut out) = (DEFLATE.decoder(), vec![1; 16 << 10]);
    let mut bomb = BytesMut::from(&block.repeat(BLOCKS)[..]);
    let (whole, mut unpacked) = (bomb.len(), 0);
    loop {
        let read = decoder.read(&mut bomb, &mut out).unwrap();
        if read == 0 {
            break;
        }
        assert!(out[..read].iter().all(|byte| *byte == 0));
        unpacked += read;
        // A window of 32 KiB is ahead, at most, and some bytes of what makes it.
        let taken = (whole - bomb.len()) as f64 / whole as f64;
        let given = (unpacked + (64 << 10)) as f64 / (BLOCK * BLOCKS) as f64;
        assert!(
            taken <= given,
            "{taken} of the bomb for {given} of its contents"
        );
    }
    assert_eq!(unpacked, BLOCK * BLOCKS);
    assert!(bomb.is_empty());
}

/// checklist: 96, 97, 98, 99
#[test]
fn blocks_with_nothing_in_them_are_taken_and_never_held() {
    let (mut decoder, mut out) = (DEFLATE.decoder(), [0; 16]);
    let mut input = BytesMut::new();
    for _ in 0..10_000 {
        input.extend_from_slice(NOTHING);
        assert_eq!(decoder.read(&mut input, &mut out).unwrap(), 0);
        assert!(input.is_empty());
    }
    input.extend_from_slice(OK);
    assert_eq!(decode_all(&mut decoder, &mut input, 16).unwrap(), b"OK");
}
