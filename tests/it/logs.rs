//! What the client logs, per thread: each test, and each producer of it in virtual time, has a thread of its own.

use std::{cell::RefCell, sync::Once};

use log::{Level, LevelFilter, Log, Metadata, Record};

thread_local! {
    static LINES: RefCell<Option<Vec<(Level, String)>>> = const { RefCell::new(None) };
}

struct Capture;

impl Log for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("actix_nsq")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            LINES.with_borrow_mut(|lines| {
                if let Some(lines) = lines {
                    lines.push((record.level(), record.args().to_string()));
                }
            });
        }
    }

    fn flush(&self) {}
}

/// From here on, what is logged on this thread is kept.
pub(crate) fn keep() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Capture).expect("no other logger is set");
        log::set_max_level(LevelFilter::Trace);
    });
    LINES.set(Some(Vec::new()));
}

/// What was logged on this thread since the last look.
pub(crate) fn take() -> Vec<(Level, String)> {
    LINES.with_borrow_mut(|lines| lines.replace(Vec::new()).expect("kept"))
}

/// The same, without what is for developers only.
pub(crate) fn take_news() -> Vec<(Level, String)> {
    let mut lines = take();
    lines.retain(|(level, _)| *level <= Level::Info);
    lines
}
