//! Publishes the records to one nsqd, in the order of the input, with many publishes in flight.

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

/// Outstanding publishes, in multiples of `publish_window`. The producer sends one window; a few
/// more keep it busy, and many more would time out if nsqd is slow.
const WINDOWS: usize = 4;

/// Delay before the next attempt after `Full`.
const RETRY_DELAY: Duration = Duration::from_millis(10);

/// Publishes to one nsqd.
pub(crate) struct Publisher<'a> {
    producer: Addr<Producer>,
    topic: &'a Topic,
    /// The address, if the outcome log names it.
    name: Option<&'a str>,
    report: &'a RefCell<Report>,
    max_outstanding: usize,
    max_outstanding_bytes: usize,
    /// Records that were not yet sent to the producer.
    queued: VecDeque<Record>,
    /// Records that were sent to the producer, the oldest first.
    outstanding: VecDeque<Outstanding>,
    outstanding_bytes: usize,
    /// Until then nothing is sent to the producer.
    paused_until: Option<Instant>,
}

struct Outstanding {
    record: Record,
    result: Pin<Box<Request<Producer, Publish>>>,
}

impl<'a> Publisher<'a> {
    pub(crate) fn new(
        producer: Addr<Producer>,
        topic: &'a Topic,
        config: &ProducerConfig,
        name: Option<&'a str>,
        report: &'a RefCell<Report>,
    ) -> Self {
        let max = config.publish_window().saturating_mul(WINDOWS);
        let max_bytes = config.publish_window_bytes().saturating_mul(WINDOWS);
        Self {
            producer,
            topic,
            name,
            report,
            max_outstanding: max.min(config.max_pending()),
            max_outstanding_bytes: max_bytes.min(config.max_pending_bytes()),
            queued: VecDeque::new(),
            outstanding: VecDeque::new(),
            outstanding_bytes: 0,
            paused_until: None,
        }
    }

    /// Publishes the chunks, and returns when the channel is closed and every publish has a result.
    pub(crate) async fn run(mut self, mut chunks: mpsc::Receiver<Chunk>) {
        let mut open = true;
        loop {
            self.publish();
            let resume = self.paused_until;
            tokio::select! {
                biased;
                () = self.results(), if !self.outstanding.is_empty() => {}
                () = resume_at(resume), if resume.is_some() => self.paused_until = None,
                chunk = chunks.recv(), if open && self.queued.is_empty() => match chunk {
                    Some(chunk) => self.queued.extend(chunk),
                    None => open = false,
                },
                else => return,
            }
        }
    }

    /// Sends queued records to the producer, up to the limits.
    fn publish(&mut self) {
        while self.paused_until.is_none()
            && let Some(record) = self.queued.front()
            && self.may_send(record.body.len())
            && let Some(record) = self.queued.pop_front()
        {
            self.outstanding_bytes += record.body.len();
            let publish = Publish::new(self.topic, record.body.clone());
            let result = Box::pin(self.producer.send(publish));
            self.outstanding.push_back(Outstanding { record, result });
        }
    }

    fn may_send(&self, size: usize) -> bool {
        self.outstanding.is_empty()
            || self.outstanding.len() < self.max_outstanding
                && self.outstanding_bytes.saturating_add(size) <= self.max_outstanding_bytes
    }

    /// Waits for the result of the oldest publish, and handles all results up to the next missing
    /// one. Results arrive mostly in order.
    async fn results(&mut self) {
        poll_fn(|cx| {
            let mut progress = Poll::Pending;
            while let Some(oldest) = self.outstanding.front_mut()
                && let Poll::Ready(result) = oldest.result.as_mut().poll(cx)
                && let Some(Outstanding { record, .. }) = self.outstanding.pop_front()
            {
                self.outstanding_bytes -= record.body.len();
                self.completed(record, result.unwrap_or_else(|error| Err(error.into())));
                progress = Poll::Ready(());
            }
            progress
        })
        .await;
    }

    fn completed(&mut self, record: Record, result: Result<(), PublishError>) {
        match result {
            Err(error) if error.kind() == ErrorKind::Full => self.retry(record),
            result => self
                .report
                .borrow_mut()
                .outcome(record.number, self.name, result),
        }
    }

    /// Requeues a record that the producer rejected as `Full`, in the order of the input.
    fn retry(&mut self, record: Record) {
        let index = self
            .queued
            .partition_point(|queued| queued.number < record.number);
        self.queued.insert(index, record);
        self.paused_until = Some(Instant::now() + RETRY_DELAY);
    }
}

async fn resume_at(time: Option<Instant>) {
    if let Some(time) = time {
        sleep_until(time).await;
    }
}
