//! Tests of both codecs, with valid and invalid streams split anywhere.

mod deflate;
mod golang;
mod round_trip;
mod snappy;

use std::io;

use bytes::BytesMut;

use super::{Decoder, Method};

const DEFLATE: Method = Method::Deflate(6);

/// All methods; deflate at its fastest, default and slowest level.
const METHODS: [Method; 4] = [
    Method::Snappy,
    Method::Deflate(1),
    DEFLATE,
    Method::Deflate(9),
];

/// Decodes all available bytes of `input`, at most `capacity` bytes per call.
fn decode_all(decoder: &mut Decoder, input: &mut BytesMut, capacity: usize) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    decode_into(decoder, input, capacity, &mut plain)?;
    Ok(plain)
}

fn decode_into(
    decoder: &mut Decoder,
    input: &mut BytesMut,
    capacity: usize,
    plain: &mut Vec<u8>,
) -> io::Result<()> {
    let mut out = vec![0; capacity];
    loop {
        match decoder.read(input, &mut out)? {
            0 => return Ok(()),
            read => plain.extend_from_slice(&out[..read]),
        }
    }
}

/// Decodes a stream that arrives in pieces, and returns its plain bytes and its error.
fn outcome<'a>(
    method: Method,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    capacity: usize,
) -> (Vec<u8>, Option<String>) {
    let (mut decoder, mut input) = (method.decoder(), BytesMut::new());
    let mut plain = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        if let Err(error) = decode_into(&mut decoder, &mut input, capacity, &mut plain) {
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            return (plain, Some(error.to_string()));
        }
    }
    (plain, None)
}

/// Asserts that a stream decodes to `expected`, split at every offset and with small buffers.
#[track_caller]
fn assert_at_every_split(method: Method, stream: &[u8], expected: &[u8]) {
    let expected = (expected.to_vec(), None);
    for capacity in [1, 7, 1024] {
        assert_eq!(outcome(method, stream.chunks(1), capacity), expected);
        for at in 0..=stream.len() {
            let (front, back) = stream.split_at(at);
            assert_eq!(
                outcome(method, [front, back], capacity),
                expected,
                "at {at}"
            );
        }
    }
}

/// Asserts that a stream is rejected after the bytes `plain`, with an error that contains `text`,
/// in one piece and byte by byte.
#[track_caller]
fn assert_rejected(method: Method, stream: &[u8], plain: &[u8], text: &str) {
    for size in [1, stream.len()] {
        let (decoded, error) = outcome(method, stream.chunks(size), 1024);
        let error = error.unwrap_or_else(|| panic!("{stream:02x?} was accepted as {decoded:?}"));
        assert!(error.contains(text), "{error} does not contain {text:?}");
        assert_eq!(decoded, plain);
    }
}

/// Returns incompressible bytes, always the same.
fn noise(length: usize) -> Vec<u8> {
    let random = &mut fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}
