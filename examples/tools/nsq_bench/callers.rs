//! The callers: tasks that share the messages to be published, and each publish one at a time.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Instant,
};

use actix_nsq::{
    MultiPublish, Producer, Publish, PublishError, Topic,
    actix::{self, Addr},
};
use tokio::sync::{Notify, Semaphore};

use crate::{
    bodies::Bodies,
    meter::Meter,
    options::Options,
    pace::{Pacer, Schedule},
};

/// Callers that wait for the sign to begin.
pub(crate) struct Callers {
    work: Rc<Work>,
    count: usize,
    rate: Option<f64>,
}

/// What all callers have in common.
struct Work {
    messages: u64,
    bodies: Bodies,
    /// The number of the next message.
    next: Cell<u64>,
    /// When so many messages have failed, none are begun any more.
    patience: u64,
    schedule: Cell<Option<Schedule>>,
    pacer: Pacer,
    meter: RefCell<Meter>,
    /// Of the caller beside the others.
    beside: RefCell<Meter>,
    /// A permit for each caller, when all may begin.
    begin: Semaphore,
    /// Callers that have not ended.
    running: Cell<usize>,
    /// The time of the last answer so far.
    last: Cell<Instant>,
    ended: Notify,
}

/// One caller.
struct Caller {
    work: Rc<Work>,
    producer: Addr<Producer>,
    topic: Topic,
    mpub: Option<usize>,
}

impl Callers {
    /// Makes the tasks that will publish so many messages, all together. They begin with [`publish`](Self::publish).
    pub(crate) async fn new(
        options: &Options,
        producer: &Addr<Producer>,
        messages: u64,
        rate: Option<f64>,
    ) -> Result<Self, hdrhistogram::CreationError> {
        let count = options.concurrency;
        let work = Rc::new(Work {
            messages,
            bodies: options.bodies.clone(),
            next: Cell::new(0),
            patience: count as u64,
            schedule: Cell::new(None),
            pacer: Pacer::default(),
            meter: RefCell::new(Meter::new()?),
            beside: RefCell::new(Meter::new()?),
            begin: Semaphore::new(0),
            running: Cell::new(count),
            last: Cell::new(Instant::now()),
            ended: Notify::new(),
        });
        let caller = |topic: &Topic, mpub| Caller {
            work: work.clone(),
            producer: producer.clone(),
            topic: topic.clone(),
            mpub,
        };
        for topic in options.topics.iter().cycle().take(count) {
            actix::spawn(caller(topic, options.mpub).publish());
        }
        if let Some(topic) = &options.beside {
            actix::spawn(caller(topic, None).publish_beside());
        }
        Ok(Self { work, count, rate })
    }

    /// Gives the sign, and returns when everything is answered: what came of it, and of the caller beside the others.
    pub(crate) async fn publish(self) -> io::Result<(Meter, Meter)> {
        let Self { work, count, rate } = self;
        let began = Instant::now();
        work.last.set(began);
        work.schedule
            .set(rate.map(|rate| Schedule::new(began, rate)));
        work.begin.add_permits(count + 1);
        match rate {
            None => work.ended.notified().await,
            Some(_) => tokio::select! {
                () = work.ended.notified() => {}
                failed = work.pacer.ring() => match failed? {},
            },
        }
        let took = work.last.get() - began;
        let empty = || Meter::new().map_err(io::Error::other);
        let mut meter = work.meter.replace(empty()?);
        meter.end(took);
        Ok((meter, work.beside.replace(empty()?)))
    }
}

impl Caller {
    async fn publish(self) {
        let Self { work, .. } = &self;
        // It is closed by nobody.
        let _ = work.begin.acquire().await;
        let bell = Rc::new(Notify::new());
        let mut now = Instant::now();
        while let Some((first, count)) = work.take(self.mpub) {
            let mut from = now;
            if let Some(schedule) = work.schedule.get() {
                from = schedule.due(first);
                if from > now {
                    work.pacer.wait(from, &bell).await;
                }
            }
            let answer = self.send(first, count).await;
            now = Instant::now();
            let time = now.saturating_duration_since(from);
            work.meter.borrow_mut().answered(count, time, answer);
        }
        work.end(now);
    }

    /// Publishes as long as the others do.
    async fn publish_beside(self) {
        let Self { work, .. } = &self;
        let _ = work.begin.acquire().await;
        while work.running.get() > 0 {
            let sent = Instant::now();
            let answer = self.send(0, 1).await;
            work.beside.borrow_mut().answered(1, sent.elapsed(), answer);
        }
    }

    async fn send(&self, first: u64, count: u64) -> Result<(), PublishError> {
        let (topic, bodies) = (&self.topic, &self.work.bodies);
        match self.mpub {
            None => {
                let body = bodies.of(first);
                self.producer.send(Publish::new(topic, body)).await?
            }
            Some(_) => {
                let bodies = (first..first + count).map(|message| bodies.of(message));
                self.producer.send(MultiPublish::new(topic, bodies)).await?
            }
        }
    }
}

impl Work {
    /// The number of the next message, and how many go with it.
    fn take(&self, mpub: Option<usize>) -> Option<(u64, u64)> {
        let first = self.next.get();
        let count = (self.messages - first).min(mpub.unwrap_or(1) as u64);
        if count == 0 || self.meter.borrow().failed() >= self.patience {
            return None;
        }
        self.next.set(first + count);
        Some((first, count))
    }

    fn end(&self, now: Instant) {
        self.last.set(self.last.get().max(now));
        self.running.set(self.running.get() - 1);
        if self.running.get() == 0 {
            self.ended.notify_one();
        }
    }
}
