//! The watchdog: a trial that hangs ends all the same, and says where it hung.

use std::{
    process,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::report::say;

/// The exit code of a trial that could not be held.
pub(crate) const NO_TRIAL: u8 = 3;

const NAP: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Watchdog(Arc<Mutex<Stage>>);

#[derive(Debug, Clone, Copy)]
struct Stage {
    name: &'static str,
    end: Instant,
}

impl Watchdog {
    /// Watches from now on, on a thread of its own.
    pub(crate) fn start(name: &'static str, longest: Duration) -> Self {
        let stage = Arc::new(Mutex::new(Stage::new(name, longest)));
        let watched = Arc::clone(&stage);
        thread::spawn(move || {
            loop {
                thread::sleep(NAP);
                let Stage { name, end } = *watched.lock().unwrap_or_else(PoisonError::into_inner);
                if Instant::now() > end {
                    say(format_args!("hangs while {name}"));
                    process::exit(NO_TRIAL.into());
                }
            }
        });
        Self(stage)
    }

    /// What comes now, and how long it may take.
    pub(crate) fn stage(&self, name: &'static str, longest: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Stage::new(name, longest);
    }
}

impl Stage {
    fn new(name: &'static str, longest: Duration) -> Self {
        Self {
            name,
            end: Instant::now() + longest,
        }
    }
}
