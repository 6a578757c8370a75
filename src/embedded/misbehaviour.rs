//! Which faults are on, and what is armed for the next command or the next byte.

use std::{collections::VecDeque, time::Duration};

/// The faults, as the connections see them. The verbs that set them are in `faults`.
#[derive(Debug, Default)]
pub(super) struct Misbehaviour {
    pub(super) refuse: bool,
    pub(super) switches: Switches,
    pub(super) planned: VecDeque<Planned>,
    pub(super) cut: Option<Cut>,
}

/// What stays as it is until it is switched off.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Switches {
    pub(super) stall: bool,
    pub(super) freeze: bool,
    pub(super) stop_reading: bool,
    pub(super) stop_heartbeats: bool,
    pub(super) delay: Duration,
}

/// What is to happen to the next command of this name.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) command: String,
    pub(super) reaction: Reaction,
}

#[derive(Debug)]
pub(super) enum Reaction {
    /// Store only so many of its messages, and answer with this error frame.
    Fail { error: String, stored: usize },
    /// Execute it, and send these bytes where its answer would have been.
    Answer(Vec<u8>),
}

/// A connection is to end when so much has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) left: Left,
    pub(super) ending: Ending,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Left {
    Commands(u64),
    Bytes(u64),
}

/// How a socket is given back to the kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Ending {
    /// An ordinary close: FIN, or RST where bytes lie unread.
    Close,
    /// RST, always.
    Reset,
}

impl Misbehaviour {
    /// The reaction planned for this command, taken off the list.
    pub(super) fn planned_for(&mut self, command: &[u8]) -> Option<Reaction> {
        let index = self
            .planned
            .iter()
            .position(|planned| planned.command.as_bytes() == command)?;
        self.planned.remove(index).map(|planned| planned.reaction)
    }

    /// Counts a command off; how to end the connection if this was the last one.
    pub(super) fn count_command(&mut self, name: &[u8]) -> Option<Ending> {
        let Some(Cut {
            left: Left::Commands(left),
            ..
        }) = &mut self.cut
        else {
            return None;
        };
        // The answers to heartbeats come by the clock; counting them would leave the moment to
        // chance.
        if name != b"NOP" {
            *left = left.saturating_sub(1);
        }
        self.used_up()
    }

    /// Counts bytes off. How many of them still are to be heard when the count ends within them,
    /// and the ending.
    pub(super) fn count_bytes(&mut self, received: usize) -> Option<(usize, Ending)> {
        let Some(Cut {
            left: Left::Bytes(left),
            ..
        }) = &mut self.cut
        else {
            return None;
        };
        let received = u64::try_from(received).unwrap_or(u64::MAX);
        let heard = received.min(*left);
        *left -= heard;
        let ending = self.used_up()?;
        Some((usize::try_from(heard).unwrap_or(usize::MAX), ending))
    }

    /// The ending, once, when nothing is left to wait for: also what a count of 0 means to a new
    /// connection.
    pub(super) fn used_up(&mut self) -> Option<Ending> {
        let cut = self
            .cut
            .take_if(|cut| matches!(cut.left, Left::Commands(0) | Left::Bytes(0)))?;
        Some(cut.ending)
    }
}

/// Whether nsqd hangs up after this error.
pub(super) fn fatal(error: &str) -> bool {
    let code = error.split(' ').next().unwrap_or_default();
    !matches!(code, "E_FIN_FAILED" | "E_REQ_FAILED" | "E_TOUCH_FAILED")
}
