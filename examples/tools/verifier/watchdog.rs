//! Ends a run that hangs, and reports the stage.

use std::{
    process,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::report::print_line;

/// Exit code of a run without a result.
pub(crate) const NO_RESULT: u8 = 3;

const POLL: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Watchdog(Arc<Mutex<Stage>>);

#[derive(Debug, Clone, Copy)]
struct Stage {
    name: &'static str,
    deadline: Instant,
}

impl Watchdog {
    /// Starts the watching thread with the first stage.
    pub(crate) fn start(name: &'static str, timeout: Duration) -> Self {
        let stage = Arc::new(Mutex::new(Stage::new(name, timeout)));
        let watched = Arc::clone(&stage);
        thread::spawn(move || {
            loop {
                thread::sleep(POLL);
                let Stage { name, deadline } =
                    *watched.lock().unwrap_or_else(PoisonError::into_inner);
                if Instant::now() > deadline {
                    print_line(format_args!("timeout while {name}"));
                    process::exit(NO_RESULT.into());
                }
            }
        });
        Self(stage)
    }

    /// Begins the next stage.
    pub(crate) fn stage(&self, name: &'static str, timeout: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Stage::new(name, timeout);
    }
}

impl Stage {
    fn new(name: &'static str, timeout: Duration) -> Self {
        Self {
            name,
            deadline: Instant::now() + timeout,
        }
    }
}
