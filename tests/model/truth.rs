//! Compares every answer with what was on the wire and what nsqd has stored.

use actix_nsq::{Delivery, ErrorKind, PublishError, protocol::ErrorCode};
use tokio::time::Instant;

use super::{
    command::Verb,
    line::{Line, Refusal},
    publish::{Publish, Way},
    record,
    world::{GRANULARITY, TOPICS, World, ms},
};

impl World {
    /// A publish is answered.
    pub(crate) fn answered(&mut self, number: usize, answered: Result<(), PublishError>) {
        self.answered_at(number, answered, Instant::now());
    }

    fn answered_at(&mut self, number: usize, answered: Result<(), PublishError>, now: Instant) {
        self.note(|| format!("publish {number} is answered: {answered:?}"));
        let publish = &self.publishes[number];
        assert!(publish.answered.is_none(), "{number} is answered twice");
        for id in &publish.ids {
            self.record.answer(*id, &answered);
        }
        let late = now.saturating_duration_since(publish.deadline());
        assert!(late <= GRANULARITY, "{number} is answered {late:?} late");
        match &answered {
            Ok(()) => self.may_be_ok(number),
            Err(error) => self.may_fail(number, error),
        }
        if answered.as_ref().is_err_and(is_remembered) {
            self.count.add("a denied topic is remembered");
        }
        self.count.add(match &answered {
            Ok(()) => "answered Ok".into(),
            Err(error) => format!("answered {} {:?}", kind_name(error), error.delivery()),
        });
        self.publishes[number].answered = Some((now, answered));
        self.open.retain(|open| *open != number);
    }

    fn may_be_ok(&self, number: usize) {
        let publish = &self.publishes[number];
        assert_eq!(publish.refused, None, "{number} should be rejected");
        assert!(
            publish.confirmed.is_some(),
            "{number}: Ok, and no OK was read"
        );
        assert!(
            publish.copies.iter().all(|copies| *copies > 0),
            "{number}: Ok, and not stored"
        );
    }

    fn may_fail(&self, number: usize, error: &PublishError) {
        let now = Instant::now();
        let publish = &self.publishes[number];
        let (kind, delivery) = (error.kind(), error.delivery());
        let heard = publish.confirmed.filter(|heard| *heard < now);
        assert_eq!(heard, None, "{number}: its OK was read, and then {error:?}");
        if let Some(refused) = publish.refused {
            assert_eq!(
                (kind, delivery),
                (refused, Delivery::NotWritten),
                "{number}"
            );
            assert_eq!(now, publish.sent, "{number} is not rejected at once");
            return;
        }
        let unknown = match kind {
            // Answered at once, whatever follows.
            ErrorKind::Rejected(_) => self.may_be_stored_before(publish, now),
            _ => self.unrefused(publish).next().is_some(),
        };
        match delivery {
            Delivery::NotWritten => {
                assert!(
                    publish.copies.iter().all(|copies| *copies == 0),
                    "{number}: NotWritten, and stored"
                );
                assert!(!unknown, "{number}: NotWritten, and wholly sent");
            }
            maybe => {
                let batch = publish.verb == Verb::Mpub;
                assert_eq!(
                    maybe == Delivery::MaybePartial,
                    batch,
                    "{number}: {maybe:?}"
                );
            }
        }
        let maybe = delivery != Delivery::NotWritten;
        match kind {
            ErrorKind::Full => self.may_be_full(number, error),
            ErrorKind::Timeout => {
                assert!(now >= publish.deadline(), "{number} has time left");
                let usable = self
                    .lines
                    .iter()
                    .any(|line| line.opened.is_some() && line.gone.is_none_or(|gone| gone == now));
                assert!(
                    !maybe || unknown || usable,
                    "{number} cannot have been sent: {error:?}"
                );
            }
            ErrorKind::Rejected(code) => {
                let own = self.own_refusal(publish, code);
                let guessed = own && is_open(code);
                let others =
                    self.is_topic_rejection(publish, code) || self.is_foreseen(publish, code);
                assert!(own || others, "{number} was not rejected: {error:?}");
                if is_remembered(error) {
                    let heard = self.refusals().any(|refusal| {
                        is(refusal, code)
                            && refusal.topic == TOPICS[publish.topic]
                            && refusal.heard.is_some_and(|heard| now - heard <= ms(1_000))
                    });
                    assert!(heard && publish.written.is_empty(), "{number}: {error:?}");
                }
                assert_eq!(maybe, guessed || unknown, "{number}: {error:?}");
            }
            ErrorKind::ConnectionLost => {
                assert!(
                    unknown && maybe,
                    "{number} was not wholly sent, or was rejected: {error:?}"
                );
                assert!(
                    !self.setup.retry_maybe_written,
                    "{number} should be retried"
                );
            }
            ErrorKind::Drained => {
                assert!(self.stopping.is_draining(), "{number}: {error:?}");
                assert!(
                    !maybe || unknown || self.lines.iter().any(|line| line.opened.is_some()),
                    "{number}: {error:?}"
                );
            }
            _ => panic!("{number}: {error:?}"),
        }
    }

