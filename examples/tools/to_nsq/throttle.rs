//! The flag `--rate`: limits the records per second.

use std::{
    thread,
    time::{Duration, Instant},
};

/// A token bucket with the capacity of one second.
pub(crate) struct Throttle {
    rate: f64,
    tokens: f64,
    /// Time of the last refill.
    refilled: Instant,
}

impl Throttle {
    pub(crate) fn new(rate: u32) -> Self {
        Self {
            rate: rate.into(),
            tokens: 1.0,
            refilled: Instant::now(),
        }
    }

    /// Waits for a token, and returns the number of tokens.
    pub(crate) fn wait(&mut self) -> usize {
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

    pub(crate) fn take(&mut self, records: usize) {
        self.tokens -= records as f64;
    }
}
