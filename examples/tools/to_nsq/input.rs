//! Reads and splits the standard input in a separate thread, so that a blocking read delays no
//! publish and no heartbeat.

use std::{
    io::{self, BufRead, BufReader, Read},
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{sync::mpsc, time::timeout};

use crate::{
    policy::OnInvalid,
    record::{Chunk, Invalid, Record},
    throttle::Throttle,
};

/// Bytes per read, and the size at which a chunk is full.
const CHUNK_SIZE: usize = 64 << 10;

/// Maximum number of records in a chunk.
const CHUNK_RECORDS: usize = 256;

/// How the input is split into records.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Format {
    pub(crate) delimiter: u8,
    /// Maximum size of a record in bytes: `max_publish_size`.
    pub(crate) max_size: usize,
    pub(crate) on_invalid: OnInvalid,
}

/// Time within which the thread passes on what it has read, unless it waits for more input.
const HAND_OVER: Duration = Duration::from_millis(50);

/// The standard input.
pub(crate) struct Input {
    chunks: mpsc::Receiver<io::Result<Chunk>>,
    ends: Arc<AtomicBool>,
}

impl Input {
    /// Starts the thread that reads. It pauses while nothing takes its chunks.
    pub(crate) fn start(format: Format, rate: Option<u32>) -> Self {
        let (sender, chunks) = mpsc::channel(1);
        let ends = Arc::new(AtomicBool::new(false));
        let input = Self {
            chunks,
            ends: Arc::clone(&ends),
        };
        thread::spawn(move || {
            let mut splitter = Splitter::new(io::stdin().lock(), format);
            let mut throttle = rate.map(Throttle::new);
            while !ends.load(Ordering::Relaxed) || splitter.has_buffered_record() {
                let max = throttle.as_mut().map_or(CHUNK_RECORDS, Throttle::wait);
                let chunk = splitter.next_chunk(max.min(CHUNK_RECORDS)).transpose();
                let Some(chunk) = chunk else { break };
                if let (Some(throttle), Ok(chunk)) = (&mut throttle, &chunk) {
                    throttle.take(chunk.len());
                }
                let failed = chunk.is_err();
                if sender.blocking_send(chunk).is_err() || failed {
                    break;
                }
            }
        });
        input
    }

    /// Returns the next chunk; `None` at the end of the input.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Chunk>> {
        self.chunks.recv().await.transpose()
    }

    /// Returns the next chunk that was read already, and reads no more.
    pub(crate) async fn next_already_read(&mut self) -> io::Result<Option<Chunk>> {
        self.ends.store(true, Ordering::Relaxed);
        timeout(HAND_OVER, self.next()).await.unwrap_or(Ok(None))
    }
}

/// Splits an input into records. Its memory is bounded by `CHUNK_SIZE` and the maximum size of a
/// record.
struct Splitter<R> {
    input: BufReader<R>,
    format: Format,
    /// Number of the next record.
    next: u64,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    /// The input continues with a new record.
    AtRecord,
    /// The input continues with the rest of a record that is too large.
    InTooLarge,
    /// The last record ends the input.
    Ended,
}

impl<R: Read> Splitter<R> {
    fn new(input: R, format: Format) -> Self {
        Self {
            input: BufReader::with_capacity(CHUNK_SIZE, input),
            format,
            next: 0,
            state: State::AtRecord,
        }
    }

    /// Returns up to `max` records: those in the buffer, or the next one. `None` at the end of the
    /// input.
    fn next_chunk(&mut self, max: usize) -> io::Result<Option<Chunk>> {
        let mut chunk = Chunk::new();
        let mut size = 0;
        while chunk.len() < max && size < CHUNK_SIZE {
            // A record that is not complete does not delay those before it.
            if !chunk.is_empty() && !self.has_buffered_record() {
                break;
            }
            let Some(record) = self.next_record()? else {
                break;
            };
            size += record.size();
            chunk.push(record);
        }
        Ok((!chunk.is_empty()).then_some(chunk))
    }

    fn has_buffered_record(&self) -> bool {
        let is_next = self.state == State::AtRecord;
        is_next && self.input.buffer().contains(&self.format.delimiter)
    }

