//! Decodes streams from nsqd's encoders, which the program in `golang/` wrote: nine frames, flushed
//! after each.

use bytes::BytesMut;

use super::{DEFLATE, Method, decode_all};

const SNAPPY: &[u8] = include_bytes!("golang/snappy.bin");
const DEFLATED: &[u8] = include_bytes!("golang/deflate.bin");
/// One line per frame: its end offset in plain bytes, with snappy and with deflate.
const ENDS: &str = include_str!("golang/ends.txt");

fn frame(kind: u8, data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(4 + data.len()).unwrap();
    [&size.to_be_bytes()[..], &[0, 0, 0, kind], data].concat()
}

fn message(id: &[u8], body: &[u8]) -> Vec<u8> {
    let timestamp = 1_700_000_000_000_000_000_u64.to_be_bytes();
    frame(2, &[&timestamp[..], &[0, 1], id, body].concat())
}

/// The frames that the program wrote.
fn frames() -> [Vec<u8>; 9] {
    let order = br#"{"order":4150,"items":[{"sku":"a-1","count":2},{"sku":"b-2","count":2}]}"#;
    let mut state = 7_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(700)
    .collect();
    [
        frame(0, b"OK"),
        frame(0, b"_heartbeat_"),
        frame(0, b"_heartbeat_"),
        message(b"0123456789abcdef", &order.repeat(20)),
        message(b"0123456789abcdf0", &noise),
        message(b"0123456789abcdf1", &[0; 150_000]),
        frame(1, br#"E_BAD_TOPIC PUB topic name "a b" is not valid"#),
        message(b"0123456789abcdf2", b""),
        frame(0, b"OK"),
    ]
}

fn assert_each_frame_is_decoded_after_its_flush(method: Method, stream: &[u8], column: usize) {
    let (mut decoder, mut input) = (method.decoder(), BytesMut::new());
    let mut from = 0;
    for (frame, line) in frames().iter().zip(ENDS.lines()) {
        let to = line.split(' ').nth(column).unwrap().parse().unwrap();
        input.extend_from_slice(&stream[from..to]);
        let plain = decode_all(&mut decoder, &mut input, 16 << 10).unwrap();
        assert!(plain == *frame, "the frame that ends at {line}");
        from = to;
    }
    assert_eq!(from, stream.len());
}

/// checklist: 96, 97, 98, 99
#[test]
fn snappy_stream_of_nsqd_is_decoded_frame_by_frame() {
    assert_each_frame_is_decoded_after_its_flush(Method::Snappy, SNAPPY, 1);
}

/// checklist: 96, 97, 98, 99
#[test]
fn deflate_stream_of_nsqd_is_decoded_frame_by_frame() {
    assert_each_frame_is_decoded_after_its_flush(DEFLATE, DEFLATED, 2);
}
