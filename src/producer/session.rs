//! A connection in the producer's hands: what it still may be told by it, and how it ends.

use std::time::{Duration, Instant};

use super::{
    publish::Queue,
    queue::{ConnectionEnd, DisconnectOutcome},
};
use crate::{
    conn::{Closed, Conn, ConnId, Side},
    error::{Cause, ConnectionError},
    protocol::{Frame, Outbox, ServerError, Topic},
};

/// A connection from the handshake to its settlement.
///
/// ```text
///            close: lost, refused, out of step, stalled, drained
///   open --------------------------------------------------------> closing
///                                                                     | the writer has ended: its count is final
///                                                                     | the reader has ended: no answer is unread
///                                                                     v
///                                                                  settled
/// ```
pub(super) struct Session {
    conn: Conn,
    /// Where commands are encoded; its total is what places them in the connection's stream.
    out: Outbox,
    since: Instant,
    /// When something was last answered, or first sent with nothing in flight.
    progress: Instant,
    /// nsqd has answered `OK` at least once.
    served: bool,
    /// Nothing more is handed over, and the end comes when all is answered.
    leaving: bool,
    closing: Option<Closing>,
}

struct Closing {
    reason: ConnectionError,
    /// What comes after is the end, and no part of its life.
    at: Instant,
    heed: Heed,
    reader: bool,
    writer: bool,
}

/// What is made of frames that still come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heed {
    /// They answer what is in flight.
    Answers,
    /// An error frame has come, which is nsqd's last word: nothing behind it was executed. Should more come, then this
    /// is no nsqd, and nothing is known.
    Refusal,
    /// They belong to nothing.
    Nothing,
}

impl Session {
    pub(super) fn new(conn: Conn, now: Instant) -> Self {
        Self {
            conn,
            out: Outbox::new(),
            since: now,
            progress: now,
            served: false,
            leaving: false,
            closing: None,
        }
    }

    pub(super) fn id(&self) -> ConnId {
        self.conn.id()
    }

    /// How many bytes of commands the socket has taken.
    pub(super) fn taken(&self) -> u64 {
        self.conn.bytes_written()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.is_some()
    }

    /// Whether it is to end, and to be replaced.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Ends the connection as soon as all that is in flight is answered.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }

    /// Hands over all that the window allows, as one burst.
    pub(super) fn hand_over(&mut self, queue: &mut Queue, ping: &[u8], now: Instant) {
        if self.closing.is_some() {
            return;
        }
        if self.leaving {
            if !queue.has_in_flight() {
                self.abort(ConnectionError::ClosedLocally, now);
            }
            return;
        }
        if !queue.has_in_flight() {
            self.progress = now;
        }
        while queue.next_command(ping, &mut self.out, now) {}
        if !self.out.is_empty() {
            self.conn.write(self.out.take_apart());
        }
    }

    /// Takes a frame of this connection; the refusal of a publish is told with its topic.
    pub(super) fn hear(
        &mut self,
        frame: Frame,
        queue: &mut Queue,
        now: Instant,
    ) -> Option<(Topic, ServerError)> {
        match self
            .closing
            .as_ref()
            .map_or(Heed::Answers, |closing| closing.heed)
        {
            Heed::Answers => {}
            Heed::Refusal => {
                self.heed(Heed::Nothing);
                return None;
            }
            Heed::Nothing => return None,
        }
        let problem = match frame {
            Frame::Ok => match queue.on_ok(self.conn.bytes_written(), now) {
                Ok(()) => {
                    self.served = true;
                    self.progress = now;
                    return None;
                }
                Err(problem) => problem.into(),
            },
            Frame::Error(refusal) if refusal.code().is_fatal() => {
                let topic = queue.oldest_topic();
                let heed = match queue.on_error(&refusal) {
                    Ok(()) => Heed::Refusal,
                    Err(_) => Heed::Nothing,
                };
                let verdict = topic.map(|topic| (topic, refusal.clone()));
                let reason = match refusal.is_tls_required() {
                    true => ConnectionError::TlsRequired(refusal),
                    false => ConnectionError::Rejected(refusal),
                };
                self.close(reason, now);
                self.heed(heed);
                return verdict;
            }
            other => format!("{other} is no answer to a publish"),
        };
        self.close(ConnectionError::UnexpectedResponse { problem }, now);
        self.heed(Heed::Nothing);
        None
    }

