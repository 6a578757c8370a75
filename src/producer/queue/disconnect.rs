//! How a connection ends: by a refusal or without one, and what that means for the publishes in flight on it.

use std::{collections::VecDeque, mem};

use super::{
    TransactionQueue,
    limits::Usage,
    pending::{Pending, Reply},
};
use crate::{
    error::{Cause, Delivery, PublishError},
    protocol::{ErrorCode, ServerError},
};

/// How a connection ended, for the publishes that were in flight on it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ConnectionEnd<'a> {
    /// By an error frame: nsqd executes nothing behind the command that it refused.
    Rejected,
    /// Without one. `written` is the final count of bytes that its socket took.
    Lost { written: u64, cause: &'a Cause },
}

/// What the end of a connection meant for the publishes in flight on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DisconnectOutcome {
    /// Certainly not executed: they are handed over again. With `retry_maybe_written` also those that may be stored.
    pub(crate) requeued: usize,
    /// Perhaps stored.
    pub(crate) maybe_written: usize,
}

impl<R: Reply> TransactionQueue<R> {
    /// nsqd's error frame for the oldest command. It is the connection's last word: [`on_disconnected`](Self::on_disconnected) must follow.
    ///
    /// # Errors
    ///
    /// What is out of step: an error for no command answers nothing.
    pub(crate) fn on_error(&mut self, refusal: &ServerError) -> Result<(), &'static str> {
        let Some(window) = self.in_flight.front().copied() else {
            return Err("an error while no command is in flight");
        };
        if window.load.publishes == 0 {
            self.in_flight.pop_front();
            let cause = Cause::Rejected(refusal.clone());
            let error = PublishError::new(cause, Delivery::NotWritten);
            self.pings.answer_oldest(Err(error));
            return Ok(());
        }
        self.last_rejected = Some(window.topic_queue);
        // The upload was too slow for nsqd, which is not the fault of the message, and nothing is stored:
        // it stays in its place and is handed over again.
        if refusal.is_slow_upload() {
            return Ok(());
        }
        if refusal.named_limit().is_some() {
            self.server_limits
                .retain(|server_limits| server_limits.code() != refusal.code());
            self.server_limits.push(refusal.clone());
        }
        let Some(topic_queue) = self.topics.get_mut(window.topic_queue) else {
            return Ok(());
        };
        use ErrorCode::{BadTopic, DpubFailed, MpubFailed, PubFailed, Unauthorized, Unknown};
        let code = refusal.code();
        // A full disk refuses the next ones too, and of a batch it may store a part.
        if matches!(code, PubFailed | MpubFailed | DpubFailed) {
            (self.batching_suspended, topic_queue.batching_suspended) = (true, true);
        }
        // E_MPUB_FAILED can come after a part of the batch was stored, and what an unknown code means is unknown.
        let sure = !matches!(code, MpubFailed | Unknown);
        // Whatever else was accepted for the topic would cost a connection each.
        let on_topic = matches!(code, BadTopic | Unauthorized);
        // Whatever else was accepted at all would.
        let on_all = refusal.is_tls_required();
        if window.load.publishes > 1 && sure && !on_topic && !on_all {
            // Nothing of the batch is stored: its members are sent again one by one, and only the guilty one fails.
            let members = topic_queue.pending.iter_mut().take(window.load.publishes);
            members.for_each(|publish| publish.no_batch = true);
            return Ok(());
        }
        let topic = topic_queue
            .pending
            .front()
            .map(|publish| publish.topic.clone());
        let error = |publish: &Pending<R>| {
            let delivery = if sure {
                publish.not_written()
            } else {
                publish.maybe()
            };
            PublishError::new(Cause::Rejected(refusal.clone()), delivery)
        };
        self.answer_oldest(|publish| Err(error(publish)));
        if on_topic || on_all {
            self.sweep(|publish, _| {
                let concerned = on_all || Some(&publish.topic) == topic.as_ref();
                concerned.then(|| error(publish))
            });
        }
        Ok(())
    }

    /// Settles, once, what is in flight on a connection that can write no more.
    pub(crate) fn on_disconnected(&mut self, ending: ConnectionEnd<'_>) -> DisconnectOutcome {
        let mut outcome = DisconnectOutcome::default();
        let (written, cause) = match ending {
            ConnectionEnd::Rejected => (0, None),
            ConnectionEnd::Lost { written, cause } => {
                self.forget_server_limits();
                (written, Some(cause).filter(|_| !self.retry_maybe_written))
            }
        };
        // Back from the front of the lanes, the youngest command first.
        let mut topics = VecDeque::new();
        for window in mem::take(&mut self.in_flight).into_iter().rev() {
            let Some(topic_queue) = self.topics.get_mut(window.topic_queue) else {
                continue;
            };
            let publishes = window.load.publishes;
            if publishes == 0 {
                // A ping is in no lane.
                continue;
            }
            topic_queue.sent = topic_queue.sent.saturating_sub(publishes);
            let delivered = window.end <= written;
            let members = topic_queue
                .pending
                .iter_mut()
                .skip(topic_queue.sent)
                .take(publishes);
            for publish in members.filter(|publish| publish.reply.is_some()) {
                publish.maybe_written |= delivered;
                outcome.maybe_written += usize::from(delivered);
                outcome.requeued += usize::from(!delivered || self.retry_maybe_written);
            }
            topics.push_front(window.topic_queue);
        }
        self.in_flight_load = Usage::default();
        self.pings.rewind();
        // Empty places have no command left to wait for; what is unanswered stands where it stood.
        self.sweep(|publish, _| {
            let cause = cause.filter(|_| publish.maybe_written)?;
            Some(PublishError::new(cause.clone(), publish.maybe()))
        });
        self.topics.line_up(topics, self.last_rejected.take());
        outcome
    }
}
