//! A lane: publishes the records to one nsqd, in their order, with many publishes in flight.

use std::{
    cell::RefCell, collections::VecDeque, future::poll_fn, pin::Pin, task::Poll, time::Duration,
};

use actix_nsq::{
    ErrorKind, Producer, ProducerConfig, Publish, PublishError, Topic,
    actix::{Addr, dev::Request},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::{
    input::{Chunk, Record},
    report::Report,
};

/// So many windows' worth of publishes are given to the producer. It sends one window's worth; more than a few waiting
/// behind that make nothing faster, and would time out where nsqd is slow.
const WINDOWS: usize = 4;

/// When the producer's queue is full all the same, it is tried again after so long.
const PAUSE: Duration = Duration::from_millis(10);

/// One nsqd's share of the work.
pub(crate) struct Lane<'a> {
    producer: Addr<Producer>,
    topic: &'a Topic,
    /// The address, if outcomes must be told apart by it.
    name: Option<&'a str>,
    report: &'a RefCell<Report>,
    most: usize,
    most_bytes: usize,
    /// Read, and not given to the producer.
    waiting: VecDeque<Record>,
    /// Given to the producer, the oldest first.
    sent: VecDeque<Sent>,
    sent_bytes: usize,
    /// Nothing is given to the producer until then.
    paused: Option<Instant>,
}

struct Sent {
    record: Record,
    answer: Pin<Box<Request<Producer, Publish>>>,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(
        producer: Addr<Producer>,
        topic: &'a Topic,
        config: &ProducerConfig,
        name: Option<&'a str>,
        report: &'a RefCell<Report>,
    ) -> Self {
        let most = config.publish_window().saturating_mul(WINDOWS);
        let most_bytes = config.publish_window_bytes().saturating_mul(WINDOWS);
        Self {
            producer,
            topic,
            name,
            report,
            most: most.min(config.max_pending()),
            most_bytes: most_bytes.min(config.max_pending_bytes()),
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            sent_bytes: 0,
            paused: None,
        }
    }

    /// Publishes all that comes, and returns when no more comes and everything is answered.
    pub(crate) async fn run(mut self, mut chunks: mpsc::Receiver<Chunk>) {
        let mut open = true;
        loop {
            self.publish();
            let resume = self.paused;
            tokio::select! {
                biased;
                () = self.answers(), if !self.sent.is_empty() => {}
                () = resume_at(resume), if resume.is_some() => self.paused = None,
                chunk = chunks.recv(), if open && self.waiting.is_empty() => match chunk {
                    Some(chunk) => self.waiting.extend(chunk),
                    None => open = false,
                },
                else => return,
            }
        }
    }

    /// Gives the producer what it has room for.
    fn publish(&mut self) {
        while self.paused.is_none()
            && let Some(record) = self.waiting.front()
            && self.has_room(record.body.len())
            && let Some(record) = self.waiting.pop_front()
        {
            self.sent_bytes += record.body.len();
            let publish = Publish::new(self.topic, record.body.clone());
            let answer = Box::pin(self.producer.send(publish));
            self.sent.push_back(Sent { record, answer });
        }
    }

    fn has_room(&self, size: usize) -> bool {
        self.sent.is_empty()
            || self.sent.len() < self.most
                && self.sent_bytes.saturating_add(size) <= self.most_bytes
    }

    /// Waits for the oldest answer, and takes it with all others that are there. Answers come mostly in order, so
    /// waiting for the oldest is enough.
    async fn answers(&mut self) {
        poll_fn(|cx| {
            let mut taken = Poll::Pending;
            while let Some(oldest) = self.sent.front_mut()
                && let Poll::Ready(answer) = oldest.answer.as_mut().poll(cx)
                && let Some(Sent { record, .. }) = self.sent.pop_front()
            {
                self.sent_bytes -= record.body.len();
                self.answered(record, answer.unwrap_or_else(|gone| Err(gone.into())));
                taken = Poll::Ready(());
            }
            taken
        })
        .await;
    }

    fn answered(&mut self, record: Record, answer: Result<(), PublishError>) {
        match answer {
            Err(error) if error.kind() == ErrorKind::Full => self.try_again(record),
            answer => self
                .report
                .borrow_mut()
                .outcome(record.number, self.name, answer),
        }
    }

    /// Puts a record that the producer had no room for back in its place.
    fn try_again(&mut self, record: Record) {
        let place = self
            .waiting
            .partition_point(|waiting| waiting.number < record.number);
        self.waiting.insert(place, record);
        self.paused = Some(Instant::now() + PAUSE);
    }
}

async fn resume_at(time: Option<Instant>) {
    if let Some(time) = time {
        sleep_until(time).await;
    }
}
