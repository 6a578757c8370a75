//! What a connection may rely on, whatever the peer sends and however it arrives.

mod round_trip;

use std::io;

use bytes::BytesMut;

use super::{Decoder, Method};

/// Each method, deflate from its fastest level to its slowest.
pub(super) fn methods() -> Vec<Method> {
    vec![
        Method::Snappy,
        Method::Deflate(1),
        Method::Deflate(6),
        Method::Deflate(9),
    ]
}

/// All that can be decoded of `input` by now, so many bytes at a time.
pub(super) fn decode_all(
    decoder: &mut Decoder,
    input: &mut BytesMut,
    room: usize,
) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    let mut out = vec![0; room];
    loop {
        match decoder.read(input, &mut out)? {
            0 => return Ok(plain),
            read => plain.extend_from_slice(&out[..read]),
        }
    }
}