    fn next_record(&mut self) -> io::Result<Option<Record>> {
        let Format {
            delimiter,
            max_size,
            on_invalid,
        } = self.format;
        match mem::replace(&mut self.state, State::AtRecord) {
            State::AtRecord => {}
            State::InTooLarge => {
                self.input.skip_until(delimiter)?;
            }
            State::Ended => return Ok(None),
        }
        let mut body = Vec::new();
        // With its delimiter a record of the maximum size has one byte more.
        let limit = max_size as u64 + 1;
        if self
            .input
            .by_ref()
            .take(limit)
            .read_until(delimiter, &mut body)?
            == 0
        {
            return Ok(None);
        }
        if body.last() == Some(&delimiter) {
            body.pop();
        } else if body.len() > max_size {
            self.state = State::InTooLarge;
        }
        let body = match &self.state {
            State::InTooLarge => Err(Invalid::TooLarge {
                max_publish_size: max_size,
            }),
            _ if body.is_empty() => Err(Invalid::Empty),
            _ => Ok(body.into()),
        };
        if body.is_err() && on_invalid == OnInvalid::Stop {
            self.state = State::Ended;
        }
        let number = self.next;
        self.next += 1;
        Ok(Some(Record { number, body }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 5;

    /// The records of an input: number and body.
    fn records(input: &[u8], on_invalid: OnInvalid) -> Vec<(u64, Result<String, Invalid>)> {
        let format = Format {
            delimiter: b'\n',
            max_size: MAX,
            on_invalid,
        };
        let mut splitter = Splitter::new(input, format);
        let chunks = std::iter::from_fn(|| splitter.next_chunk(3).unwrap());
        let records = chunks.flatten().map(|Record { number, body }| {
            (
                number,
                body.map(|body| String::from_utf8(body.to_vec()).unwrap()),
            )
        });
        records.collect()
    }

    fn ok(text: &str) -> Result<String, Invalid> {
        Ok(text.to_owned())
    }

    const TOO_LARGE: Result<String, Invalid> = Err(Invalid::TooLarge {
        max_publish_size: MAX,
    });

    #[test]
    fn delimiter_ends_a_record_and_is_optional_at_the_end() {
        let two = [(0, ok("one")), (1, ok("two\r"))];
        assert_eq!(records(b"one\ntwo\r\n", OnInvalid::Skip), two);
        assert_eq!(records(b"one\ntwo\r", OnInvalid::Skip), two);
        assert_eq!(records(b"", OnInvalid::Skip), []);
    }

    #[test]
    fn invalid_record_is_numbered_and_passed_over() {
        let input = b"12345\n123456\n\n1234567890123\n1\n12345678";
        let expected = [
            (0, ok("12345")),
            (1, TOO_LARGE),
            (2, Err(Invalid::Empty)),
            (3, TOO_LARGE),
            (4, ok("1")),
            (5, TOO_LARGE),
        ];
        assert_eq!(records(input, OnInvalid::Skip), expected);
        assert_eq!(records(input, OnInvalid::Stop), expected[..2]);
        assert_eq!(
            records(b"1\n\n2\n", OnInvalid::Stop),
            [(0, ok("1")), (1, Err(Invalid::Empty))]
        );
        assert_eq!(records(b"12345", OnInvalid::Skip), expected[..1]);
    }

    /// Reading a record that has no end would take all memory.
    #[test]
    fn endless_record_is_reported_before_its_end() {
        let format = Format {
            delimiter: b'\n',
            max_size: 1 << 20,
            on_invalid: OnInvalid::Skip,
        };
        let mut splitter = Splitter::new(io::repeat(0), format);
        let chunk = splitter.next_chunk(9).unwrap().unwrap();
        assert_eq!(chunk.len(), 1);
        assert!(chunk[0].body.is_err());
    }

    #[test]
    fn chunk_has_no_more_records_than_requested() {
        let format = Format {
            delimiter: b'\n',
            max_size: MAX,
            on_invalid: OnInvalid::Skip,
        };
        let mut splitter = Splitter::new(&b"1\n\n\n2\n"[..], format);
        let mut length = || splitter.next_chunk(3).unwrap().map(|chunk| chunk.len());
        assert_eq!([length(), length(), length()], [Some(3), Some(1), None]);
    }
}
