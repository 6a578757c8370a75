//! The decoder against bytes typed by hand, whole, split anywhere, and malformed.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::protocol::{ErrorCode, MessageId};

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

/// Feeds `pieces` one after the other, decoding all there is after each.
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
fn every_frame_is_told_by_its_bytes() {
    for (bytes, frame) in golden() {
        assert_eq!(decode_all(&[bytes]), Ok(vec![frame.clone()]));
        assert_eq!(
            FrameDecoder::frame(Bytes::from_static(&bytes[4..])),
            Ok(frame)
        );
    }
}

/// checklist: 12
#[test]
fn only_the_exact_words_are_plain_responses() {
    for word in [&b"OK\n"[..], b"ok", b"O", b"_heartbeat", b"CLOSE_WAIT "] {
        let payload = [b"\x00\x00\x00\x00", word].concat();
        assert_eq!(
            FrameDecoder::frame(payload.into()),
            Ok(Frame::Response(Bytes::from_static(word)))
        );
    }
    let error = FrameDecoder::frame(Bytes::from_static(b"\x00\x00\x00\x01OK")).unwrap();
    assert!(matches!(error, Frame::Error(e) if e.code() == ErrorCode::Unknown));
}

/// fault: P8
/// checklist: 12
#[test]
fn every_single_split_gives_the_same_frame() {
    for (bytes, frame) in golden() {
        for at in 0..=bytes.len() {
            let (head, tail) = bytes.split_at(at);
            assert_eq!(decode_all(&[head, tail]), Ok(vec![frame.clone()]));
        }
    }
}

/// checklist: 12
#[test]
fn several_frames_in_one_buffer_come_out_in_order_and_the_rest_stays() {
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
fn plain_responses_leave_the_buffer_where_it_is() {
    let (mut decoder, mut buf) = (FrameDecoder::new(LIMIT), BytesMut::with_capacity(64));
    buf.extend_from_slice(&[OK, HEARTBEAT, CLOSE_WAIT].concat());
    let start = buf.as_ptr();
    while decoder.decode(&mut buf).unwrap().is_some() {}
    assert!(buf.is_empty());
    // Nobody else holds the memory, so its front can be used again.
    assert!(buf.try_reclaim(64));
    assert_eq!(buf.as_ptr(), start);
}

/// fault: P16
/// checklist: 12
#[test]
fn room_is_made_for_the_frame_under_way_and_not_for_more() {
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
fn refused(bytes: &[u8], error: DecodeError, text: &str) {
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

/// fault: P16
/// checklist: 12
#[test]
fn an_impossible_size_is_refused_at_once_for_ever_and_without_growing() {
    for size in 0..4 {
        refused(
            &u32::to_be_bytes(size),
            DecodeError::TooShort { size },
            &format!("a frame of {size} bytes is too short: the frame type alone takes 4"),
        );
    }
    refused(
        b"\xff\xff\xff\xf0",
        DecodeError::Negative { size: -16 },
        "a frame cannot have -16 bytes",
    );
    refused(
        b"\x80\x00\x00\x00",
        DecodeError::Negative { size: i32::MIN },
        "a frame cannot have -2147483648 bytes",
    );
    refused(
        b"\x00\x00\x04\x01",
        DecodeError::TooLarge {
            size: 1025,
            limit: 1024,
        },
        "a frame of 1025 bytes exceeds the limit of 1024",
    );
    refused(
        b"\x7f\xff\xff\xff",
        DecodeError::TooLarge {
            size: 2_147_483_647,
            limit: 1024,
        },
        "a frame of 2147483647 bytes exceeds the limit of 1024",
    );
    refused(
        b"HTTP/1.1 400 Bad Request\r\n",
        DecodeError::Http,
        "an HTTP server answers here: use nsqd's TCP port (usually 4150), not its HTTP port (usually 4151)",
    );
}

/// checklist: 12
#[test]
fn a_frame_at_the_limit_is_taken() {
    let frame = [&b"\x00\x00\x04\x00\x00\x00\x00\x00"[..], &[b'x'; 1020]].concat();
    let frames = decode_all(&[&frame]).unwrap();
    assert_eq!(frames, [Frame::Response(Bytes::from(vec![b'x'; 1020]))]);
}

/// checklist: 12
#[test]
fn a_malformed_frame_fails_for_ever() {
    for (bytes, error, text) in [
        (
            &b"\x00\x00\x00\x04\x00\x00\x00\x03"[..],
            DecodeError::UnknownFrameType { frame_type: 3 },
            "unknown frame type 3",
        ),
        (
            b"\x00\x00\x00\x07\x00\x00\x00\x02abc",
            DecodeError::ShortMessage { size: 3 },
            "a message of 3 bytes is too short: its head alone takes 26",
        ),
    ] {
        let (mut decoder, mut buf) = (FrameDecoder::new(LIMIT), BytesMut::from(bytes));
        assert_eq!(decoder.decode(&mut buf), Err(error.clone()));
        assert_eq!(error.to_string(), text);
        buf.extend_from_slice(OK);
        assert_eq!(decoder.decode(&mut buf), Err(error));
    }
}

/// fault: P16
/// checklist: 12
#[test]
fn a_frame_without_a_whole_type_is_too_short() {
    for size in 0..4_u32 {
        let payload = Bytes::from(vec![0; size as usize]);
        assert_eq!(
            FrameDecoder::frame(payload),
            Err(DecodeError::TooShort { size })
        );
    }
}

/// checklist: 12
#[test]
fn the_handshake_can_ask_for_the_size_first() {
    let decoder = FrameDecoder::new(LIMIT);
    assert_eq!(decoder.frame_size(*b"\x00\x00\x00\x04"), Ok(4));
    assert_eq!(decoder.frame_size(*b"\x00\x00\x04\x00"), Ok(1024));
    assert_eq!(decoder.frame_size(*b"HTTP"), Err(DecodeError::Http));
}

/// One frame built by the rule of the specification, and what it means.
fn any_frame() -> impl Strategy<Value = (Vec<u8>, Frame)> {
    let known = prop::sample::select(golden()).prop_map(|(bytes, frame)| (bytes.to_vec(), frame));
    let data = prop::collection::vec(any::<u8>(), 0..300);
    let made = (data, any::<bool>()).prop_map(|(data, message)| {
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
    prop_oneof![known, made]
}

proptest! {
    /// fault: P8
    /// checklist: 12
    #[test]
    fn a_stream_split_anywhere_gives_the_same_frames(
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
