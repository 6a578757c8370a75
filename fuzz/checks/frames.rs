//! Checks the frame decoder with any bytes, split anywhere.

use actix_nsq::{
    bytes::{Bytes, BytesMut},
    protocol::{DecodeError, Frame, FrameDecoder, Message},
};

use super::input::Input;

/// The input: the maximum frame size, the number of pieces, the length of each piece, and the
/// stream.
pub fn frames(data: &[u8]) {
    let mut input = Input::new(data);
    let limit = input.one_of(&[64, 4, 0, 26, 256, 4096]);
    let lengths = input.sized();
    let bytes = input.rest();

    let whole = decode(limit, &[bytes]);
    let mut left = Input::new(bytes);
    let mut pieces: Vec<_> = lengths
        .iter()
        .map(|length| left.bytes((*length).into()))
        .collect();
    pieces.push(left.rest());
    let split = decode(limit, &pieces);
    assert_eq!(whole, split, "split into {lengths:?}");

    let expected = parse(limit, bytes);
    assert_eq!(whole.0.len(), expected.len(), "{whole:?}");
    for (frame, (kind, payload)) in whole.0.iter().zip(expected) {
        check(frame, kind, payload);
    }
}

/// Decodes like a connection: all available frames after each piece.
fn decode(limit: usize, pieces: &[&[u8]]) -> (Vec<Frame>, Option<DecodeError>) {
    let (mut decoder, mut buffer) = (FrameDecoder::new(limit), BytesMut::new());
    let mut frames = Vec::new();
    let mut largest = 0;
    for piece in pieces {
        largest = largest.max(piece.len());
        buffer.extend_from_slice(piece);
        loop {
            let before = buffer.len();
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => {
                    assert!(buffer.len() < before, "a frame consumed no bytes");
                    frames.push(frame);
                }
                Ok(None) => {
                    assert_eq!(buffer.len(), before, "bytes were consumed without a frame");
                    break;
                }
                Err(error) => {
                    // The error is final, even if a valid frame follows.
                    buffer.clear();
                    buffer.extend_from_slice(b"\0\0\0\x06\0\0\0\0OK");
                    assert_eq!(decoder.decode(&mut buffer), Err(error.clone()));
                    assert!(error.to_string().len() < 200, "{error}");
                    return (frames, Some(error));
                }
            }
        }
        // Less than one frame remains. The buffer doubles when it grows for the rest of the frame.
        assert!(buffer.len() < 4 + limit.max(4), "{} remain", buffer.len());
        let limit = 2 * (largest + 4 + limit) + 64;
        assert!(
            buffer.capacity() <= limit,
            "{} > {limit}",
            buffer.capacity()
        );
    }
    (frames, None)
}

/// Parses the frames before the first invalid one, independently of the crate: type and data.
fn parse(limit: usize, bytes: &[u8]) -> Vec<(u32, &[u8])> {
    let mut frames = Vec::new();
    let mut rest = bytes;
    while let [a, b, c, d, after @ ..] = rest {
        let size = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if size < 4 || size > limit || size > after.len() {
            break;
        }
        let (frame, behind) = after.split_at(size);
        let (kind, payload) = frame.split_at(4);
        let kind = u32::from_be_bytes([kind[0], kind[1], kind[2], kind[3]]);
        if kind > 2 || kind == 2 && payload.len() < 26 {
            break;
        }
        frames.push((kind, payload));
        rest = behind;
    }
    frames
}

/// Asserts that a frame has the content of its bytes, and a short `Display` and `Debug`.
fn check(frame: &Frame, kind: u32, payload: &[u8]) {
    match frame {
        Frame::Ok => assert_eq!((kind, payload), (0, &b"OK"[..])),
        Frame::Heartbeat => assert_eq!((kind, payload), (0, &b"_heartbeat_"[..])),
        Frame::CloseWait => assert_eq!((kind, payload), (0, &b"CLOSE_WAIT"[..])),
        Frame::Response(data) => {
            assert_eq!((kind, payload), (0, &data[..]));
            let plain: [&[u8]; 3] = [b"OK", b"_heartbeat_", b"CLOSE_WAIT"];
            assert!(!plain.contains(&payload), "{frame}");
        }
        Frame::Error(error) => {
            assert_eq!(kind, 1);
            let word = payload.split(u8::is_ascii_whitespace).next();
            let code = error.code();
            let known = word == Some(code.as_str().as_bytes());
            assert!(known || code.as_str() == "E_UNKNOWN", "{code}");
            assert!(error.text().len() <= 512);
            assert!(!error.text().contains(char::is_control));
            if let Some(limit) = error.named_limit() {
                assert!(
                    error.text().contains(&format!("> {}", limit.limit))
                        || limit.limit == 0
                        || has_zeros(error.text())
                );
            }
            let _ = error.is_slow_upload();
        }
        Frame::Message(message) => {
            assert_eq!(kind, 2);
            let encoded = [
                &message.timestamp.to_be_bytes()[..],
                &message.attempts.to_be_bytes(),
                message.id.as_bytes(),
                &message.body,
            ];
            assert_eq!(encoded.concat(), payload);
            assert!(message.id.to_string().is_ascii());
            let again = Message::decode(Bytes::copy_from_slice(payload));
            assert_eq!(again.as_ref(), Ok(message));
        }
        other => panic!("unexpected {other}"),
    }
    let shown = frame.to_string();
    assert!(
        shown.len() < 600 && !shown.contains(char::is_control),
        "{shown}"
    );
    assert!(format!("{frame:?}").len() < 4 * payload.len() + 800);
}

/// Whether a number has leading zeros or a plus sign, which nsqd never writes.
fn has_zeros(text: &str) -> bool {
    text.contains(" 0") || text.contains("+")
}