    /// The lines on which a publish was wholly written and may be stored.
    pub(crate) fn unrefused<'a>(&'a self, publish: &'a Publish) -> impl Iterator<Item = &'a Line> {
        self.lines_of(publish).filter(|line| !line.is_refused())
    }

    /// The same without the latest line, if it is rejected there now.
    fn may_be_stored_before(&self, publish: &Publish, now: Instant) -> bool {
        let latest = publish.written.last().map(|(place, _)| &self.lines[*place]);
        let refused_now = |line: &Line| {
            let refusal = line.refusal.as_ref();
            latest.is_some_and(|latest| std::ptr::eq(latest, line))
                && refusal.is_some_and(|refusal| refusal.heard == Some(now))
        };
        self.unrefused(publish).any(|line| !refused_now(line))
    }

    fn lines_of<'a>(&'a self, publish: &'a Publish) -> impl Iterator<Item = &'a Line> {
        publish.written.iter().map(|(place, _)| &self.lines[*place])
    }

    /// Whether the client has read this error for this very publish.
    fn own_refusal(&self, publish: &Publish, code: ErrorCode) -> bool {
        publish.written.iter().any(|(place, start)| {
            let refusal = self.lines[*place].refusal.as_ref();
            refusal.is_some_and(|refusal| {
                refusal.start == *start
                    && refusal.heard.is_some()
                    && is(refusal, code)
                    && !refusal.is_slow_upload()
                    // The members of a rejected automatic batch are retried.
                    && (!refusal.batched || is_open(code))
            })
        })
    }

