//! What the layers above may rely on, over streams in memory.

mod reading;
mod writing;

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

/// Bytes that no method makes shorter, the same each time.
fn noise(length: usize) -> Vec<u8> {
    let random = &mut fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..))
        .take(length)
        .collect()
}

/// What is decoded of what was written to the stream.
fn decoded(method: Method, wire: &[u8]) -> Vec<u8> {
    let (mut decoder, mut wire) = (method.decoder(), BytesMut::from(wire));
    let (mut plain, mut out) = (Vec::new(), [0; 1024]);
    loop {
        match decoder.read(&mut wire, &mut out).unwrap() {
            0 => return plain,
            read => plain.extend_from_slice(&out[..read]),
        }
    }
}

/// What a peer with such a method writes for each of these, which it flushes.
fn encoded<'a>(method: Method, bursts: impl IntoIterator<Item = &'a [u8]>) -> Vec<Vec<u8>> {
    let mut encoder = method.encoder();
    let encode = |burst| {
        let mut wire = BytesMut::new();
        encoder.write(burst, &mut wire).unwrap();
        encoder.flush(&mut wire).unwrap();
        wire.to_vec()
    };
    bursts.into_iter().map(encode).collect()
}

/// A stream that does as it is told, and remembers.
#[derive(Default)]
struct Told {
    /// What comes, read by read. Behind it is nothing for now, or the end.
    comes: VecDeque<Vec<u8>>,
    ends: bool,
    reads: usize,
    /// So many bytes it takes before it takes no more for now, and so many at a time.
    room: usize,
    at_a_time: Option<usize>,
    went: Vec<u8>,
    writes: usize,
    flushes: usize,
    is_shut: bool,
    /// What every call fails with.
    fails: Option<io::ErrorKind>,
}

impl Told {
    fn with_room(room: usize) -> Self {
        Self {
            room,
            ..Self::default()
        }
    }

    fn coming(comes: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            comes: comes.into_iter().collect(),
            ..Self::default()
        }
    }

    fn check(&self) -> io::Result<()> {
        self.fails.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl AsyncRead for Told {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        self.reads += 1;
        let Some(mut some) = self.comes.pop_front() else {
            return if self.ends {
                Poll::Ready(Ok(()))
            } else {
                Poll::Pending
            };
        };
        let rest = some.split_off(some.len().min(buf.remaining()));
        buf.put_slice(&some);
        if !rest.is_empty() {
            self.comes.push_front(rest);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Told {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        if self.room == 0 {
            return Poll::Pending;
        }
        let most = self.at_a_time.unwrap_or(usize::MAX);
        let taken = buf.len().min(self.room).min(most);
        self.room -= taken;
        self.writes += 1;
        self.went.extend_from_slice(&buf[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        self.flushes += 1;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check()?;
        self.is_shut = true;
        Poll::Ready(Ok(()))
    }
}

/// A pipe that is `Pending` before each of its answers, and passes on a few bytes at a time.
struct Halting {
    pipe: DuplexStream,
    read: Halts,
    write: Halts,
}

struct Halts {
    random: fastrand::Rng,
    goes_on: bool,
}

impl Halts {
    fn new(seed: u64) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            goes_on: false,
        }
    }

    /// How many bytes go on, at most, when it does not halt.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        self.goes_on = !self.goes_on;
        if self.goes_on {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(self.random.usize(1..3000))
    }
}

impl Halting {
    fn pair(pipe: usize) -> [Self; 2] {
        let (near, far) = duplex(pipe);
        [(near, 1), (far, 2)].map(|(pipe, seed)| Self {
            pipe,
            read: Halts::new(seed),
            write: Halts::new(seed + 2),
        })
    }
}

impl AsyncRead for Halting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let most = ready!(self.read.poll(cx)).min(buf.remaining());
        let mut part = vec![0; most];
        let mut part = ReadBuf::new(&mut part);
        ready!(Pin::new(&mut self.pipe).poll_read(cx, &mut part))?;
        buf.put_slice(part.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Halting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = ready!(self.write.poll(cx)).min(buf.len());
        Pin::new(&mut self.pipe).poll_write(cx, &buf[..most])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write.poll(cx));
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.write.poll(cx));
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

/// Whether a task was woken.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Both sides write at the same time, much more than the pipe holds, and each reads what the other has written.
/// checklist: 96, 97, 98, 99
#[tokio::test]
async fn no_byte_is_lost_or_changed_however_the_stream_halts() {
    let bursts: [Vec<u8>; 6] = [
        b"OK".to_vec(),
        noise(90_000),
        vec![0; 200_000],
        Vec::new(),
        br#"{"order":4150}"#.repeat(4000),
        b"the last one".to_vec(),
    ];
    let whole = bursts.concat();
    for (method, pipe) in METHODS
        .into_iter()
        .flat_map(|method| [(method, 1000), (method, 1 << 20)])
    {
        let talk = Halting::pair(pipe).map(|side| async {
            let (mut read, mut write) = tokio::io::split(Compressed::new(side, method));
            let writing = async {
                for burst in &bursts {
                    write.write_all(burst).await.unwrap();
                    write.flush().await.unwrap();
                }
                write.shutdown().await.unwrap();
            };
            let reading = async {
                let mut came = Vec::new();
                read.read_to_end(&mut came).await.unwrap();
                assert!(came == whole, "{method:?}, {} bytes", came.len());
            };
            tokio::join!(writing, reading);
        });
        futures::future::join_all(talk).await;
    }
}

/// As commands and their answers go: nothing is written that waits for more.
/// checklist: 96, 97, 98, 99
#[tokio::test]
async fn each_flush_is_readable_on_the_other_side_before_anything_follows() {
    for method in METHODS {
        let [near, far] = Halting::pair(64).map(|side| Compressed::new(side, method));
        let (mut near, mut far) = (near, far);
        for round in 0..50 {
            let body = vec![b'x'; round * round];
            let ask = async {
                near.write_all(&body).await.unwrap();
                near.write_all(b"\n").await.unwrap();
                near.flush().await.unwrap();
                let mut answer = [0; 2];
                near.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"OK");
            };
            let answer = async {
                let mut came = vec![0; body.len() + 1];
                far.read_exact(&mut came).await.unwrap();
                assert!(came.ends_with(b"\n"));
                far.write_all(b"OK").await.unwrap();
                far.flush().await.unwrap();
            };
            tokio::join!(ask, answer);
        }
    }
}
