//! The callers: tasks that share the messages and each publish one at a time.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_nsq::{
    AnyPublish, DeferredPublish, MultiPublish, ProducerHandle, Publish, PublishError, Topic,
    actix::{self, Handler, Message},
};
use tokio::sync::{Notify, Semaphore};

use crate::{
    bodies::Bodies,
    measurement::Measurement,
    options::Options,
    schedule::{Pacer, Schedule},
};

/// Callers that wait for the start.
pub(crate) struct Callers {
    work: Rc<Work>,
    count: usize,
    rate: Option<f64>,
}

/// State that all callers share.
struct Work {
    messages: u64,
    bodies: Bodies,
    /// Number of the next message.
    next: Cell<u64>,
    /// Number of failed messages after which the callers stop.
    max_failed: u64,
    schedule: Cell<Option<Schedule>>,
    pacer: Pacer,
    measurement: RefCell<Measurement>,
    /// Results of the caller of `--beside`.
    beside: RefCell<Measurement>,
    /// Gets a permit per caller at the start.
    start: Semaphore,
    /// Callers that have not finished.
    running: Cell<usize>,
    /// Time of the last result so far.
    last_result: Cell<Instant>,
    finished: Notify,
}

/// The actor that publishes: a producer or a pool.
pub(crate) trait Publisher:
    actix_nsq::Publisher + Handler<Publish> + Handler<MultiPublish> + Handler<DeferredPublish>
{
}

impl<A> Publisher for A where
    A: actix_nsq::Publisher + Handler<Publish> + Handler<MultiPublish> + Handler<DeferredPublish>
{
}

struct Caller<A: Publisher> {
    work: Rc<Work>,
    producer: ProducerHandle<A>,
    /// Publishes with the methods of the handle instead of the address of the actor.
    by_handle: bool,
    topic: Topic,
    mpub: Option<usize>,
    defer: Option<Duration>,
}

impl Callers {
    /// Spawns the tasks, which together publish this number of messages. They start with
    /// [`publish`](Self::publish).
    pub(crate) async fn new<A: Publisher>(
        options: &Options,
        producer: &ProducerHandle<A>,
        messages: u64,
        rate: Option<f64>,
    ) -> Result<Self, hdrhistogram::CreationError> {
        let count = options.concurrency;
        let work = Rc::new(Work {
            messages,
            bodies: options.bodies.clone(),
            next: Cell::new(0),
            max_failed: count as u64,
            schedule: Cell::new(None),
            pacer: Pacer::default(),
            measurement: RefCell::new(Measurement::new()?),
            beside: RefCell::new(Measurement::new()?),
            start: Semaphore::new(0),
            running: Cell::new(count),
            last_result: Cell::new(Instant::now()),
            finished: Notify::new(),
        });
        let caller = |topic: &Topic, mpub, defer| Caller {
            work: work.clone(),
            producer: producer.clone(),
            by_handle: options.handle,
            topic: topic.clone(),
            mpub,
            defer,
        };
        for topic in options.topics.iter().cycle().take(count) {
            actix::spawn(caller(topic, options.mpub, options.defer).publish());
        }
        if let Some(topic) = &options.beside {
            actix::spawn(caller(topic, None, None).publish_beside());
        }
        Ok(Self { work, count, rate })
    }

    /// Starts the callers, and returns when every message has a result: the measurement of the
    /// callers, and that of the caller of `--beside`.
    pub(crate) async fn publish(self) -> io::Result<(Measurement, Measurement)> {
        let Self { work, count, rate } = self;
        let started = Instant::now();
        work.last_result.set(started);
        work.schedule
            .set(rate.map(|rate| Schedule::new(started, rate)));
        work.start.add_permits(count + 1);
        match rate {
            None => work.finished.notified().await,
            Some(_) => tokio::select! {
                () = work.finished.notified() => {}
                error = work.pacer.run() => match error? {},
            },
        }
        let duration = work.last_result.get() - started;
        let empty = || Measurement::new().map_err(io::Error::other);
        let mut measurement = work.measurement.replace(empty()?);
        measurement.finish(duration);
        Ok((measurement, work.beside.replace(empty()?)))
    }
}

impl<A: Publisher> Caller<A> {
    async fn publish(self) {
        let Self { work, .. } = &self;
        // Cannot fail: the semaphore is never closed.
        let _ = work.start.acquire().await;
        let notify = Rc::new(Notify::new());
        let mut now = Instant::now();
        while let Some((first, count)) = work.take(self.mpub) {
            let mut from = now;
            if let Some(schedule) = work.schedule.get() {
                from = schedule.due(first);
                if from > now {
                    work.pacer.wait(from, &notify).await;
                }
            }
            let result = self.send(first, count).await;
            now = Instant::now();
            let latency = now.saturating_duration_since(from);
            work.measurement.borrow_mut().record(count, latency, result);
        }
        work.caller_finished(now);
    }

    /// Publishes until the other callers have finished.
    async fn publish_beside(self) {
        let Self { work, .. } = &self;
        let _ = work.start.acquire().await;
        while work.running.get() > 0 {
            let sent = Instant::now();
            let result = self.send(0, 1).await;
            work.beside.borrow_mut().record(1, sent.elapsed(), result);
        }
    }

    async fn send(&self, first: u64, count: u64) -> Result<(), PublishError> {
        let (topic, bodies) = (&self.topic, &self.work.bodies);
        match (self.mpub, self.defer) {
            (None, None) => {
                let body = bodies.of(first);
                self.pass_on(Publish::new(topic, body)).await
            }
            (None, Some(delay)) => {
                let body = bodies.of(first);
                self.pass_on(DeferredPublish::new(topic, delay, body)).await
            }
            (Some(_), _) => {
                let bodies = (first..first + count).map(|message| bodies.of(message));
                self.pass_on(MultiPublish::new(topic, bodies)).await
            }
        }
    }

    async fn pass_on<M>(&self, message: M) -> Result<(), PublishError>
    where
        M: Message<Result = Result<(), PublishError>> + Into<AnyPublish> + Send + 'static,
        A: Handler<M>,
    {
        if self.by_handle {
            self.producer.publish_message(message).await
        } else {
            self.producer.address().send(message).await?
        }
    }
}

impl Work {
    /// Takes the messages of the next command: the number of the first, and their count.
    fn take(&self, mpub: Option<usize>) -> Option<(u64, u64)> {
        let first = self.next.get();
        let count = (self.messages - first).min(mpub.unwrap_or(1) as u64);
        if count == 0 || self.measurement.borrow().failed() >= self.max_failed {
            return None;
        }
        self.next.set(first + count);
        Some((first, count))
    }

    fn caller_finished(&self, now: Instant) {
        self.last_result.set(self.last_result.get().max(now));
        self.running.set(self.running.get() - 1);
        if self.running.get() == 0 {
            self.finished.notify_one();
        }
    }
}
