//! Drains, and the end of the producer.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use actix_nsq::{
    Delivery, ErrorKind, Reconnect, producer::Drain, producer::DrainReport, protocol::ErrorCode,
};
use futures::future::{FutureExt, LocalBoxFuture};
use tokio::time::Instant;

use super::{
    path::At,
    publish::Way,
    world::{GRANULARITY, Mood, Reach, World, ms},
};

#[derive(Default)]
pub(crate) struct Stopping {
    drain: Option<Draining>,
    answers: Vec<LocalBoxFuture<'static, DrainReport>>,
    /// When nothing was outstanding.
    idle: Option<Instant>,
}

struct Draining {
    deadline: Instant,
    /// The publishes outstanding when it began, and the number of cancelled ones.
    outstanding: Vec<usize>,
    unsure: u64,
    report: Option<DrainReport>,
    checked: bool,
}

impl Stopping {
    pub(crate) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    fn report(&self) -> Option<DrainReport> {
        self.drain.as_ref()?.report
    }
}

impl World {
    /// Drains; of several drains the earliest deadline counts.
    pub(crate) async fn drain(&mut self) {
        let deadline =
            ms([0, self.rng.u64(1..50), self.rng.u64(50..3000), 3_600_000][self.rng.usize(0..4)]);
        self.drain_within(deadline).await;
    }

    async fn drain_within(&mut self, deadline: Duration) {
        self.settle_down().await;
        self.note(|| format!("drain within {deadline:?}"));
        let request = self.address().send(Drain { timeout: deadline });
        if self.rng.u32(0..10) == 0 {
            drop(request);
            self.count.add("a drain was dropped before it began");
            return;
        }
        let until = Instant::now() + deadline;
        match &mut self.stopping.drain {
            Some(drain) => {
                drain.deadline = drain.deadline.min(until);
                self.count.add("drained again");
            }
            None => {
                let unresolved = |number: &usize| self.publishes[*number].confirmed.is_none();
                let outstanding: Vec<_> = self.open.iter().copied().filter(unresolved).collect();
                let gone = (0..self.publishes.len())
                    .filter(|number| self.publishes[*number].cancelled.is_some());
                let unsure = gone.filter(unresolved).count() as u64;
                self.stopping.drain = Some(Draining {
                    deadline: until,
                    outstanding,
                    unsure,
                    report: None,
                    checked: false,
                });
            }
        }
        let answer = async move { request.await.expect("the producer runs") };
        self.stopping.answers.push(answer.boxed_local());
        self.settle_down().await;
        if self.rng.u32(0..10) == 0 && self.stopping.report().is_none() {
            // It continues without its caller.
            self.stopping.answers.pop();
        }
    }

    pub(crate) fn see_the_end_of_a_drain(&mut self, cx: &mut Context<'_>) {
        let mut answers = std::mem::take(&mut self.stopping.answers);
        answers.retain_mut(|answer| {
            let Poll::Ready(report) = answer.as_mut().poll(cx) else {
                return true;
            };
            let network = self.network.lock();
            assert_eq!(network.open(), 0, "drained, with a socket");
            assert!(
                !network.dials.iter().any(|dial| dial.is_waiting()),
                "drained, and connecting"
            );
            drop(network);
            let drain = self.stopping.drain.as_mut().expect("a drain");
            let late = Instant::now().saturating_duration_since(drain.deadline);
            let over = drain.report.is_some() || self.path.report.is_some();
            assert!(over || late <= GRANULARITY, "drained {late:?} late");
            assert!(
                drain.report.is_none_or(|before| before == report),
                "two drains have one end"
            );
            drain.report = Some(report);
            self.note(|| format!("{report:?}"));
            false
        });
        self.stopping.answers = answers;
    }

    /// While idle: a drain that ended has a true report, and one that can end has ended.
    pub(crate) fn check_stopping(&mut self) {
        if self.path.report.is_some() {
            let own = self.stopping.report();
            assert!(
                own.is_none() || own == self.path.report,
                "the event's report"
            );
        }
        let Some(drain) = &mut self.stopping.drain else {
            return;
        };
        if let Some(report) = drain.report.or(self.path.report).filter(|_| !drain.checked) {
            drain.checked = true;
            assert_eq!(self.path.at, At::Drained);
            let mut counts = [0; 4];
            for number in &drain.outstanding {
                let publish = &self.publishes[*number];
                let outcome = match &publish.answered {
                    Some((_, Ok(()))) => 0,
                    Some((_, Err(error))) => match error.delivery() {
                        Delivery::NotWritten => 1,
                        Delivery::MaybeWritten => 2,
                        Delivery::MaybePartial => 3,
                    },
                    None if publish.way == Way::DoSend && publish.confirmed.is_some() => 0,
                    None if publish.cancelled.is_some() => {
                        drain.unsure += 1;
                        continue;
                    }
                    None => panic!("{number} has no answer, although the drain has ended"),
                };
                counts[outcome] += 1;
            }
            let answered = [
                report.ok,
                report.not_written,
                report.maybe_written,
                report.maybe_partial,
            ];
            for (answered, count) in answered.into_iter().zip(counts) {
                let right = count <= answered && answered <= count + drain.unsure;
                assert!(right, "{report:?}: {counts:?}, {} unsure", drain.unsure);
            }
            self.count.add(if report.is_clean() {
                "a clean drain"
            } else {
                "a drain that was not clean"
            });
        }
        if drain.report.is_none() && self.path.report.is_none() {
            let late = Instant::now().saturating_duration_since(drain.deadline);
            assert!(
                late <= GRANULARITY,
                "the drain continues {late:?} after its deadline"
            );
            let busy = !self.open.is_empty()
                || !self.asks.is_empty()
                || drain.unsure > 0
                || self.callers_leave;
            if busy {
                self.stopping.idle = None;
                return;
            }
            let idle = *self.stopping.idle.get_or_insert_with(Instant::now);
            let idle = Instant::now().saturating_duration_since(idle);
            assert!(
                idle <= ms(5),
                "the drain continues although nothing is outstanding"
            );
        }
    }

