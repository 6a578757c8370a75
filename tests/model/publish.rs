//! Callers and their publishes.

use std::{task::Context, time::Duration};

use actix_nsq::{
    AnyPublish, DeferredPublish, ErrorKind, MultiPublish, Publish as Pub, PublishError, Topic,
    bytes::Bytes,
};
use futures::future::{FutureExt, LocalBoxFuture};
use tokio::time::Instant;

use super::{
    batching::LARGE,
    command::Verb,
    record::Id,
    world::{TOPICS, World, ms},
};

pub(crate) type Answer = LocalBoxFuture<'static, Result<(), PublishError>>;

/// How a publish reaches the producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Send,
    Handle,
    DoSend,
}

/// A publish and what became of it.
pub(crate) struct Publish {
    pub(crate) verb: Verb,
    pub(crate) topic: usize,
    pub(crate) way: Way,
    pub(crate) delay: Option<u64>,
    pub(crate) ids: Vec<Id>,
    /// Size of the largest body, of all bodies, and of the MPUB body.
    pub(crate) longest: usize,
    pub(crate) bytes: usize,
    pub(crate) batch: usize,
    pub(crate) sent: Instant,
    pub(crate) turn: u64,
    pub(crate) timeout: Duration,
    /// The error with which it must be rejected at once.
    pub(crate) refused: Option<ErrorKind>,
    pub(crate) answer: Option<Answer>,
    pub(crate) answered: Option<(Instant, Result<(), PublishError>)>,
    pub(crate) cancelled: Option<Instant>,
    /// It was cancelled before it can have been written.
    pub(crate) never: bool,
    /// It was in an automatic batch that nsqd rejected without storing anything.
    pub(crate) alone: bool,
    /// The lines and positions at which it was wholly written.
    pub(crate) written: Vec<(usize, usize)>,
    /// When its `OK` was read.
    pub(crate) confirmed: Option<Instant>,
    /// How often each of its messages is stored.
    pub(crate) copies: Vec<u32>,
}

impl Publish {
    pub(crate) fn deadline(&self) -> Instant {
        self.sent + self.timeout
    }
}

/// A publish before it is sent.
struct Draft {
    verb: Verb,
    topic: usize,
    delay: Option<u64>,
    bodies: Vec<Bytes>,
    ids: Vec<Id>,
}

impl World {
    /// Publishes several messages, often to one topic, so that they can be batched.
    pub(crate) fn publish_some(&mut self) {
        if self.rng.bool() {
            return (0..self.rng.u32(1..5)).for_each(|_| self.publish());
        }
        let topic = self.draw_topic();
        (0..self.rng.u32(2..8)).for_each(|_| self.publish_to(topic, None));
    }

    /// Publishes what becomes one batch, if batching is on.
    pub(crate) fn publish_together(&mut self, topic: usize, sizes: &[usize]) {
        for size in sizes {
            self.publish_to(topic, Some(*size));
        }
    }

    /// Publishes something to a random topic.
    pub(crate) fn publish(&mut self) {
        let topic = self.draw_topic();
        self.publish_to(topic, None);
    }

    fn draw_topic(&mut self) -> usize {
        match self.rng.u32(0..20) {
            0 if self.hard_times => 0,
            1 if self.hard_times => 1,
            _ => self.rng.usize(2..TOPICS.len()),
        }
    }

