//! Time to decode the bytes of one socket read.
#![allow(
    missing_docs,
    reason = "criterion's macros generate undocumented items"
)]
#![allow(clippy::expect_used, reason = "a bench fails by panicking")]

use std::hint::black_box;

use actix_nsq::{
    bytes::{BufMut, BytesMut},
    protocol::FrameDecoder,
};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";

/// Encodes a message frame with a body of `size` bytes.
fn message(size: usize) -> Vec<u8> {
    let mut frame = Vec::new();
    let length = 4 + 8 + 2 + 16 + size;
    frame.put_u32(u32::try_from(length).expect("a small message"));
    frame.put_u32(2);
    frame.put_u64(1_700_000_000_000_000_000);
    frame.put_u16(1);
    frame.put_slice(b"0123456789abcdef");
    frame.put_bytes(7, size);
    frame
}

fn frames(c: &mut Criterion, what: &str, frame: &[u8], counts: &[usize]) {
    let mut group = c.benchmark_group(format!("decode/{what}"));
    for count in counts {
        let bytes = frame.repeat(*count);
        group.throughput(Throughput::Elements(*count as u64));
        group.bench_function(count.to_string(), |b| {
            let read = || (FrameDecoder::new(2 << 20), BytesMut::from(&bytes[..]));
            // Filling and dropping the buffer is not measured.
            b.iter_batched(
                read,
                |(mut decoder, mut buffer)| {
                    let mut decoded = 0;
                    while let Some(frame) = decoder.decode(&mut buffer).expect("frames") {
                        black_box(frame);
                        decoded += 1;
                    }
                    assert_eq!(decoded, *count);
                    buffer
                },
                BatchSize::SmallInput,
            );
        });
    }
}

fn responses(c: &mut Criterion) {
    frames(c, "OK", OK, &[1, 64, 1_024]);
}

fn messages(c: &mut Criterion) {
    frames(c, "message of 200 B", &message(200), &[1, 64]);
    frames(c, "message of 64 KiB", &message(64 << 10), &[1]);
}

criterion_group!(decode, responses, messages);
criterion_main!(decode);
