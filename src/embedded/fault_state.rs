//! The faults that are active: persistent ones, and those set up for the next command or byte.

use std::{collections::VecDeque, time::Duration};

/// The faults as the connections see them; `Faults` sets them.
#[derive(Debug, Default)]
pub(super) struct FaultState {
    pub(super) refuse_connections: bool,
    pub(super) persistent: PersistentFaults,
    pub(super) one_shot: VecDeque<OneShotFault>,
    pub(super) cut: Option<Cut>,
}

/// Faults of connections that stay active until they are switched off.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PersistentFaults {
    pub(super) stall: bool,
    pub(super) freeze: bool,
    pub(super) stop_reading: bool,
    pub(super) stop_heartbeats: bool,
    pub(super) delay: Duration,
}

/// A fault of the next command with this name.
#[derive(Debug)]
pub(super) struct OneShotFault {
    pub(super) command: String,
    pub(super) reaction: Reaction,
}

#[derive(Debug)]
pub(super) enum Reaction {
    /// Store only the first `stored` of its messages, and respond with this error.
    Fail { error: String, stored: usize },
    /// Execute it, and send these bytes instead of its response.
    Respond(Vec<u8>),
}

/// Ends a connection after a number of commands or bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) remaining: Remaining,
    pub(super) mode: CloseMode,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Remaining {
    Commands(u64),
    Bytes(u64),
}

/// How a socket is closed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum CloseMode {
    /// An ordinary close: FIN, or RST if received bytes are unread.
    Close,
    /// Always RST.
    Reset,
}

impl FaultState {
    /// Whether there is a fault set up for this command.
    pub(super) fn has_one_shot(&self, command: &[u8]) -> bool {
        let mut faults = self.one_shot.iter();
        faults.any(|fault| fault.command.as_bytes() == command)
    }

    /// Removes and returns the first fault set up for this command.
    pub(super) fn take_one_shot(&mut self, command: &[u8]) -> Option<Reaction> {
        let index = self
            .one_shot
            .iter()
            .position(|fault| fault.command.as_bytes() == command)?;
        self.one_shot.remove(index).map(|fault| fault.reaction)
    }

    /// Counts a command. Returns how to close the connection if this was the last one.
    pub(super) fn count_command(&mut self, name: &[u8]) -> Option<CloseMode> {
        let Some(Cut {
            remaining: Remaining::Commands(remaining),
            ..
        }) = &mut self.cut
        else {
            return None;
        };
        // The number of NOPs depends on timing, because they answer heartbeats.
        if name != b"NOP" {
            *remaining = remaining.saturating_sub(1);
        }
        self.take_elapsed_cut()
    }

    /// Counts bytes. If the cut is within them, returns how many precede it, and how to close the
    /// connection.
    pub(super) fn count_bytes(&mut self, received: usize) -> Option<(usize, CloseMode)> {
        let Some(Cut {
            remaining: Remaining::Bytes(remaining),
            ..
        }) = &mut self.cut
        else {
            return None;
        };
        let received = u64::try_from(received).unwrap_or(u64::MAX);
        let accepted = received.min(*remaining);
        *remaining -= accepted;
        let mode = self.take_elapsed_cut()?;
        Some((usize::try_from(accepted).unwrap_or(usize::MAX), mode))
    }

    /// Removes the cut if nothing remains to be counted, and returns how to close the connection. A
    /// cut that was set to 0 applies to the next connection that is opened or sends anything.
    pub(super) fn take_elapsed_cut(&mut self) -> Option<CloseMode> {
        let cut = self
            .cut
            .take_if(|cut| matches!(cut.remaining, Remaining::Commands(0) | Remaining::Bytes(0)))?;
        Some(cut.mode)
    }
}

/// Whether nsqd closes the connection after this error.
pub(super) fn closes_connection(error: &str) -> bool {
    let code = error.split(' ').next().unwrap_or_default();
    !matches!(code, "E_FIN_FAILED" | "E_REQ_FAILED" | "E_TOUCH_FAILED")
}