    /// A single message where its size is given.
    fn publish_to(&mut self, topic: usize, size: Option<usize>) {
        let draft = self.draft(topic, size);
        let way = match self.rng.u32(0..10) {
            0..6 => Way::Send,
            6..8 => Way::Handle,
            _ => Way::DoSend,
        };
        // Only messages have their own timeout.
        let own = (way != Way::Handle && self.rng.u32(0..4) == 0).then(|| {
            ms([0, self.rng.u64(1..100), self.rng.u64(100..3000), 1_000_000][self.rng.usize(0..4)])
        });
        let timeout = own.map_or(self.setup.publish_timeout, |own| {
            own.min(self.setup.publish_timeout)
        });
        let refused = self.foresee(&draft);
        let Draft {
            verb,
            topic,
            delay,
            bodies,
            ids,
        } = draft;
        let bytes = bodies.iter().map(Bytes::len).sum();
        let publish = Publish {
            verb,
            topic,
            way,
            delay,
            longest: bodies.iter().map(Bytes::len).max().unwrap_or_default(),
            bytes,
            batch: 4 + 4 * bodies.len() + bytes,
            sent: Instant::now(),
            turn: self.turns,
            timeout,
            refused,
            answer: None,
            answered: None,
            cancelled: None,
            never: refused.is_some(),
            alone: false,
            written: Vec::new(),
            confirmed: None,
            copies: vec![0; ids.len()],
            ids,
        };
        let number = self.publishes.len();
        self.note(|| {
            let topic = TOPICS[topic];
            let how = format!("{verb:?} {topic} of {bytes} bytes by {way:?} within {timeout:?}");
            format!("publish {number}: {how}, {refused:?}")
        });
        for id in &publish.ids {
            assert_eq!(self.owners[id.publisher].len(), id.number);
            self.owners[id.publisher].push(number);
        }
        self.count.add(format!("published by {way:?}"));
        self.publishes.push(publish);
        self.open.push(number);
        let topic = Topic::new(TOPICS[topic]).expect("a good name");
        let answer = match verb {
            Verb::Pub => {
                let body = bodies.into_iter().next().expect("a body");
                match way {
                    Way::Handle => {
                        let handle = self.handle();
                        Some(async move { handle.publish(topic, body).await }.boxed_local())
                    }
                    _ => self.send(way, within(Pub::new(topic, body), own, Pub::expires_in)),
                }
            }
            Verb::Dpub => {
                let body = bodies.into_iter().next().expect("a body");
                let delay = ms(delay.expect("a delay"));
                match way {
                    Way::Handle => {
                        let handle = self.handle();
                        Some(
                            async move { handle.deferred_publish(topic, delay, body).await }
                                .boxed_local(),
                        )
                    }
                    _ => self.send(
                        way,
                        within(
                            DeferredPublish::new(topic, delay, body),
                            own,
                            DeferredPublish::expires_in,
                        ),
                    ),
                }
            }
            _ => match way {
                Way::Handle => {
                    let handle = self.handle();
                    Some(async move { handle.multi_publish(topic, bodies).await }.boxed_local())
                }
                _ => self.send(
                    way,
                    within(
                        MultiPublish::new(topic, bodies),
                        own,
                        MultiPublish::expires_in,
                    ),
                ),
            },
        };
        if let Some(mut answer) = answer {
            // The future of a handle sends when first polled.
            let at_once = (&mut answer).now_or_never();
            assert!(
                at_once.is_none(),
                "answered before the producer had its turn"
            );
            self.publishes[number].answer = Some(answer);
        }
    }

    fn send<M>(&self, way: Way, message: M) -> Option<Answer>
    where
        M: actix::Message<Result = Result<(), PublishError>> + Send + 'static,
        actix_nsq::Producer: actix::Handler<M>,
    {
        if way == Way::DoSend {
            self.address().do_send(message);
            return None;
        }
        let request = self.address().send(message);
        Some(async move { request.await? }.boxed_local())
    }

    fn draft(&mut self, topic: usize, size: Option<usize>) -> Draft {
        let verb = match self.rng.u32(0..10) {
            _ if size.is_some() => Verb::Pub,
            0..7 => Verb::Pub,
            7 => Verb::Dpub,
            _ => Verb::Mpub,
        };
        let count = match verb {
            Verb::Mpub => self.rng.usize(1..6) - usize::from(self.rng.u32(0..20) == 0),
            _ => 1,
        };
        let (mut ids, mut bodies) = (Vec::new(), Vec::new());
        for _ in 0..count {
            if size.is_none() && self.rng.u32(0..60) == 0 {
                bodies.push(Bytes::new());
                continue;
            }
            let size = size.unwrap_or_else(|| match self.rng.u32(0..20) {
                0 if self.setup.max_publish_size > LARGE => LARGE - 1 + self.rng.usize(0..3),
                0 => self.rng.usize(4000..6100),
                1 => self.rng.usize(300..2000),
                _ => self.rng.usize(20..100),
            });
            let (id, body) = self.record.offer(topic, size);
            ids.push(id);
            bodies.push(body);
        }
        let delay = (verb == Verb::Dpub).then(|| self.rng.u64(0..3_700_000));
        Draft {
            verb,
            topic,
            delay,
            bodies,
            ids,
        }
    }

