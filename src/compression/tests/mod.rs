//! What a connection may rely on, whatever the peer sends and however it arrives.

mod deflate;
mod golang;
mod round_trip;
mod snappy;

use std::io;

use bytes::BytesMut;

use super::{Decoder, Method};

const DEFLATE: Method = Method::Deflate(6);

/// Each method, deflate from its fastest level to its slowest.
const METHODS: [Method; 4] = [
    Method::Snappy,
    Method::Deflate(1),
    DEFLATE,
    Method::Deflate(9),
];

/// All that can be decoded of `input` by now, so many bytes at a time.
fn decode_all(decoder: &mut Decoder, input: &mut BytesMut, room: usize) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    decode_into(decoder, input, room, &mut plain)?;
    Ok(plain)
}

fn decode_into(
    decoder: &mut Decoder,
    input: &mut BytesMut,
    room: usize,
    plain: &mut Vec<u8>,
) -> io::Result<()> {
    let mut out = vec![0; room];
    loop {
        match decoder.read(input, &mut out)? {
            0 => return Ok(()),
            read => plain.extend_from_slice(&out[..read]),
        }
    }
}

/// The plain bytes of a stream that arrives in such pieces, up to the fault in it.
fn outcome<'a>(
    method: Method,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    room: usize,
) -> (Vec<u8>, Option<String>) {
    let (mut decoder, mut input) = (method.decoder(), BytesMut::new());
    let mut plain = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        if let Err(error) = decode_into(&mut decoder, &mut input, room, &mut plain) {
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            return (plain, Some(error.to_string()));
        }
    }
    (plain, None)
}

/// Asserts that a stream holds what it should, in whatever pieces it arrives and is asked for.
#[track_caller]
fn assert_at_every_split(method: Method, stream: &[u8], expected: &[u8]) {
    let expected = (expected.to_vec(), None);
    for room in [1, 7, 1024] {
        assert_eq!(outcome(method, stream.chunks(1), room), expected);
        for at in 0..=stream.len() {
            let (front, back) = stream.split_at(at);
            assert_eq!(outcome(method, [front, back], room), expected, "at {at}");
        }
    }
}

/// Asserts that a stream is refused after such plain bytes, at once or byte by byte, and what the refusal says.
#[track_caller]
fn assert_refused(method: Method, stream: &[u8], plain: &[u8], why: &str) {
    for size in [1, stream.len()] {
        let (came, error) = outcome(method, stream.chunks(size), 1024);
        let error = error.unwrap_or_else(|| panic!("{stream:02x?} was taken, as {came:?}"));
        assert!(error.contains(why), "{error} does not say {why:?}");
        assert_eq!(came, plain);
    }
}

/// Bytes that no method makes shorter, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let random = &mut fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}
