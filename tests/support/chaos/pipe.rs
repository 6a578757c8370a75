//! One direction of a connection: reads bytes, delays them, and passes them on.

use std::{collections::VecDeque, future, io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use fastrand::Rng;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    select,
    sync::watch,
    task,
    time::{Instant, sleep_until},
};

use super::{
    faults::{Direction, End, Faults, Way},
    tally::Tally,
};

/// Size of a read.
const CHUNK: usize = 64 << 10;

/// Maximum number of delayed bytes. Beyond it, nothing is read.
const MAX_DELAYED: u64 = 8 << 20;

/// With a limited bandwidth, the interval of pieces, and the time for which missed ones are
/// caught up.
const TICK: Duration = Duration::from_millis(50);

/// Why a direction has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// EOF was read and passed on.
    Fin,
    /// A reset was read, after all bytes were passed on.
    Reset,
    /// The reading peer has closed.
    Closed,
    /// The cut was reached.
    Cut,
}

pub(super) struct Pipe<'a> {
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    direction: Direction,
    faults: watch::Receiver<Faults>,
    tally: Arc<Tally>,
    accident: Accident,
    /// Separate, so that sizes depend on the seed alone.
    sizes: Rng,
    times: Rng,
    /// Changes a corrupted byte.
    mask: u8,

    buffer: BytesMut,
    queue: VecDeque<(Instant, Bytes)>,
    queued: u64,
    ended: Option<End>,
    passed: u64,
    /// Where the next slice ends.
    slice_end: u64,
    /// With a limited bandwidth, when the next piece may be passed.
    free: Instant,
}

/// What happens once, decided when the connection is opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Accident {
    pub(super) cut: Option<u64>,
    pub(super) corrupt: Option<u64>,
    /// Whether it stalls if only some connections do.
    pub(super) stalls: bool,
}

impl<'a> Pipe<'a> {
    pub(super) fn new(
        (from, to): (ReadHalf<'a>, WriteHalf<'a>),
        direction: Direction,
        faults: watch::Receiver<Faults>,
        accident: Accident,
        tally: Arc<Tally>,
        seed: u64,
    ) -> Self {
        let mut sizes = Rng::with_seed(seed);
        Self {
            from,
            to,
            direction,
            faults,
            tally,
            accident,
            mask: sizes.u8(1..),
            times: sizes.fork(),
            sizes,
            buffer: BytesMut::with_capacity(CHUNK),
            queue: VecDeque::new(),
            queued: 0,
            ended: None,
            passed: 0,
            slice_end: 0,
            free: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) -> Outcome {
        loop {
            let (way, all_stall) = {
                let faults = self.faults.borrow_and_update();
                (*faults.way(self.direction), faults.times.is_none())
            };
            if self.accident.cut.is_some_and(|cut| cut <= self.passed) {
                return Outcome::Cut;
            }
            let stall = way.stall.filter(|_| self.accident.stalls || all_stall);
            let stalled = stall.is_some_and(|stall| stall <= self.passed);
            let next = if stalled {
                None
            } else {
                self.next_piece(&way, stall)
            };
            if let (None, Some(end), false) = (next, self.ended, stalled) {
                return self.pass_end_on(end).await;
            }
            match next {
                Some((length, due)) if due <= Instant::now() => {
                    if self.pass_on(length, due).await.is_err() {
                        return Outcome::Closed;
                    }
                    if way.slice.is_some() {
                        // The reader may then see each piece separately.
                        task::yield_now().await;
                    }
                }
                _ => {
                    let reads = self.ended.is_none() && !stalled && self.has_capacity(&way);
                    let due = next.map(|(_, due)| due);
                    select! {
                        read = self.from.read_buf(&mut self.buffer), if reads => self.take(read, &way),
                        () = at(due) => {}
                        changed = self.faults.changed() => if changed.is_err() { return Outcome::Closed },
                    }
                }
            }
        }
    }

    /// Queues bytes that were read.
    fn take(&mut self, read: io::Result<usize>, way: &Way) {
        match read {
            Ok(0) => self.ended = Some(End::Fin),
            Err(_) => self.ended = Some(End::Rst),
            Ok(_) => {
                // A copy: a small piece must not keep the whole buffer.
                let chunk = Bytes::copy_from_slice(&self.buffer);
                self.buffer.clear();
                self.queued += chunk.len() as u64;
                self.tally.read(self.direction, &chunk);
                let due = self.due(way);
                self.queue.push_back((due, chunk));
            }
        }
    }

    /// When bytes that were read now are passed: after the latency, plus or minus jitter, in order.
    fn due(&mut self, way: &Way) -> Instant {
        let jitter = way.jitter.mul_f64(self.times.f64() * 2.0);
        let delay = (way.latency + jitter).saturating_sub(way.jitter);
        let due = Instant::now() + delay;
        self.queue.back().map_or(due, |(last, _)| due.max(*last))
    }

    fn has_capacity(&self, way: &Way) -> bool {
        let delay = way.latency + way.jitter;
        let line = way.bandwidth.map_or(MAX_DELAYED as f64, |bandwidth| {
            bandwidth as f64 * delay.as_secs_f64()
        });
        let line = (line as u64).min(MAX_DELAYED);
        self.queue.is_empty() || (!delay.is_zero() && self.queued < line)
    }

    /// The size of the next piece, and when it is passed.
    fn next_piece(&mut self, way: &Way, stall: Option<u64>) -> Option<(usize, Instant)> {
        let (due, chunk) = self.queue.front()?;
        let mut length = chunk.len() as u64;
        if let Some((least, most)) = way.slice {
            if self.slice_end <= self.passed {
                self.slice_end = self.passed + self.sizes.usize(least..=most) as u64;
            }
            length = length.min(self.slice_end - self.passed);
        }
        for mark in [stall, self.accident.cut].into_iter().flatten() {
            length = length.min(mark - self.passed);
        }
        let mut due = *due;
        if let Some(bandwidth) = way.bandwidth {
            let tick = bandwidth as f64 * TICK.as_secs_f64();
            length = length.min((tick as u64).max(1));
            let time = Duration::from_secs_f64(length as f64 / bandwidth as f64);
            due = due.max(self.free) + time;
        }
        Some((length as usize, due))
    }

    async fn pass_on(&mut self, length: usize, due: Instant) -> io::Result<()> {
        let Some((_, chunk)) = self.queue.front_mut() else {
            return Ok(());
        };
        let mut piece = chunk.split_to(length);
        if chunk.is_empty() {
            self.queue.pop_front();
        }
        let until = self.passed + length as u64;
        if let Some(place) = self.accident.corrupt
            && (self.passed..until).contains(&place)
        {
            piece = corrupted(&piece, (place - self.passed) as usize, self.mask);
        }
        // Before the write, so that received bytes are always counted.
        self.tally.passed(self.direction, length);
        self.to.write_all(&piece).await?;
        self.passed = until;
        self.queued -= length as u64;
        self.free = due.max(Instant::now().checked_sub(TICK).unwrap_or(due));
        Ok(())
    }

    async fn pass_end_on(&mut self, end: End) -> Outcome {
        match end {
            End::Rst => Outcome::Reset,
            End::Fin => match self.to.shutdown().await {
                Ok(()) => Outcome::Fin,
                Err(_) => Outcome::Closed,
            },
        }
    }
}

/// Changes one byte.
fn corrupted(piece: &[u8], place: usize, mask: u8) -> Bytes {
    let mut piece = BytesMut::from(piece);
    if let Some(byte) = piece.get_mut(place) {
        *byte ^= mask;
    }
    piece.freeze()
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => future::pending().await,
    }
}
