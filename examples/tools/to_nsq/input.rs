//! Reading: a thread of its own splits the standard input, so that waiting for input holds up no publish and no heartbeat.

use std::{
    io::{self, BufRead, BufReader, Read},
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use actix_nsq::bytes::Bytes;
use tokio::sync::mpsc;

/// So much is read at once, and a chunk is full when it has so many bytes.
const CHUNK: usize = 64 << 10;

/// A chunk is full when it has so many records.
const RECORDS: usize = 256;

/// A piece of the input to be published as one message.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Its place in the input, from 0; empty ones do not count.
    pub(crate) number: u64,
    pub(crate) body: Bytes,
}

/// Records that were read together: at least one.
pub(crate) type Chunk = Vec<Record>;

/// Starts the thread that reads. It waits while nobody takes what it has read.
pub(crate) fn read_stdin(delimiter: u8, rate: Option<u32>) -> mpsc::Receiver<io::Result<Chunk>> {
    let (chunks, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        let mut splitter = Splitter::new(io::stdin().lock(), delimiter);
        let mut throttle = rate.map(Throttle::new);
        loop {
            let most = throttle.as_mut().map_or(RECORDS, Throttle::wait);
            let chunk = splitter.next_chunk(most.min(RECORDS)).transpose();
            let Some(chunk) = chunk else { break };
            if let (Some(throttle), Ok(chunk)) = (&mut throttle, &chunk) {
                throttle.take(chunk.len());
            }
            let failed = chunk.is_err();
            if chunks.blocking_send(chunk).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

/// Splits an input into records.
struct Splitter<R> {
    input: BufReader<R>,
    delimiter: u8,
    next: u64,
}

impl<R: Read> Splitter<R> {
    fn new(input: R, delimiter: u8) -> Self {
        Self {
            input: BufReader::with_capacity(CHUNK, input),
            delimiter,
            next: 0,
        }
    }

    /// The next records, at most `most`: those that are there already, or else the first to come. `None` at the end.
    fn next_chunk(&mut self, most: usize) -> io::Result<Option<Chunk>> {
        let mut text = Vec::new();
        let mut places: Vec<Range<usize>> = Vec::new();
        loop {
            let start = text.len();
            if self.input.read_until(self.delimiter, &mut text)? == 0 {
                break;
            }
            let end = text.len() - usize::from(text.last() == Some(&self.delimiter));
            if start < end {
                places.push(start..end);
            }
            let full = places.len() >= most || text.len() >= CHUNK;
            let more_is_there = self.input.buffer().contains(&self.delimiter);
            if !places.is_empty() && (full || !more_is_there) {
                break;
            }
        }
        // One allocation for all of them.
        let text = Bytes::from(text);
        let first = self.next;
        self.next += places.len() as u64;
        let records: Chunk = (first..)
            .zip(places)
            .map(|(number, place)| Record {
                number,
                body: text.slice(place),
            })
            .collect();
        Ok((!records.is_empty()).then_some(records))
    }
}

/// Lets so many records pass per second; of a pause, one second's worth is made good.
struct Throttle {
    rate: f64,
    /// Records that may pass.
    balance: f64,
    /// When the balance was last brought up to date.
    since: Instant,
}

impl Throttle {
    fn new(rate: u32) -> Self {
        Self {
            rate: rate.into(),
            balance: 1.0,
            since: Instant::now(),
        }
    }

    /// Waits until a record may pass, and returns how many may.
    fn wait(&mut self) -> usize {
        loop {
            let now = Instant::now();
            let earned = now.duration_since(self.since).as_secs_f64() * self.rate;
            self.balance = (self.balance + earned).min(self.rate);
            self.since = now;
            if self.balance >= 1.0 {
                return self.balance as usize;
            }
            thread::sleep(Duration::from_secs_f64((1.0 - self.balance) / self.rate));
        }
    }

    fn take(&mut self, records: usize) {
        self.balance -= records as f64;
    }
}
