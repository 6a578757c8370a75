//! Tests of the compressed stream over in-memory streams.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use tokio::io::{AsyncWriteExt, DuplexStream, duplex};

use super::*;

const METHODS: [Method; 2] = [Method::Snappy, Method::Deflate(6)];

/// Incompressible bytes, the same in each run.
fn noise(length: usize) -> Vec<u8> {
    let random = &mut fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

fn decode(method: Method, wire: &[u8]) -> Vec<u8> {
    let (mut decoder, mut wire) = (method.decoder(), BytesMut::from(wire));
    let (mut plain, mut out) = (Vec::new(), [0; 1024]);
    loop {
        match decoder.read(&mut wire, &mut out) {
            Ok(0) => return plain,
            Err(error) if error.to_string().ends_with("unexpected final block") => return plain,
            Err(error) => panic!("{error}"),
            Ok(read) => plain.extend_from_slice(&out[..read]),
        }
    }
}

fn encode(method: Method, plain: &[u8]) -> Vec<u8> {
    let (mut encoder, mut wire) = (method.encoder(), BytesMut::new());
    encoder.write(plain, &mut wire).unwrap();
    encoder.flush(&mut wire).unwrap();
    wire.to_vec()
}

/// A stream that follows a script and records what is written.
#[derive(Default)]
struct Scripted {
    /// The result of each read. After them, reads are pending or return EOF.
    input: VecDeque<Vec<u8>>,
    eof: bool,
    reads: usize,
    /// How many more bytes it accepts before writes are pending.
    capacity: usize,
    max_write: Option<usize>,
    written: Vec<u8>,
    writes: usize,
    flushes: usize,
    is_shut_down: bool,
    /// The error of every call.
    error: Option<io::ErrorKind>,
}

impl Scripted {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            ..Self::default()
        }
    }

    fn with_input(input: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            input: input.into_iter().collect(),
            ..Self::default()
        }
    }

    fn check(&self) -> io::Result<()> {
        self.error.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl AsyncRead for Scripted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        self.reads += 1;
        let Some(mut chunk) = self.input.pop_front() else {
            return if self.eof {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        };
        let rest = chunk.split_off(chunk.len().min(buf.remaining()));
        buf.put_slice(&chunk);
        if !rest.is_empty() {
            self.input.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Scripted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        if self.capacity == 0 {
            return Poll::Pending;
        }
        let max = self.max_write.unwrap_or(usize::MAX);
        let accepted = buf.len().min(self.capacity).min(max);
        self.capacity -= accepted;
        self.writes += 1;
        self.written.extend_from_slice(&buf[..accepted]);
        Poll::Ready(Ok(accepted))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        self.is_shut_down = true;
        Poll::Ready(Ok(()))
    }
}

/// A pipe that is pending before each result, and passes on at most 3,000 bytes at a time.
struct Stuttering {
    pipe: DuplexStream,
    random: fastrand::Rng,
    is_ready: bool,
}

impl Stuttering {
    fn pair(capacity: usize) -> [Self; 2] {
        let (near, far) = duplex(capacity);
        [(near, 1), (far, 2)].map(|(pipe, seed)| Self {
            pipe,
            random: fastrand::Rng::with_seed(seed),
            is_ready: false,
        })
    }

    /// Returns the maximum number of bytes of this call.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        self.is_ready = !self.is_ready;
        if self.is_ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.random.usize(1..3000))
    }
}

