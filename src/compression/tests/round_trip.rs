//! Round trips: the decoded bytes are those that were encoded.

use bytes::BytesMut;
use proptest::prelude::*;

use super::{METHODS, decode_all, decode_into, noise, outcome};

/// checklist: 96, 97, 98, 99
#[test]
fn flush_without_new_bytes_writes_nothing() {
    for method in METHODS {
        let (mut encoder, mut wire) = (method.encoder(), BytesMut::new());
        encoder.flush(&mut wire).unwrap();
        encoder.write(b"", &mut wire).unwrap();
        encoder.flush(&mut wire).unwrap();
        assert!(wire.is_empty(), "{method:?}");
        encoder.write(b"a message", &mut wire).unwrap();
        encoder.flush(&mut wire).unwrap();
        let length = wire.len();
        encoder.flush(&mut wire).unwrap();
        encoder.write(b"", &mut wire).unwrap();
        encoder.flush(&mut wire).unwrap();
        assert_eq!(wire.len(), length, "{method:?}");
    }
}

/// The limits are powers of two up to the encoder's buffer and the chunks of snappy.
/// checklist: 96, 97, 98, 99
#[test]
fn lengths_around_internal_limits_are_round_tripped() {
    let noise = noise((64 << 10) + 8);
    let limits = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];
    for method in METHODS {
        let (mut encoder, mut decoder) = (method.encoder(), method.decoder());
        let mut wire = BytesMut::new();
        for length in limits.into_iter().flat_map(|limit| limit - 24..=limit + 8) {
            encoder.write(&noise[..length], &mut wire).unwrap();
            encoder.flush(&mut wire).unwrap();
            let plain = decode_all(&mut decoder, &mut wire, 16 << 10).unwrap();
            assert!(plain == noise[..length], "{length} by {method:?}");
        }
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn large_bodies_are_round_tripped() {
    for method in METHODS {
        let (mut encoder, mut decoder) = (method.encoder(), method.decoder());
        for body in [noise(1 << 20), vec![0; 1 << 20]] {
            let mut wire = BytesMut::new();
            encoder.write(&body, &mut wire).unwrap();
            encoder.flush(&mut wire).unwrap();
            let (mut input, mut plain) = (BytesMut::new(), Vec::new());
            for piece in wire.chunks(1500) {
                input.extend_from_slice(piece);
                decode_into(&mut decoder, &mut input, 16 << 10, &mut plain).unwrap();
            }
            assert!(plain == body, "{method:?}");
        }
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn empty_output_buffer_consumes_no_input() {
    for method in METHODS {
        let (mut encoder, mut decoder) = (method.encoder(), method.decoder());
        let mut wire = BytesMut::new();
        encoder.write(b"a message", &mut wire).unwrap();
        encoder.flush(&mut wire).unwrap();
        let length = wire.len();
        assert_eq!(decoder.read(&mut wire, &mut []).unwrap(), 0);
        assert_eq!(wire.len(), length);
        let mut out = [0; 4];
        assert_eq!(decoder.read(&mut wire, &mut out).unwrap(), 4);
        assert_eq!(decoder.read(&mut wire, &mut []).unwrap(), 0);
        assert_eq!(decode_all(&mut decoder, &mut wire, 4).unwrap(), b"ssage");
    }
}

/// Writes between two flushes: repetitive text and incompressible bytes.
fn any_burst() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    let text = ("[a-d]{1,8}", 0_usize..3000).prop_map(|(word, times)| word.repeat(times).into());
    prop::collection::vec(prop_oneof![noise, text], 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// checklist: 96, 97, 98, 99
    #[test]
    fn bursts_split_anywhere_are_decoded_after_their_flush(
        method in prop::sample::select(&METHODS[..]),
        bursts in prop::collection::vec((any_burst(), 1_usize..4000, 1_usize..20_000), 1..8),
    ) {
        let (mut encoder, mut decoder) = (method.encoder(), method.decoder());
        for (burst, piece, capacity) in bursts {
            let mut wire = BytesMut::new();
            for write in &burst {
                encoder.write(write, &mut wire).unwrap();
            }
            encoder.flush(&mut wire).unwrap();
            let (mut input, mut plain) = (BytesMut::new(), Vec::new());
            for piece in wire.chunks(piece) {
                input.extend_from_slice(piece);
                decode_into(&mut decoder, &mut input, capacity, &mut plain).unwrap();
            }
            prop_assert!(input.is_empty());
            prop_assert!(plain == burst.concat());
        }
    }

    /// checklist: 96, 97, 98, 99
    #[test]
    fn garbage_split_anywhere_has_the_same_outcome(
        method in prop::sample::select(&METHODS[..2]),
        beginning in prop::sample::select(vec![&b""[..], b"\xff\x06\0\0sNaPpY"]),
        garbage in prop::collection::vec(any::<u8>(), 0..200),
        piece in 1_usize..200,
    ) {
        let bytes = [beginning, &garbage].concat();
        let whole = outcome(method, [&bytes[..]], 1 << 16);
        let split = outcome(method, bytes.chunks(piece), 1 << 16);
        prop_assert_eq!(whole, split);
    }
}