    /// nsqd is well: publishes are stored in time.
    async fn heal(&mut self) {
        self.count.add("healed");
        self.note(|| "nsqd is well".into());
        self.healed = true;
        self.mood = Mood::Prompt;
        self.reach = Reach::Good;
        self.hard_times = false;
        (self.nsqd.trouble, self.nsqd.grudge) = (0, None);
        self.nsqd.strict = false;
        (self.nsqd.max_msg_size, self.nsqd.max_body_size) = (1 << 20, 5 << 20);
        for wire in &mut self.network.lock().wires {
            wire.room = wire.room.max(64 << 10);
            wire.wake();
        }
        let first = self.publishes.len();
        for _ in 0..self.rng.u32(1..5) {
            self.publish();
        }
        let setup = &self.setup;
        let time = ms(1100) + setup.dial_timeout.max(setup.handshake_timeout) + setup.max_backoff;
        self.run(time).await;
        for number in first..self.publishes.len() {
            let publish = &self.publishes[number];
            let well = match &publish.answered {
                Some((_, Ok(()))) => true,
                // Full, out of time, or invalid.
                Some((_, Err(error))) => {
                    publish.refused.is_some()
                        || matches!(
                            error.kind(),
                            ErrorKind::Rejected(ErrorCode::BadMessage | ErrorCode::BadBody)
                        )
                        || publish.timeout < time
                        || self.setup.max_pending < 100
                }
                None => publish.cancelled.is_some(),
            };
            assert!(
                well,
                "{number} is not stored, although nsqd is well: {:?}",
                publish.answered
            );
        }
    }

    /// Ends the producer in one of several ways; afterwards nothing is left.
    pub(crate) async fn end(&mut self) {
        let mut first = 0;
        if self.path.at == At::Idle {
            first = 2;
        } else if self.rng.u32(0..4) == 0 {
            // No further connect is answered.
            self.reach = Reach::Hanging;
            self.address().do_send(Reconnect);
            self.reconnect = Some(Instant::now());
            self.settle_down().await;
            first = 2;
        }
        match self.rng.u32(first..4) {
            0 => {
                self.heal().await;
                self.look().await;
            }
            1 => {
                self.heal().await;
                self.drain().await;
            }
            2 => self.drain().await,
            _ => {}
        }
        if self.rng.bool() && self.stopping.is_draining() {
            let time = ms(self.rng.u64(0..10_000));
            self.run(time).await;
            self.publish();
            self.look().await;
        }
        self.settle_down().await;
        self.note(|| "the last address is dropped".into());
        self.handle = None;
        let publishes = self.publishes.iter().map(|publish| publish.deadline());
        let asks = self.asks.iter().map(|ask| ask.sent + ask.timeout);
        let last = publishes
            .chain(asks)
            .max()
            .unwrap_or(self.began)
            .max(Instant::now());
        while !self.failures.is_over() {
            assert!(
                Instant::now() <= last + ms(100),
                "the producer does not end"
            );
            let time = ms(self.rng.u64(1..400));
            self.run(time).await;
        }
        self.run(ms(2)).await;
        self.count.add(format!("ended: {}", self.path.at.name()));
        assert_eq!(self.open, [0; 0], "publishes without an answer");
        assert!(self.asks.is_empty() && self.events.is_over());
        let network = self.network.lock();
        assert_eq!(network.open(), 0, "ended, with a socket");
        assert!(
            !network.dials.iter().any(|dial| dial.is_waiting()),
            "ended, and connecting"
        );
        drop(network);
        self.last_execution();
    }

    /// Bytes that the sockets took may still be executed.
    fn last_execution(&mut self) {
        for place in 0..self.lines.len() {
            self.ghost_works(place, usize::MAX);
        }
        let audit = std::mem::take(&mut self.record).finish();
        let kept = |id: &super::record::Id| {
            self.publishes[self.owners[id.publisher][id.number]]
                .cancelled
                .is_none()
        };
        assert!(!audit.unanswered.iter().any(kept), "{audit}");
        assert!(
            audit.duplicate.is_empty() || self.setup.retry_maybe_written,
            "{audit}"
        );
        let others = [&audit.lost, &audit.misattributed, &audit.answered_twice];
        assert!(
            others.iter().all(|ids| ids.is_empty()) && audit.corrupt.is_empty(),
            "{audit}"
        );
    }
}