    fn heed(&mut self, heed: Heed) {
        if let Some(closing) = &mut self.closing {
            closing.heed = heed;
        }
    }

    /// When a stall is found, if nothing is answered until then. While the oldest command is on its way it is looked at
    /// more often, so that its time begins when it is wholly sent, and not long before.
    pub(super) fn stall_due(&self, queue: &Queue, after: Duration) -> Option<Instant> {
        if self.closing.is_some() {
            return None;
        }
        let on_its_way = queue.oldest_end()? > self.conn.bytes_written();
        Some(self.progress + if on_its_way { after / 8 } else { after })
    }

    /// Closes when commands are in flight and nothing was answered for too long.
    pub(super) fn check_stall(&mut self, queue: &Queue, after: Duration, now: Instant) {
        if self.stall_due(queue, after).is_none_or(|due| due > now) {
            return;
        }
        if queue
            .oldest_end()
            .is_some_and(|end| end > self.conn.bytes_written())
        {
            // It is still on its way, which is for the writer to judge.
            self.progress = now;
            return;
        }
        self.close(ConnectionError::AckTimeout { after }, now);
        self.conn.abort_reader();
    }

    /// Hands over nothing more, and reads what nsqd has said already.
    pub(super) fn close(&mut self, reason: ConnectionError, now: Instant) {
        if self.closing.is_none() {
            self.closing = Some(Closing {
                reason,
                at: now,
                heed: Heed::Answers,
                reader: true,
                writer: true,
            });
            self.conn.abort_writer();
            self.conn.drain_reads();
        }
    }

    /// Closes without waiting for the peer.
    pub(super) fn abort(&mut self, reason: ConnectionError, now: Instant) {
        self.close(reason, now);
        self.conn.abort_reader();
    }

    /// Takes note that one side has ended; true when both have.
    pub(super) fn ended(&mut self, Closed { side, reason, .. }: Closed, now: Instant) -> bool {
        self.close(reason, now);
        let Some(closing) = &mut self.closing else {
            return false;
        };
        match side {
            Side::Reader => closing.reader = false,
            Side::Writer => closing.writer = false,
        }
        !closing.reader && !closing.writer
    }

    /// Settles what is in flight.
    pub(super) fn settle(self, queue: &mut Queue, drained: bool) -> Settled {
        let taken = self.conn.bytes_written();
        let (reason, heed, end) = match self.closing {
            Some(Closing {
                reason, heed, at, ..
            }) => (reason, heed, at),
            None => (ConnectionError::ClosedLocally, Heed::Answers, self.since),
        };
        let refused = heed == Heed::Refusal;
        let settlement = if refused {
            queue.on_disconnected(ConnectionEnd::Rejected)
        } else {
            let cause = match drained {
                true => Cause::Drained,
                false => Cause::ConnectionLost(reason.clone()),
            };
            queue.on_disconnected(ConnectionEnd::Lost {
                written: taken,
                cause: &cause,
            })
        };
        let Self {
            served,
            leaving,
            since,
            ..
        } = self;
        let lived = end.saturating_duration_since(since);
        Settled {
            reason,
            settlement,
            taken,
            refused,
            served,
            leaving,
            lived,
        }
    }
}

/// How a connection ended.
pub(super) struct Settled {
    pub(super) reason: ConnectionError,
    pub(super) settlement: DisconnectOutcome,
    pub(super) taken: u64,
    /// nsqd refused a publish, whose caller was told.
    pub(super) refused: bool,
    /// nsqd had answered `OK` at least once.
    pub(super) served: bool,
    /// It was to end.
    pub(super) leaving: bool,
    /// Until it began to end.
    pub(super) lived: Duration,
}
