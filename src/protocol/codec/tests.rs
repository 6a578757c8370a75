//! Tests of the frame decoder with hand-written bytes: complete, split, and malformed.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::protocol::{ErrorCode, Message, MessageId, ServerError};

const LIMIT: usize = 1024;

const OK: &[u8] = b"\x00\x00\x00\x06\x00\x00\x00\x00OK";
const HEARTBEAT: &[u8] = b"\x00\x00\x00\x0f\x00\x00\x00\x00_heartbeat_";
const CLOSE_WAIT: &[u8] = b"\x00\x00\x00\x0e\x00\x00\x00\x00CLOSE_WAIT";
const JSON: &[u8] = b"\x00\x00\x00\x06\x00\x00\x00\x00{}";
const EMPTY: &[u8] = b"\x00\x00\x00\x04\x00\x00\x00\x00";
const ERROR: &[u8] = b"\x00\x00\x00\x15\x00\x00\x00\x01E_BAD_TOPIC PUB x";
const MESSAGE: &[u8] = b"\x00\x00\x00\x23\x00\x00\x00\x02\
    \x16\x2e\xa4\x03\x0d\x40\x0b\x01\x00\x030123456789abcdefhello";

fn golden() -> Vec<(&'static [u8], Frame)> {
    vec![
        (OK, Frame::Ok),
        (HEARTBEAT, Frame::Heartbeat),
        (CLOSE_WAIT, Frame::CloseWait),
        (JSON, Frame::Response(Bytes::from_static(b"{}"))),
        (EMPTY, Frame::Response(Bytes::new())),
        (
            ERROR,
            Frame::Error(ServerError::parse(b"E_BAD_TOPIC PUB x")),
        ),
        (
            MESSAGE,
            Frame::Message(Message {
                timestamp: 0x162e_a403_0d40_0b01,
                attempts: 3,
                id: MessageId::new(*b"0123456789abcdef"),
                body: Bytes::from_static(b"hello"),
            }),
        ),
    ]
}

