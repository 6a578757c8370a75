//! One established connection, from the handshake until both its actors have closed.

use std::time::Instant;

use super::retry::{End, EndCause};
use crate::{
    conn::{Closed, Conn, ConnId, Side},
    error::ConnectionError,
    protocol::Outbox,
};

/// A connection, and what its owner keeps for it (`S`).
///
/// ```text
///           close: lost, rejected, unexpected response, stalled, drained
///   Open ----------------------------------------------------------------> Closing
///                                        the writer has closed: its count is final
///                                        the reader has closed: no response is unread
///                                                                            |
///                                                                            v
///                                                                          ended
/// ```
pub(crate) struct Session<S> {
    conn: Conn,
    /// Where commands are encoded; its total gives their positions in the connection's byte stream.
    pub(crate) out: Outbox,
    /// What the owner keeps for this connection.
    pub(crate) state: S,
    since: Instant,
    had_served: bool,
    close_when_idle: bool,
    phase: Phase,
}

enum Phase {
    Open,
    Closing(Closing),
}

struct Closing {
    reason: ConnectionError,
    /// Everything that is queued is written before the writer closes.
    is_graceful: bool,
    since: Instant,
    disposition: FrameDisposition,
    reader_closed: bool,
    writer_closed: bool,
    /// The peer has closed its side after this client had begun to close.
    saw_eof: bool,
}

impl Closing {
    fn new(reason: ConnectionError, since: Instant) -> Self {
        Self {
            reason,
            is_graceful: false,
            since,
            disposition: FrameDisposition::Respond,
            reader_closed: false,
            writer_closed: false,
            saw_eof: false,
        }
    }
}

/// How frames are treated that still arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameDisposition {
    /// They respond to commands in flight.
    Respond,
    /// nsqd has sent an error response, after which it executes nothing and closes the connection.
    /// If another frame follows, the peer does not behave like nsqd, and nothing is known.
    AfterRejection,
    /// They are ignored.
    Discard,
}

/// A connection that has ended.
pub(crate) struct Ended {
    pub(crate) reason: ConnectionError,
    /// nsqd rejected a command: it has executed nothing behind that one.
    pub(crate) is_rejected: bool,
    pub(crate) end: End,
    /// How many bytes of commands the socket has accepted.
    pub(crate) bytes_written: u64,
    /// nsqd has executed every command: all were written, the write side was shut down, and nsqd
    /// then closed the connection.
    pub(crate) is_confirmed: bool,
}

impl<S> Session<S> {
    pub(super) fn new(conn: Conn, state: S, now: Instant) -> Self {
        Self {
            conn,
            out: Outbox::new(),
            state,
            since: now,
            had_served: false,
            close_when_idle: false,
            phase: Phase::Open,
        }
    }

    pub(super) fn id(&self) -> ConnId {
        self.conn.id()
    }

    /// How many bytes of commands the socket has accepted.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.conn.bytes_written()
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, Phase::Closing(_))
    }

    /// Whether the connection is to be closed once nothing is in flight, and then replaced.
    pub(crate) fn closes_when_idle(&self) -> bool {
        self.close_when_idle
    }

    pub(super) fn close_when_idle(&mut self) {
        self.close_when_idle = true;
    }

    /// Whether the connection is up, or ends with a rejection or on request.
    pub(super) fn is_available(&self) -> bool {
        match &self.phase {
            Phase::Open => true,
            Phase::Closing(closing) => {
                self.close_when_idle || closing.disposition == FrameDisposition::AfterRejection
            }
        }
    }

    /// Notes that nsqd has executed a command, or delivered a message.
    pub(crate) fn set_served(&mut self) {
        self.had_served = true;
    }

    /// Hands everything that was encoded to the writer.
    pub(crate) fn flush(&mut self) {
        if !self.out.is_empty() {
            self.conn.write(self.out.take_apart());
        }
    }

    pub(crate) fn disposition(&self) -> FrameDisposition {
        match &self.phase {
            Phase::Open => FrameDisposition::Respond,
            Phase::Closing(closing) => closing.disposition,
        }
    }

    pub(crate) fn set_disposition(&mut self, disposition: FrameDisposition) {
        if let Phase::Closing(closing) = &mut self.phase {
            closing.disposition = disposition;
        }
    }

    /// Sends nothing more, and reads what nsqd has sent already, for a bounded time.
    pub(crate) fn close(&mut self, reason: ConnectionError, now: Instant) {
        if self.is_closing() {
            return;
        }
        self.phase = Phase::Closing(Closing::new(reason, now));
        self.conn.abort_writer();
        self.conn.drain_reads();
    }

    /// Writes everything that is queued and encoded, shuts down the write side, and reads until
    /// nsqd closes the connection, for a bounded time. nsqd executes all commands before that.
    pub(crate) fn finish(&mut self, reason: ConnectionError, now: Instant) {
        if self.is_closing() {
            return;
        }
        self.flush();
        self.phase = Phase::Closing(Closing {
            is_graceful: true,
            ..Closing::new(reason, now)
        });
        self.conn.finish_writer();
    }

    /// Closes without waiting for the peer.
    pub(crate) fn abort(&mut self, reason: ConnectionError, now: Instant) {
        self.close(reason, now);
        self.conn.abort_reader();
    }

    /// Notes that one side has closed; returns whether both have.
    pub(super) fn on_closed(&mut self, Closed { side, reason, .. }: Closed, now: Instant) -> bool {
        let is_eof = side == Side::Reader && matches!(reason, ConnectionError::ClosedByPeer);
        self.close(reason, now);
        let Phase::Closing(closing) = &mut self.phase else {
            return false;
        };
        match side {
            Side::Reader => closing.reader_closed = true,
            Side::Writer => closing.writer_closed = true,
        }
        if closing.is_graceful {
            match side {
                Side::Reader => self.conn.abort_writer(),
                Side::Writer => self.conn.drain_reads(),
            }
        }
        closing.saw_eof |= is_eof && closing.is_graceful && closing.writer_closed;
        closing.reader_closed && closing.writer_closed
    }

    fn saw_eof(&self) -> bool {
        match &self.phase {
            Phase::Closing(closing) => closing.saw_eof,
            Phase::Open => false,
        }
    }

    pub(super) fn end(self) -> Ended {
        let bytes_written = self.bytes_written();
        let is_confirmed = bytes_written == self.out.total() && self.saw_eof();
        let (reason, disposition, until) = match self.phase {
            Phase::Closing(closing) => (closing.reason, closing.disposition, closing.since),
            Phase::Open => (
                ConnectionError::ClosedLocally,
                FrameDisposition::Respond,
                self.since,
            ),
        };
        let is_rejected = disposition == FrameDisposition::AfterRejection;
        let cause = match reason {
            _ if is_rejected => EndCause::Rejected,
            ConnectionError::ClosedLocally if self.close_when_idle => EndCause::Requested,
            _ => EndCause::Lost,
        };
        let end = End {
            cause,
            reconnect_requested: self.close_when_idle,
            had_served: self.had_served,
            lasted: until.saturating_duration_since(self.since),
            is_persistent: reason.is_lasting(),
        };
        Ended {
            reason,
            is_rejected,
            end,
            bytes_written,
            is_confirmed,
        }
    }
}