    pub(crate) fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        let refusals = self.lines.iter().filter_map(|line| line.refusal.as_ref());
        refusals.filter(|refusal| refusal.heard.is_some())
    }

    /// Whether another publish was rejected for the same topic.
    fn is_topic_rejection(&self, publish: &Publish, code: ErrorCode) -> bool {
        matches!(code, ErrorCode::BadTopic | ErrorCode::Unauthorized)
            && self
                .refusals()
                .any(|refusal| is(refusal, code) && refusal.topic == TOPICS[publish.topic])
    }

    /// Whether it exceeds a limit that nsqd reported.
    fn is_foreseen(&self, publish: &Publish, code: ErrorCode) -> bool {
        let size = match code {
            ErrorCode::BadMessage => publish.longest,
            ErrorCode::BadBody if publish.verb == Verb::Mpub => publish.batch,
            _ => return false,
        };
        self.refusals()
            .any(|refusal| is(refusal, code) && refusal.limit().is_some_and(|limit| size > limit))
    }

    /// Checks that the queue can have been full.
    fn may_be_full(&self, number: usize, error: &PublishError) {
        let publish = &self.publishes[number];
        assert_eq!(error.delivery(), Delivery::NotWritten);
        assert!(publish.way != Way::Handle, "{number} would have waited");
        assert_eq!(
            Instant::now(),
            publish.sent,
            "{number} is not rejected at once"
        );
        let (mut count, mut bytes) = (1, publish.bytes);
        let is_earlier = |other: &usize| *other < number || self.may_overtake(*other, number);
        let earlier = (0..self.publishes.len()).filter(is_earlier);
        for other in earlier.map(|other| &self.publishes[other]) {
            let place = match &other.answered {
                None => other.confirmed.is_none_or(|at| at >= publish.sent),
                Some((at, Ok(()))) => *at == publish.sent,
                // It is held until its command has its response or the connection ends.
                Some((_, Err(error))) => {
                    error.kind() != ErrorKind::Full
                        && other.refused.is_none()
                        && self.may_hold_a_place(other)
                }
            };
            if place {
                count += 1;
                bytes += other.bytes;
            }
        }
        let room = count <= self.setup.max_pending && bytes <= self.setup.max_pending_bytes;
        assert!(
            !room,
            "{number} is rejected with {error:?}, with at most {count} and {bytes} bytes held"
        );
    }

    fn may_hold_a_place(&self, publish: &Publish) -> bool {
        let now = Instant::now();
        self.lines
            .iter()
            .any(|line| line.opened.is_some() && line.gone.is_none_or(|gone| gone == now))
            || publish.answered.as_ref().is_some_and(|(at, _)| *at == now)
    }

    /// nsqd has stored a message.
    pub(crate) fn stored(&mut self, topic: &str, body: &[u8]) {
        let id = record::read(topic, body).expect("a whole message, of this topic");
        let number = self.owners[id.publisher][id.number];
        self.record.found(topic, body);
        self.count.add("stored");
        let retry = self.setup.retry_maybe_written;
        let publish = &mut self.publishes[number];
        let place = publish
            .ids
            .iter()
            .position(|own| *own == id)
            .expect("its own message");
        publish.copies[place] += 1;
        let twice = publish.copies[place] > 1;
        let publish = &self.publishes[number];
        assert!(
            !twice || (retry && publish.written.len() > 1),
            "{number} is stored twice"
        );
        if twice {
            self.count.add("stored twice");
        }
        if let Some((_, Err(error))) = &publish.answered {
            assert!(
                error.delivery() != Delivery::NotWritten,
                "{number} is stored after {error:?}"
            );
        }
    }

    /// Checks that each answer comes in time.
    pub(crate) fn check_deadlines(&self) {
        let now = Instant::now();
        for number in &self.open {
            let publish = &self.publishes[*number];
            let late = now.saturating_duration_since(publish.deadline());
            let unheard = publish.way == Way::DoSend && publish.confirmed.is_some();
            assert!(
                unheard || late <= GRANULARITY,
                "{number} has no answer {late:?} after its deadline"
            );
        }
        for ask in &self.asks {
            let late = now.saturating_duration_since(ask.sent + ask.timeout);
            assert!(
                late <= GRANULARITY,
                "a ping or wait has no answer {late:?} after its deadline"
            );
        }
        // What exceeds the limits was answered already.
        let held = self
            .open
            .iter()
            .map(|number| &self.publishes[*number])
            .filter(|publish| {
                publish.way == Way::Send && publish.sent < now && publish.refused.is_none()
            });
        let (count, bytes) = held.fold((0, 0), |(count, bytes), publish| {
            (count + 1, bytes + publish.bytes)
        });
        assert!(
            count <= self.setup.max_pending && bytes <= self.setup.max_pending_bytes,
            "{count} publishes, {bytes} bytes are accepted"
        );
    }

    /// A publish by `do_send` that nsqd has confirmed and that was not reported as failed is `Ok`.
    pub(crate) fn see_successes(&mut self) {
        let now = Instant::now();
        for number in self.open.clone() {
            let publish = &self.publishes[number];
            if publish.way == Way::DoSend
                && let Some(heard) = publish.confirmed.filter(|heard| *heard < now)
            {
                self.answered_at(number, Ok(()), heard);
            }
        }
    }
}

fn is(refusal: &Refusal, code: ErrorCode) -> bool {
    let word = refusal.code();
    word == code.as_str() || (word == "E_SHINY" && code == ErrorCode::Unknown)
}

/// Whether something may be stored although it is rejected with this code.
fn is_open(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::MpubFailed | ErrorCode::Unknown)
}

pub(crate) fn kind_name(error: &PublishError) -> String {
    format!("{:?}", error.kind())
}

/// Whether it was rejected locally because nsqd denied its topic a moment ago.
pub(crate) fn is_remembered(error: &PublishError) -> bool {
    error.to_string().starts_with("nsqd denied this topic ")
}