    /// The error with which the producer must reject it at once, if any.
    fn foresee(&self, draft: &Draft) -> Option<ErrorKind> {
        let Draft {
            verb,
            delay,
            bodies,
            ..
        } = draft;
        if self.stopping.is_draining() {
            return Some(ErrorKind::Drained);
        }
        if delay.is_some_and(|delay| delay > 3_600_000) {
            return Some(ErrorKind::DelayTooLong);
        }
        if bodies.is_empty() {
            return Some(ErrorKind::EmptyBatch);
        }
        for body in bodies {
            if body.is_empty() {
                return Some(ErrorKind::EmptyBody);
            }
            if body.len() > self.setup.max_publish_size {
                return Some(ErrorKind::TooLarge);
            }
        }
        let size = 4 + bodies.iter().map(|body| 4 + body.len()).sum::<usize>();
        (*verb == Verb::Mpub && size > self.setup.max_batch_size).then_some(ErrorKind::TooLarge)
    }

    /// Cancels a publish.
    pub(crate) fn cancel(&mut self) {
        let waiting: Vec<usize> = self
            .open
            .iter()
            .copied()
            .filter(|place| self.publishes[*place].answer.is_some())
            .collect();
        if waiting.is_empty() || !self.callers_leave {
            return;
        }
        // The youngest is most likely not written yet.
        let youngest = self.rng.bool();
        let place = if youngest {
            waiting.len() - 1
        } else {
            self.rng.usize(0..waiting.len())
        };
        let number = waiting[place];
        let unhandled = self.publishes[number].turn == self.turns;
        // Without a connection since then it cannot have been written.
        let sent = self.publishes[number].sent;
        let unreachable = self
            .lines
            .iter()
            .all(|line| line.opened.is_none() || line.gone.is_some_and(|gone| gone < sent));
        let publish = &mut self.publishes[number];
        publish.answer = None;
        publish.cancelled = Some(Instant::now());
        publish.never |= unhandled || (unreachable && publish.written.is_empty());
        let never = publish.never;
        self.count.add(if never {
            "cancelled in time"
        } else {
            "cancelled"
        });
        self.note(|| format!("publish {number} is cancelled, {never}"));
        self.open.retain(|open| *open != number);
    }

    pub(crate) fn see_answers(&mut self, cx: &mut Context<'_>) {
        for number in self.open.clone() {
            let Some(answer) = &mut self.publishes[number].answer else {
                continue;
            };
            if let std::task::Poll::Ready(answered) = answer.as_mut().poll(cx) {
                self.publishes[number].answer = None;
                self.answered(number, answered);
            }
        }
        let mut asks = std::mem::take(&mut self.asks);
        asks.retain_mut(|ask| match ask.answer.as_mut().poll(cx) {
            std::task::Poll::Pending => true,
            std::task::Poll::Ready(answered) => {
                self.ask_answered(ask, answered);
                false
            }
        });
        self.asks = asks;
    }

    pub(crate) fn see_failures(&mut self) {
        for failed in self.failures.take() {
            let id = match failed.publish.bodies().iter().find(|body| !body.is_empty()) {
                Some(body) => super::record::read(
                    failed.publish.topic().expect("a valid name").as_str(),
                    body,
                ),
                None => None,
            };
            let verb = match failed.publish {
                AnyPublish::Publish(_) => Verb::Pub,
                AnyPublish::MultiPublish(_) => Verb::Mpub,
                AnyPublish::DeferredPublish(_) => Verb::Dpub,
                other => panic!("{other:?}"),
            };
            // Without a body to identify it: the oldest such publish.
            let number = match id {
                Some(id) => self.owners[id.publisher][id.number],
                None => *self
                    .open
                    .iter()
                    .find(|open| {
                        let publish = &self.publishes[**open];
                        publish.ids.is_empty() && publish.way == Way::DoSend
                    })
                    .expect("a publish without a body"),
            };
            assert_eq!(self.publishes[number].verb, verb);
            assert_eq!(self.publishes[number].way, Way::DoSend);
            self.count.add("PublishFailure");
            self.answered(number, Err(failed.error));
        }
    }
}

fn within<M>(message: M, own: Option<Duration>, timeout: fn(M, Duration) -> M) -> M {
    match own {
        Some(own) => timeout(message, own),
        None => message,
    }
}
