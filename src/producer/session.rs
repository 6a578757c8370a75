//! The producer's use of one connection: what it sends, how it takes responses, and when nsqd is
//! considered stalled.

use std::time::{Duration, Instant};

use super::{
    failures::ReplyTo,
    queue::{ConnectionEnd, TransactionQueue},
};
use crate::{
    error::{Cause, ConnectionError},
    link::{Ended, FrameDisposition, Session},
    protocol::{Frame, ServerError, Topic},
};

pub(super) type Queue = TransactionQueue<ReplyTo>;

/// What the producer keeps for a connection.
pub(crate) struct Publishing {
    /// Body of the IDENTIFY that serves as a ping: it changes nothing, and nsqd responds `OK`.
    ping: Vec<u8>,
    /// When nsqd last responded, or the first command was sent with nothing in flight.
    progress: Instant,
}

impl Publishing {
    pub(super) fn new(ping: Vec<u8>, now: Instant) -> Self {
        Self {
            ping,
            progress: now,
        }
    }
}

impl Session<Publishing> {
    /// Sends everything that the in-flight limits allow, as one burst, unless it waits to be
    /// written with more.
    pub(super) fn hand_over(&mut self, queue: &mut Queue, now: Instant) {
        if self.is_closing() {
            return;
        }
        let is_idle = queue.oldest_end().is_none();
        if self.closes_when_idle() {
            if is_idle {
                self.abort(ConnectionError::ClosedLocally, now);
            }
            return;
        }
        if is_idle {
            self.state.progress = now;
        }
        if !queue.waits_for_larger_write() {
            while queue.next_command(&self.state.ping, &mut self.out, now) {}
        }
        self.flush();
    }

    /// Completes the oldest command in flight by a frame; returns an error response to a publish
    /// together with its topic.
    pub(super) fn on_frame(
        &mut self,
        frame: Frame,
        queue: &mut Queue,
        now: Instant,
    ) -> Option<(Topic, ServerError)> {
        match self.disposition() {
            FrameDisposition::Respond => {}
            FrameDisposition::AfterRejection => {
                self.set_disposition(FrameDisposition::Discard);
                return None;
            }
            FrameDisposition::Discard => return None,
        }
        let problem = match frame {
            Frame::Ok => match queue.on_ok(self.bytes_written(), now) {
                Ok(()) => {
                    self.set_served();
                    self.state.progress = now;
                    return None;
                }
                Err(problem) => problem.into(),
            },
            Frame::Error(error) if error.code().is_fatal() => {
                return self.on_error(error, queue, now);
            }
            other => format!("{other} is not a response to a publish"),
        };
        self.close(ConnectionError::UnexpectedResponse { problem }, now);
        self.set_disposition(FrameDisposition::Discard);
        None
    }

    /// Completes the oldest command by an error response, after which nsqd closes the connection.
    fn on_error(
        &mut self,
        error: ServerError,
        queue: &mut Queue,
        now: Instant,
    ) -> Option<(Topic, ServerError)> {
        let topic = queue.oldest_topic();
        let disposition = match queue.on_error(&error) {
            Ok(()) => FrameDisposition::AfterRejection,
            Err(_) => FrameDisposition::Discard,
        };
        let reason = if error.is_tls_required() {
            ConnectionError::TlsRequired(error.clone())
        } else {
            ConnectionError::Rejected(error.clone())
        };
        self.close(reason, now);
        self.set_disposition(disposition);
        topic.map(|topic| (topic, error))
    }

    /// When nsqd is considered stalled if it responds to nothing until then. While the oldest
    /// command is still being written it is checked more often, so that the time for the response
    /// begins soon after the last byte was written.
    pub(super) fn stall_deadline(&self, queue: &Queue, ack_timeout: Duration) -> Option<Instant> {
        if self.is_closing() {
            return None;
        }
        let is_being_written = queue.oldest_end()? > self.bytes_written();
        let after = if is_being_written {
            ack_timeout / 8
        } else {
            ack_timeout
        };
        Some(self.state.progress + after)
    }

    /// Closes the connection if commands are in flight and nsqd has responded to nothing for too
    /// long at `due`.
    pub(super) fn check_stall(
        &mut self,
        queue: &Queue,
        ack_timeout: Duration,
        due: Instant,
        now: Instant,
    ) {
        let deadline = self.stall_deadline(queue, ack_timeout);
        if deadline.is_none_or(|deadline| deadline > due) {
            return;
        }
        if queue
            .oldest_end()
            .is_some_and(|end| end > self.bytes_written())
        {
            // The writer enforces `write_timeout` for a command that is still being written.
            self.state.progress = now;
            return;
        }
        self.abort(ConnectionError::AckTimeout { after: ack_timeout }, now);
    }
}

impl Ended {
    /// Settles the publishes that were in flight on this connection.
    pub(super) fn settle(&self, queue: &mut Queue, is_drained: bool) {
        if self.is_rejected {
            return queue.on_disconnected(ConnectionEnd::Rejected);
        }
        let cause = if is_drained {
            Cause::Drained
        } else {
            Cause::ConnectionLost(self.reason.clone())
        };
        queue.on_disconnected(ConnectionEnd::Lost {
            written: self.bytes_written,
            cause: &cause,
        });
    }
}
