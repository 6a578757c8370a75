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

    /// Adds frames, and returns the bytes that the buffer does not hold. A frame larger than the
    /// buffer passes through it.
    pub(super) fn add(&mut self, mut frames: &[u8], size: usize) -> Vec<u8> {
        let mut excess = Vec::new();
        // nsqd writes the size of a frame, its type and its data one after the other.
        while let Some((length, rest)) = frames.split_first_chunk::<4>() {
            let data = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let (data, behind) = rest.split_at(data.min(rest.len()));
            let (kind, data) = data.split_at(data.len().min(4));
            for part in [length, kind, data] {
                self.write(part, size, &mut excess);
            }
            frames = behind;
        }
        excess
    }

    /// Writes to the buffer as Go's `bufio.Writer` does.
    fn write(&mut self, mut part: &[u8], size: usize, excess: &mut Vec<u8>) {
        while part.len() > size.saturating_sub(self.bytes.len()) {
            if self.bytes.is_empty() {
                excess.extend_from_slice(part);
                return;
            }
            let (first, rest) = part.split_at(size.saturating_sub(self.bytes.len()));
            excess.append(&mut self.bytes);
            excess.extend_from_slice(first);
            part = rest;
        }
        self.bytes.extend_from_slice(part);
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

    fn frame(data: &[u8]) -> Vec<u8> {
        let length = u32::try_from(data.len() + 4).unwrap();
        [&length.to_be_bytes(), &2_u32.to_be_bytes(), data].concat()
    }

    #[test]
    fn message_after_a_pause_is_sent_at_once_and_the_next_waits() {
        let (start, message) = (Instant::now(), frame(b"message"));
        let mut buffer = buffer(start);
        assert_eq!(buffer.due(), None);
        assert!(buffer.add(&message, 16_384).is_empty());
        assert!(buffer.flush_if_due(start + MS(249), true).is_empty());
        assert_eq!(buffer.due(), Some(start + MS(250)));
        assert_eq!(buffer.flush_if_due(start + MS(250), true), message);
        assert_eq!(buffer.due(), None);
        // Ticks that no message has used are one tick.
        let later = start + MS(1_010);
        assert!(buffer.add(&message, 16_384).is_empty());
        assert_eq!(buffer.flush_if_due(later, true), message);
        assert!(buffer.add(&message, 16_384).is_empty());
        assert!(buffer.flush_if_due(later, true).is_empty());
        assert_eq!(buffer.due(), Some(start + MS(1_250)));
    }

    #[test]
    fn full_buffer_and_full_consumer_are_sent_at_once() {
        let start = Instant::now();
        let mut buffer = buffer(start);
        let (small, large) = (frame(b"small"), frame(&[7; 200]));
        assert!(buffer.add(&small, 64).is_empty());
        assert_eq!(buffer.flush_if_due(start, false), small);
        assert_eq!(buffer.add(&large, 64), large);
        // The buffer is filled, and the rest stays in it.
        let medium = frame(&[7; 100]);
        assert_eq!(buffer.add(&medium, 64), medium[..64]);
        assert_eq!(buffer.flush(), medium[64..]);
        // `output_buffer_size` -1 is a buffer of one byte.
        assert_eq!(buffer.add(&small, 1), small);
        assert_eq!(buffer.due(), None);
    }
}