impl AsyncRead for Stuttering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let limit = ready!(self.poll_limit(cx)).min(buf.remaining());
        let mut part = vec![0; limit];
        let mut part = ReadBuf::new(&mut part);
        ready!(Pin::new(&mut self.pipe).poll_read(cx, &mut part))?;
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stuttering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let limit = ready!(self.poll_limit(cx)).min(buf.len());
        Pin::new(&mut self.pipe).poll_write(cx, &buf[..limit])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_limit(cx));
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_limit(cx));
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// Whether a task was woken.
#[derive(Default)]
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// One read of at most `capacity` bytes, and whether the task was woken during it.
fn read(stream: &mut Compressed<Scripted>, capacity: usize) -> (Poll<io::Result<Vec<u8>>>, bool) {
    let woken = Arc::new(WakeFlag::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut out = vec![0; capacity];
    let mut out = ReadBuf::new(&mut out);
    let read = Pin::new(stream).poll_read(&mut Context::from_waker(&waker), &mut out);
    let read = read.map_ok(|()| out.filled().to_vec());
    (read, woken.0.load(Ordering::Relaxed))
}

#[track_caller]
fn assert_reads(stream: &mut Compressed<Scripted>, capacity: usize, expected: &[u8]) {
    match read(stream, capacity).0 {
        Poll::Ready(Ok(bytes)) => assert_eq!(bytes, expected),
        other => panic!("{other:?}"),
    }
}

fn write(stream: &mut Compressed<Scripted>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_write(&mut context(), bytes)
}

fn flush(stream: &mut Compressed<Scripted>) -> Poll<io::Result<()>> {
    Pin::new(stream).poll_flush(&mut context())
}

fn shut_down(stream: &mut Compressed<Scripted>) -> Poll<io::Result<()>> {
    Pin::new(stream).poll_shutdown(&mut context())
}

#[track_caller]
fn assert_fails<T>(result: Poll<io::Result<T>>, kind: io::ErrorKind) {
    match result {
        Poll::Ready(Err(error)) => assert_eq!(error.kind(), kind),
        Poll::Ready(Ok(_)) => panic!("it succeeded"),
        Poll::Pending => panic!("it is pending"),
    }
}

/// Both sides write more than the pipe holds, and each reads what the other has written.
/// checklist: 96, 97, 98, 99
#[tokio::test]
async fn concurrent_writes_and_reads_over_slow_pipe_keep_all_bytes() {
    let bursts: [Vec<u8>; 6] = [
        b"OK".to_vec(),
        noise(90_000),
        vec![0; 200_000],
        Vec::new(),
        br#"{"order":4150}"#.repeat(4000),
        b"the last one".to_vec(),
    ];
    let whole = bursts.concat();
    for (method, capacity) in METHODS
        .into_iter()
        .flat_map(|method| [(method, 1000), (method, 1 << 20)])
    {
        let sides = Stuttering::pair(capacity).map(|side| async {
            let (mut read, mut write) = tokio::io::split(Compressed::new(side, method));
            let writing = async {
                for burst in &bursts {
                    write.write_all(burst).await.unwrap();
                    write.flush().await.unwrap();
                }
                write.shutdown().await.unwrap();
            };
            let reading = async {
                let mut received = Vec::new();
                // The final block of deflate is an error for the decoder: nsqd sends none.
                let end = read.read_to_end(&mut received).await;
                assert_eq!(end.is_ok(), method == Method::Snappy);
                assert!(received == whole, "{method:?}, {} bytes", received.len());
            };
            tokio::join!(writing, reading);
        });
        futures::future::join_all(sides).await;
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn read_returns_buffered_bytes_before_it_reads_more() {
    for method in METHODS {
        let mut stream =
            Compressed::new(Scripted::with_input([encode(method, b"a message")]), method);
        assert_reads(&mut stream, 0, b"");
        assert_eq!(stream.stream.reads, 0);
        assert_reads(&mut stream, 1, b"a");
        let reads = stream.stream.reads;
        assert_reads(&mut stream, 4, b" mes");
        assert_reads(&mut stream, 100, b"sage");
        assert_eq!(stream.stream.reads, reads);
        let (read, woken) = read(&mut stream, 100);
        assert!(
            read.is_pending() && !woken,
            "waking is up to the inner stream"
        );
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn inner_eof_or_error_is_returned_after_buffered_bytes() {
    for method in METHODS {
        for error in [None, Some(io::ErrorKind::ConnectionReset)] {
            let input = [encode(method, b"a message")];
            let mut stream = Compressed::new(Scripted::with_input(input), method);
            assert_reads(&mut stream, 5, b"a mes");
            stream.stream.eof = true;
            stream.stream.error = error;
            assert_reads(&mut stream, 5, b"sage");
            for _ in 0..2 {
                match error {
                    None => assert_reads(&mut stream, 5, b""),
                    Some(kind) => assert_fails(read(&mut stream, 5).0, kind),
                }
            }
        }
    }
}

/// The input is empty deflate blocks, or snappy chunks to skip.
/// checklist: 96, 97, 98, 99
#[test]
fn input_without_plain_bytes_makes_reader_yield() {
    let inputs = [
        (Method::Deflate(6), &b""[..], &b"\x00\x00\x00\xff\xff"[..]),
        (Method::Snappy, b"\xff\x06\0\0sNaPpY", b"\xfe\0\0\0"),
    ];
    for (method, start, empty) in inputs {
        let chunks = std::iter::repeat_n(empty.repeat(1000), 100);
        let input = std::iter::once(start.to_vec())
            .filter(|chunk| !chunk.is_empty())
            .chain(chunks);
        let mut stream = Compressed::new(Scripted::with_input(input), method);
        let mut yields = 0;
        while !stream.stream.input.is_empty() {
            let before = stream.stream.reads;
            let (read, woken) = read(&mut stream, 100);
            let reads = stream.stream.reads - before;
            assert!(read.is_pending() && reads <= 17, "{reads} reads");
            assert_eq!(woken, !stream.stream.input.is_empty() || reads == 16);
            assert!(stream.read_buffer.capacity() <= 64 << 10);
            yields += 1;
        }
        assert!(yields >= 6, "{yields} yields");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn read_buffer_holds_at_most_one_chunk_and_one_read() {
    let body = noise(1 << 20);
    for method in METHODS {
        let input = [encode(method, &body)];
        let mut stream = Compressed::new(Scripted::with_input(input), method);
        let mut received = Vec::new();
        while let (Poll::Ready(some), _) = read(&mut stream, 1 << 20) {
            let some = some.unwrap();
            assert!((1..=16 << 10).contains(&some.len()), "{} read", some.len());
            received.extend(some);
            let buffer = &stream.read_buffer;
            assert!(buffer.len() <= 76_494 + (16 << 10), "{}", buffer.len());
            assert!(buffer.capacity() <= 64 << 12, "{}", buffer.capacity());
        }
        assert!(received == body, "{method:?}");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn burst_is_sent_by_flush_in_one_write() {
    for method in METHODS {
        let mut stream = Compressed::new(Scripted::with_capacity(usize::MAX), method);
        for text in ["a first message", "and a second one"] {
            let written = write(&mut stream, text.as_bytes());
            assert!(matches!(written, Poll::Ready(Ok(length)) if length == text.len()));
        }
        assert_eq!(stream.stream.written, b"");
        assert!(matches!(flush(&mut stream), Poll::Ready(Ok(()))));
        let inner = &stream.stream;
        assert_eq!((inner.writes, inner.flushes), (1, 1));
        let plain = decode(method, &inner.written);
        assert_eq!(plain, b"a first messageand a second one");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn write_during_pending_flush_is_sent_after_it() {
    for method in METHODS {
        let mut stream = Compressed::new(Scripted::with_capacity(5), method);
        let _ = write(&mut stream, b"a first message");
        assert!(flush(&mut stream).is_pending());
        assert_eq!(stream.stream.flushes, 0);
        let _ = write(&mut stream, b"and a second one");
        stream.stream.capacity = usize::MAX;
        assert!(flush(&mut stream).is_ready());
        let plain = decode(method, &stream.stream.written);
        assert_eq!(plain, b"a first messageand a second one");
    }
}

/// The second round shows that a full buffer is reused.
/// checklist: 96, 97, 98, 99
#[test]
fn blocked_inner_stream_limits_buffered_bytes() {
    let body = noise(4 << 20);
    for method in METHODS {
        let mut stream = Compressed::new(Scripted::default(), method);
        for _ in 0..2 {
            let (mut accepted, mut writes) = (0, 0);
            while let Poll::Ready(written) = write(&mut stream, &body[accepted..]) {
                let written = written.unwrap();
                assert!((1..=64 << 10).contains(&written), "{written} at once");
                accepted += written;
                writes += 1;
                let buffered = stream.write_buffer.len();
                assert!(buffered < 64 << 11, "{buffered}");
            }
            assert!((64 << 10..=64 << 12).contains(&accepted), "{accepted}");
            assert!(writes <= 4);
            let capacity = stream.write_buffer.capacity();
            assert!(capacity <= 64 << 12, "{capacity}");
            stream.stream.capacity = usize::MAX;
            assert!(flush(&mut stream).is_ready());
            assert!(stream.write_buffer.is_empty());
            stream.stream.capacity = 0;
        }
    }
}

/// Compressible data never fills the write buffer.
/// checklist: 96, 97, 98, 99
#[test]
fn large_compressible_write_yields_to_other_tasks() {
    let zeros = vec![0; 4 << 20];
    for method in METHODS {
        let mut stream = Compressed::new(Scripted::with_capacity(usize::MAX), method);
        let woken = Arc::new(WakeFlag::default());
        let waker = Waker::from(Arc::clone(&woken));
        let (mut accepted, mut since_yield, mut yields) = (0, 0, 0);
        while accepted < zeros.len() {
            let cx = &mut Context::from_waker(&waker);
            match Pin::new(&mut stream).poll_write(cx, &zeros[accepted..]) {
                Poll::Ready(written) => {
                    let written = written.unwrap();
                    (accepted, since_yield) = (accepted + written, since_yield + written);
                    assert!(since_yield <= 256 << 10, "{since_yield} bytes in a row");
                }
                Poll::Pending => {
                    assert!(woken.0.swap(false, Ordering::Relaxed), "no wake-up is due");
                    (since_yield, yields) = (0, yields + 1);
                }
            }
        }
        assert!(flush(&mut stream).is_ready());
        assert_eq!(yields, 15);
        assert!(
            decode(method, &stream.stream.written) == zeros,
            "{method:?}"
        );
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn vectored_write_accepts_up_to_64_kib_in_order() {
    let small: Vec<_> = (0..64_u8)
        .map(|i| vec![i; 100 * usize::from(i % 8)])
        .collect();
    let large = vec![noise(40_000), noise(40_000), noise(40_000)];
    for (method, pieces) in METHODS
        .into_iter()
        .flat_map(|method| [(method, &small), (method, &large)])
    {
        let mut stream = Compressed::new(Scripted::with_capacity(usize::MAX), method);
        assert!(stream.is_write_vectored());
        let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let written = Pin::new(&mut stream).poll_write_vectored(&mut context(), &slices);
        let mut expected = pieces.concat();
        expected.truncate(64 << 10);
        assert!(matches!(written, Poll::Ready(Ok(length)) if length == expected.len()));
        assert!(flush(&mut stream).is_ready());
        assert!(decode(method, &stream.stream.written) == expected);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn shutdown_sends_buffered_bytes_first() {
    for method in METHODS {
        let mut stream = Compressed::new(Scripted::with_capacity(3), method);
        let _ = write(&mut stream, b"a last message");
        assert!(shut_down(&mut stream).is_pending());
        assert!(!stream.stream.is_shut_down);
        stream.stream.capacity = usize::MAX;
        assert!(shut_down(&mut stream).is_ready());
        assert!(stream.stream.is_shut_down);
        // The stream is ended once.
        let length = stream.stream.written.len();
        assert!(shut_down(&mut stream).is_ready());
        assert_eq!(stream.stream.written.len(), length);
        assert_eq!(decode(method, &stream.stream.written), b"a last message");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn inner_write_error_fails_writes_flush_and_shutdown() {
    const KIND: io::ErrorKind = io::ErrorKind::BrokenPipe;
    let body = noise(64 << 10);
    for method in METHODS {
        let mut stream = Compressed::new(Scripted::default(), method);
        stream.stream.error = Some(KIND);
        // The first writes are buffered.
        let result = loop {
            let result = write(&mut stream, &body);
            if !matches!(result, Poll::Ready(Ok(_))) {
                break result;
            }
        };
        assert_fails(result, KIND);
        for _ in 0..2 {
            assert_fails(flush(&mut stream), KIND);
            assert_fails(shut_down(&mut stream), KIND);
        }
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn inner_write_of_0_bytes_is_an_error() {
    for method in METHODS {
        let mut stream = Compressed::new(Scripted::with_capacity(usize::MAX), method);
        stream.stream.max_write = Some(0);
        let _ = write(&mut stream, b"a message");
        assert_fails(flush(&mut stream), io::ErrorKind::WriteZero);
    }
}
