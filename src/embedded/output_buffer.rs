//! The output buffer of a connection: how long nsqd holds messages back.

use std::time::Duration;

use tokio::time::Instant;

use super::ticker::Ticker;

/// Frames of messages that are not sent yet. Other frames are sent at once, behind these.
#[derive(Debug, Default)]
pub(super) struct OutputBuffer {
    bytes: Vec<u8>,
    /// Ticks whether or not the buffer is empty: after a pause, a message is sent at once.
    ticker: Option<Ticker>,
}

impl OutputBuffer {
    /// Sets the period of the flushes by time; `None`: there are none.
    pub(super) fn set_timeout(&mut self, now: Instant, timeout: Option<Duration>) {
        self.ticker = timeout.and_then(|timeout| Ticker::new(now, timeout));
    }

    /// Adds frames, and returns what exceeds the size of the buffer.
    pub(super) fn add(&mut self, frames: Vec<u8>, size: usize) -> Vec<u8> {
        self.bytes.extend(frames);
        let kept = self.bytes.len() % size.max(1);
        let kept = self.bytes.split_off(self.bytes.len() - kept);
        std::mem::replace(&mut self.bytes, kept)
    }

    /// Returns all frames if they must be sent now: at a tick, or if the consumer gets no more.
    pub(super) fn flush_if_due(&mut self, now: Instant, is_ready: bool) -> Vec<u8> {
        let is_due =
            !self.is_empty() && (!is_ready || self.ticker.as_mut().is_some_and(|it| it.tick(now)));
        if is_due { self.flush() } else { Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns all frames.
    pub(super) fn flush(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// When frames must be sent at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        let ticker = self.ticker.as_ref().filter(|_| !self.is_empty());
        ticker.map(|ticker| ticker.next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn buffer(now: Instant) -> OutputBuffer {
        let mut buffer = OutputBuffer::default();
        buffer.set_timeout(now, Some(MS(250)));
        buffer
    }

    #[test]
    fn message_after_a_pause_is_sent_at_once_and_the_next_waits() {
        let start = Instant::now();
        let mut buffer = buffer(start);
        assert_eq!(buffer.due(), None);
        assert!(buffer.add(b"one".to_vec(), 16_384).is_empty());
        assert!(buffer.flush_if_due(start + MS(249), true).is_empty());
        assert_eq!(buffer.due(), Some(start + MS(250)));
        assert_eq!(buffer.flush_if_due(start + MS(250), true), b"one");
        assert_eq!(buffer.due(), None);
        // Ticks that no message has used are one tick.
        let later = start + MS(1_010);
        assert!(buffer.add(b"two".to_vec(), 16_384).is_empty());
        assert_eq!(buffer.flush_if_due(later, true), b"two");
        assert!(buffer.add(b"three".to_vec(), 16_384).is_empty());
        assert!(buffer.flush_if_due(later, true).is_empty());
        assert_eq!(buffer.due(), Some(start + MS(1_250)));
    }

    #[test]
    fn full_buffer_and_full_consumer_are_sent_at_once() {
        let start = Instant::now();
        let mut buffer = buffer(start);
        assert_eq!(buffer.add(b"abcdefg".to_vec(), 3), b"abcdef");
        assert_eq!(buffer.add(b"h".to_vec(), 3), b"");
        assert_eq!(buffer.flush_if_due(start, false), b"gh");
        // `output_buffer_size` -1 is a buffer of one byte.
        assert_eq!(buffer.add(b"i".to_vec(), 1), b"i");
        assert_eq!(buffer.due(), None);
    }
}
