//! Reads and splits the standard input in a separate thread, so that a blocking read delays no
//! publish and no heartbeat.

use std::{
    io::{self, BufRead, BufReader, Read},
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use actix_nsq::bytes::Bytes;
use tokio::sync::mpsc;

/// Bytes per read, and the size at which a chunk is full.
const CHUNK_SIZE: usize = 64 << 10;

/// Maximum number of records in a chunk.
const CHUNK_RECORDS: usize = 256;

/// A piece of the input to be published as one message.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Number in the input, from 0, without empty records.
    pub(crate) number: u64,
    pub(crate) body: Bytes,
}

/// Records that were read together, at least one.
pub(crate) type Chunk = Vec<Record>;

/// Starts the thread that reads. It pauses while the channel is full.
pub(crate) fn read_stdin(delimiter: u8, rate: Option<u32>) -> mpsc::Receiver<io::Result<Chunk>> {
    let (chunks, receiver) = mpsc::channel(1);
    thread::spawn(move || {
        let mut splitter = Splitter::new(io::stdin().lock(), delimiter);
        let mut throttle = rate.map(Throttle::new);
        loop {
            let max = throttle.as_mut().map_or(CHUNK_RECORDS, Throttle::wait);
            let chunk = splitter.next_chunk(max.min(CHUNK_RECORDS)).transpose();
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
            input: BufReader::with_capacity(CHUNK_SIZE, input),
            delimiter,
            next: 0,
        }
    }

    /// Returns up to `max` records: those in the buffer, or the next one. `None` at the end of the
    /// input.
    fn next_chunk(&mut self, max: usize) -> io::Result<Option<Chunk>> {
        let mut text = Vec::new();
        let mut ranges: Vec<Range<usize>> = Vec::new();
        loop {
            let start = text.len();
            if self.input.read_until(self.delimiter, &mut text)? == 0 {
                break;
            }
            let end = text.len() - usize::from(text.last() == Some(&self.delimiter));
            if start < end {
                ranges.push(start..end);
            }
            let full = ranges.len() >= max || text.len() >= CHUNK_SIZE;
            let more_buffered = self.input.buffer().contains(&self.delimiter);
            if !ranges.is_empty() && (full || !more_buffered) {
                break;
            }
        }
        // One allocation for all bodies.
        let text = Bytes::from(text);
        let first = self.next;
        self.next += ranges.len() as u64;
        let records: Chunk = (first..)
            .zip(ranges)
            .map(|(number, range)| Record {
                number,
                body: text.slice(range),
            })
            .collect();
        Ok((!records.is_empty()).then_some(records))
    }
}

/// A token bucket with the capacity of one second: limits the records per second.
struct Throttle {
    rate: f64,
    tokens: f64,
    /// Time of the last refill.
    refilled: Instant,
}

impl Throttle {
    fn new(rate: u32) -> Self {
        Self {
            rate: rate.into(),
            tokens: 1.0,
            refilled: Instant::now(),
        }
    }

    /// Waits for a token, and returns the number of tokens.
    fn wait(&mut self) -> usize {
        loop {
            let now = Instant::now();
            let added = now.duration_since(self.refilled).as_secs_f64() * self.rate;
            self.tokens = (self.tokens + added).min(self.rate);
            self.refilled = now;
            if self.tokens >= 1.0 {
                return self.tokens as usize;
            }
            thread::sleep(Duration::from_secs_f64((1.0 - self.tokens) / self.rate));
        }
    }

    fn take(&mut self, records: usize) {
        self.tokens -= records as f64;
    }
}