/// Appends the pieces one by one and decodes all available frames after each.
fn decode_all(pieces: &[&[u8]]) -> Result<Vec<Frame>, DecodeError> {
    let (mut decoder, mut buf, mut frames) =
        (FrameDecoder::new(LIMIT), BytesMut::new(), Vec::new());
    for piece in pieces {
        buf.extend_from_slice(piece);
        while let Some(frame) = decoder.decode(&mut buf)? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

/// checklist: 12
#[test]
fn every_kind_of_frame_is_decoded() {
    for (bytes, frame) in golden() {
        assert_eq!(decode_all(&[bytes]), Ok(vec![frame.clone()]));
        assert_eq!(Frame::decode(Bytes::from_static(&bytes[4..])), Ok(frame));
    }
}

/// checklist: 12
#[test]
fn fixed_responses_must_match_exactly() {
    for word in [&b"OK\n"[..], b"ok", b"O", b"_heartbeat", b"CLOSE_WAIT "] {
        let payload = [b"\x00\x00\x00\x00", word].concat();
        assert_eq!(
            Frame::decode(payload.into()),
            Ok(Frame::Response(Bytes::from_static(word)))
        );
    }
    let error = Frame::decode(Bytes::from_static(b"\x00\x00\x00\x01OK")).unwrap();
    assert!(matches!(error, Frame::Error(e) if e.code() == ErrorCode::Unknown));
}

/// fault: P8
/// checklist: 12
#[test]
fn frame_split_at_any_offset_is_decoded() {
    for (bytes, frame) in golden() {
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(decode_all(&[head, tail]), Ok(vec![frame.clone()]));
        }
    }
}

/// checklist: 12
#[test]
fn frames_of_one_buffer_are_decoded_in_order() {
    let (mut decoder, mut buf) = (FrameDecoder::new(LIMIT), BytesMut::new());
    buf.extend_from_slice(&[OK, MESSAGE, HEARTBEAT, &ERROR[..9]].concat());
    assert_eq!(decoder.decode(&mut buf), Ok(Some(Frame::Ok)));
    assert!(matches!(
        decoder.decode(&mut buf),
        Ok(Some(Frame::Message(_)))
    ));
    assert_eq!(decoder.decode(&mut buf), Ok(Some(Frame::Heartbeat)));
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    assert_eq!(buf, ERROR[..9]);
}

/// checklist: 12
#[test]
fn fixed_responses_do_not_move_the_buffer() {
    let (mut decoder, mut buf) = (FrameDecoder::new(LIMIT), BytesMut::with_capacity(64));
    buf.extend_from_slice(&[OK, HEARTBEAT, CLOSE_WAIT].concat());
    let start = buf.as_ptr();
    while decoder.decode(&mut buf).unwrap().is_some() {}
    assert!(buf.is_empty());
    // There is no other reference to the memory, so its front can be reused.
    assert!(buf.try_reclaim(64));
    assert_eq!(buf.as_ptr(), start);
}

/// fault: P16
/// checklist: 12
#[test]
fn capacity_is_reserved_for_the_next_frame_only() {
    let (mut decoder, mut buf) = (FrameDecoder::new(LIMIT), BytesMut::new());
    buf.extend_from_slice(b"\x00\x00\x04\x00");
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    assert!((1028..2056).contains(&buf.capacity()), "{}", buf.capacity());
    let capacity = buf.capacity();
    buf.extend_from_slice(b"\x00\x00\x00\x00");
    assert_eq!(decoder.decode(&mut buf), Ok(None));
    assert_eq!(buf.capacity(), capacity);
}

#[track_caller]
fn assert_rejected(bytes: &[u8], error: DecodeError, text: &str) {
    let (mut decoder, mut buf) = (FrameDecoder::new(LIMIT), BytesMut::from(bytes));
    let (len, capacity) = (buf.len(), buf.capacity());
    assert_eq!(decoder.decode(&mut buf), Err(error.clone()));
    assert_eq!((buf.len(), buf.capacity()), (len, capacity));
    assert_eq!(error.to_string(), text);

    buf.clear();
    buf.extend_from_slice(OK);
    assert_eq!(decoder.decode(&mut buf), Err(error));
    assert_eq!(buf, OK);
}

/// contract: 12
/// fault: P16
/// checklist: 12
#[test]
fn invalid_size_is_rejected_at_once_without_allocating() {
    for size in 0..4 {
        assert_rejected(
            &u32::to_be_bytes(size),
            DecodeError::TooShort { size },
            &format!("frame of {size} bytes is too short for its type field (4 bytes)"),
        );
    }
    assert_rejected(
        b"\xff\xff\xff\xf0",
        DecodeError::Negative { size: -16 },
        "frame size -16 is negative",
    );
    assert_rejected(
        b"\x80\x00\x00\x00",
        DecodeError::Negative { size: i32::MIN },
        "frame size -2147483648 is negative",
    );
    assert_rejected(
        b"\x00\x00\x04\x01",
        DecodeError::TooLarge {
            size: 1025,
            limit: 1024,
        },
        "frame of 1025 bytes exceeds the maximum of 1024 bytes",
    );
    assert_rejected(
        b"\x7f\xff\xff\xff",
        DecodeError::TooLarge {
            size: 2_147_483_647,
            limit: 1024,
        },
        "frame of 2147483647 bytes exceeds the maximum of 1024 bytes",
    );
    assert_rejected(
        b"HTTP/1.1 400 Bad Request\r\n",
        DecodeError::Http,
        "an HTTP server answered: use nsqd's TCP port (usually 4150), \
         not its HTTP port (usually 4151)",
    );
}

/// checklist: 12
#[test]
fn frame_at_the_limit_is_accepted() {
    let frame = [&b"\x00\x00\x04\x00\x00\x00\x00\x00"[..], &[b'x'; 1020]].concat();
    let frames = decode_all(&[&frame]).unwrap();
    assert_eq!(frames, [Frame::Response(Bytes::from(vec![b'x'; 1020]))]);
}

/// checklist: 12
#[test]
fn malformed_frame_fails_all_later_calls() {
    for (bytes, error, text) in [
        (
            &b"\x00\x00\x00\x04\x00\x00\x00\x03"[..],
            DecodeError::UnknownFrameType { frame_type: 3 },
            "unknown frame type 3",
        ),
        (
            b"\x00\x00\x00\x07\x00\x00\x00\x02abc",
            DecodeError::ShortMessage { size: 3 },
            "message frame of 3 bytes is too short for its header (26 bytes)",
        ),
    ] {
        let (mut decoder, mut buf) = (FrameDecoder::new(LIMIT), BytesMut::from(bytes));
        assert_eq!(decoder.decode(&mut buf), Err(error.clone()));
        assert_eq!(error.to_string(), text);
        buf.extend_from_slice(OK);
        assert_eq!(decoder.decode(&mut buf), Err(error));
    }
}

/// contract: 12
/// fault: P16
/// checklist: 12
#[test]
fn frame_without_a_complete_type_is_rejected() {
    for size in 0..4_u32 {
        let payload = Bytes::from(vec![0; size as usize]);
        assert_eq!(Frame::decode(payload), Err(DecodeError::TooShort { size }));
    }
}

/// checklist: 12
#[test]
fn frame_size_is_decoded_from_the_header() {
    let decoder = FrameDecoder::new(LIMIT);
    assert_eq!(decoder.frame_size(*b"\x00\x00\x00\x04"), Ok(4));
    assert_eq!(decoder.frame_size(*b"\x00\x00\x04\x00"), Ok(1024));
    assert_eq!(decoder.frame_size(*b"HTTP"), Err(DecodeError::Http));
}

/// A frame encoded by the rules of the specification, and its decoded form.
fn any_frame() -> impl Strategy<Value = (Vec<u8>, Frame)> {
    let known = prop::sample::select(golden()).prop_map(|(bytes, frame)| (bytes.to_vec(), frame));
    let data = prop::collection::vec(any::<u8>(), 0..300);
    let generated = (data, any::<bool>()).prop_map(|(data, message)| {
        let (head, frame) = if message {
            let head = b"\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x07\x00\x01fedcba9876543210";
            let message = Message {
                timestamp: 7,
                attempts: 1,
                id: MessageId::new(*b"fedcba9876543210"),
                body: data.clone().into(),
            };
            (&head[..], Frame::Message(message))
        } else {
            let error = ServerError::parse(&data);
            (&b"\x00\x00\x00\x01"[..], Frame::Error(error))
        };
        let size = u32::try_from(head.len() + data.len()).unwrap();
        ([&size.to_be_bytes()[..], head, &data].concat(), frame)
    });
    prop_oneof![known, generated]
}

proptest! {
    /// fault: P8
    /// checklist: 12
    #[test]
    fn stream_split_anywhere_yields_the_same_frames(
        frames in prop::collection::vec(any_frame(), 0..12),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let (bytes, expected): (Vec<_>, Vec<_>) = frames.into_iter().unzip();
        let stream = bytes.concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for to in cuts.into_iter().chain([stream.len()]) {
            pieces.push(&stream[from..to]);
            from = to;
        }
        prop_assert_eq!(decode_all(&pieces), Ok(expected));
    }

    /// contract: 12
    /// fault: P16
    /// checklist: 12
    #[test]
    fn garbage_neither_panics_nor_grows_the_buffer_beyond_the_limit(
        garbage in prop::collection::vec(any::<u8>(), 0..200),
        small_sizes in any::<bool>(),
    ) {
        let mut buf = BytesMut::new();
        if small_sizes {
            buf.extend_from_slice(b"\x00\x00\x00");
        }
        buf.extend_from_slice(&garbage);
        let mut decoder = FrameDecoder::new(LIMIT);
        for _ in 0..buf.len() {
            if !matches!(decoder.decode(&mut buf), Ok(Some(_))) {
                break;
            }
        }
        prop_assert!(buf.capacity() <= 2 * (LIMIT + 4));
    }
}
