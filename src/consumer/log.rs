//! What a consumer logs about handlers: trouble is seen, and cannot flood the log.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use log::{Level, log};

use crate::link::{LogLimit, now};

/// A limited log of records that are alike.
#[derive(Debug, Clone, Default)]
pub(super) struct LimitedLog(Arc<Mutex<LogLimit>>);

impl LimitedLog {
    pub(super) fn warn(&self, message: impl fmt::Display) {
        self.log(Level::Warn, message);
    }

    pub(super) fn info(&self, message: impl fmt::Display) {
        self.log(Level::Info, message);
    }

    fn log(&self, level: Level, message: impl fmt::Display) {
        let (level, message) = {
            // Nothing that is done under the lock panics.
            let mut limit = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            limit.apply(level, message.to_string(), now())
        };
        log!(level, "{message}");
    }
}
