//! The delivery of the records to one destination, with many in flight: to an nsqd in the order of
//! the input, to a pool without an order.

use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use actix_nsq::Topic;
use futures::FutureExt;
use tokio::{
    sync::mpsc,
    time::{self, sleep_until},
};

use crate::{
    connection::Connection,
    destination::Destination,
    policy::{Next, OnFailure, Policy},
    read_ahead::ReadAhead,
    record::{Chunk, Failure, Record},
    report::Report,
    results::Results,
    stop::Stop,
};

/// Records that are sent to the producer and have no result, in multiples of `publish_window`. The
/// producer sends one window; another keeps it busy.
const WINDOWS: usize = 2;

/// Delay before a record is published again; it doubles up to the maximum until one succeeds.
const RETRY_DELAY: Duration = Duration::from_millis(100);
const MAX_RETRY_DELAY: Duration = Duration::from_secs(5);

/// The records for one destination, from the input to the result.
pub(crate) struct Delivery<'a> {
    connection: &'a Connection,
    topic: &'a Topic,
    policy: Policy,
    /// The address, if the outcome log names it.
    name: Option<&'a str>,
    report: &'a RefCell<Report>,
    stop: &'a Stop,
    read_ahead: ReadAhead,
    /// Records that were not yet sent to the producer.
    queued: VecDeque<Record>,
    /// Records that were sent to the producer, by their numbers, and their results.
    sent: BTreeMap<u64, Sent>,
    results: Results,
    /// Until then nothing is sent to the producer.
    paused_until: Option<time::Instant>,
    retry_delay: Duration,
}

struct Sent {
    record: Record,
    at: Instant,
}

impl<'a> Delivery<'a> {
    pub(crate) fn new(
        connection: &'a Connection,
        topic: &'a Topic,
        (destination, policy): (&Destination, Policy),
        name: Option<&'a str>,
        (report, stop): (&'a RefCell<Report>, &'a Stop),
    ) -> Self {
        let config = destination.limits();
        let (results, new_read_ahead): (_, fn(_, _, _) -> _) = match destination.is_pool() {
            true => (Results::as_they_come(), ReadAhead::of_pool),
            false => (Results::in_order(), ReadAhead::new),
        };
        let max = config.publish_window().saturating_mul(WINDOWS);
        let max_bytes = config.publish_window_bytes().saturating_mul(WINDOWS);
        let read_ahead = new_read_ahead(
            // A quarter leaves time for a line that becomes slower.
            config.ack_timeout() / 4,
            max.min(config.max_pending()),
            max_bytes.min(config.max_pending_bytes()),
        );
        Self {
            connection,
            topic,
            policy,
            name,
            report,
            stop,
            read_ahead,
            queued: VecDeque::new(),
            sent: BTreeMap::new(),
            results,
            paused_until: None,
            retry_delay: RETRY_DELAY,
        }
    }

    /// Publishes the chunks, and returns when the channel is closed and every record has a result.
    pub(crate) async fn run(mut self, mut chunks: mpsc::Receiver<Chunk>) {
        let mut open = true;
        loop {
            self.send();
            let resume = self.paused_until;
            tokio::select! {
                biased;
                Some((number, result)) = self.results.next() => {
                    self.completed(number, result).await;
                }
                () = resume_at(resume), if resume.is_some() => self.paused_until = None,
                chunk = chunks.recv(), if open && self.queued.is_empty() => match chunk {
                    Some(chunk) => self.queued.extend(chunk),
                    None => open = false,
                },
                else => return,
            }
        }
    }

    /// Sends queued records to the producer, up to the limit. The producer receives them in this
    /// order, when the results are polled for the first time.
    fn send(&mut self) {
        while self.paused_until.is_none()
            && let Some(record) = self.queued.front()
            && self.may_send(record.size())
            && let Some(record) = self.queued.pop_front()
        {
            self.read_ahead.send(record.size());
            let (publisher, topic) = (self.connection.publisher.clone(), self.topic.clone());
            let (number, body) = (record.number, record.body.clone());
            let result = async move {
                let result = match body {
                    Ok(body) => publisher
                        .publish(topic, body)
                        .await
                        .map_err(Failure::Publish),
                    Err(invalid) => Err(Failure::Invalid(invalid)),
                };
                (number, result)
            };
            self.results.push(result.boxed_local());
            let at = Instant::now();
            self.sent.insert(number, Sent { record, at });
        }
    }

    fn may_send(&self, size: usize) -> bool {
        // While nsqd is away, records that are to be skipped time out beside each other.
        let is_skipping = self.policy.on_failure == OnFailure::Skip && self.connection.is_down();
        self.read_ahead.allows(size) || is_skipping && self.read_ahead.allows_unscaled(size)
    }

    /// Handles the result of a record.
    async fn completed(&mut self, number: u64, result: Result<(), Failure>) {
        let Some(Sent { record, at }) = self.sent.remove(&number) else {
            return;
        };
        let next = match &result {
            Ok(()) => {
                self.read_ahead.answered(record.size(), at, Instant::now());
                self.retry_delay = RETRY_DELAY;
                Next::GoOn
            }
            Err(failure) => {
                self.read_ahead.release(record.size());
                self.policy.after(failure)
            }
        };
        if let (Next::Retry, Err(failure)) = (next, &result)
            && !self.stop.is_requested()
        {
            // Later attempts fail for the same reason.
            if self.retry_delay == RETRY_DELAY {
                self.report.borrow().retried(number, self.name, failure);
            }
            return self.retry(record);
        }
        self.report.borrow_mut().outcome(number, self.name, &result);
        if next == Next::Stop && !self.stop.is_requested() {
            self.report.borrow().stopped(number, self.name);
            self.stop.request();
            self.connection.publisher.stop().await;
        }
    }

    /// Queues a record again that was not written.
    ///
    /// At an nsqd those behind it were not written either: nsqd executes nothing behind a publish
    /// that it rejects, and the producer sends nothing before it. They are queued again, too, in
    /// their order; dropped requests are not sent any more. In a pool another nsqd may have them.
    fn retry(&mut self, record: Record) {
        if matches!(self.results, Results::InOrder(_)) {
            self.results = Results::in_order();
            while let Some((_, Sent { record, .. })) = self.sent.pop_last() {
                self.read_ahead.release(record.size());
                self.queued.push_front(record);
            }
        }
        self.queued.push_front(record);
        self.paused_until = Some(time::Instant::now() + self.retry_delay);
        self.retry_delay = (self.retry_delay * 2).min(MAX_RETRY_DELAY);
    }
}

async fn resume_at(time: Option<time::Instant>) {
    if let Some(time) = time {
        sleep_until(time).await;
    }
}
