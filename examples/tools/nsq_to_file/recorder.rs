//! Writes the messages of one topic, and finishes those that are durable.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use actix_nsq::{ConsumerHandle, IncomingMessage, MessageStream, Requeue};
use futures::FutureExt;
use log::warn;
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval_at, sleep_until},
};

use crate::{file_error::FileError, log_file::LogFile};

/// Maximum number of messages that are written together.
const BURST: usize = 256;

/// What all recorders are to do.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Orders {
    /// Number of times that the file is to be closed; the next message opens another one.
    pub(crate) hangups: u64,
    /// Whether the program ends.
    pub(crate) ends: bool,
}

/// When messages are synced and finished.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SyncPolicy {
    pub(crate) interval: Duration,
    /// Maximum number of messages that are not synced: more do not arrive.
    pub(crate) max_unsynced: usize,
}

/// The messages of a topic, and its files.
#[derive(Debug)]
pub(crate) struct Recorder {
    consumer: ConsumerHandle,
    messages: MessageStream,
    /// Locked by the thread that writes.
    file: Arc<Mutex<LogFile>>,
    policy: SyncPolicy,
    /// Messages that are written, but not durable.
    unsynced: Vec<IncomingMessage>,
    /// When they are synced, so that none expires before it is finished.
    sync_by: Option<Instant>,
}

/// A recorder that has ended. The stream is kept until the consumers are drained: dropping it
/// would pause the consumer, with a warning.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) result: Result<(), FileError>,
    pub(crate) _messages: MessageStream,
}

impl Recorder {
    pub(crate) fn new(
        (consumer, messages): (ConsumerHandle, MessageStream),
        file: LogFile,
        policy: SyncPolicy,
    ) -> Self {
        Self {
            consumer,
            messages,
            file: Arc::new(Mutex::new(file)),
            policy,
            unsynced: Vec::new(),
            sync_by: None,
        }
    }

    /// Writes messages until the program ends, or a file cannot be written. Then the messages that
    /// are not durable are requeued.
    pub(crate) async fn run(mut self, orders: watch::Receiver<Orders>) -> Recorded {
        let result = self.record(orders).await;
        for message in self.unsynced.drain(..) {
            // Without effect only if it has expired: then it comes again, too.
            let _ = message.requeue(Requeue::now().without_backoff());
        }
        Recorded {
            result,
            _messages: self.messages,
        }
    }

    async fn record(&mut self, mut orders: watch::Receiver<Orders>) -> Result<(), FileError> {
        let period = self.policy.interval;
        let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let sync_by = self.sync_by;
            tokio::select! {
                biased;
                changed = orders.changed() => {
                    self.on_disk(LogFile::close).await?;
                    self.finish();
                    if changed.is_err() || orders.borrow().ends {
                        return Ok(());
                    }
                }
                _ = ticks.tick() => {
                    self.on_disk(LogFile::tick).await?;
                    self.finish();
                }
                () = sleep_until(sync_by.unwrap_or_else(Instant::now).into()),
                    if sync_by.is_some() =>
                {
                    self.on_disk(LogFile::sync).await?;
                    self.finish();
                }
                first = self.messages.next() => match first {
                    Some(first) => self.write(first).await?,
                    // The consumer has ended: so does the program.
                    None => {
                        self.on_disk(LogFile::close).await?;
                        self.finish();
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Writes the message and those that have arrived behind it. Syncs them if hardly any more
    /// would arrive before these are finished.
    async fn write(&mut self, first: IncomingMessage) -> Result<(), FileError> {
        let before = self.unsynced.len();
        let max = BURST.min(self.policy.max_unsynced.saturating_sub(before));
        self.push(first);
        while self.unsynced.len() - before < max
            && let Some(Some(next)) = self.messages.next().now_or_never()
        {
            self.push(next);
        }
        let is_full = self.unsynced.len() >= self.policy.max_unsynced;
        let sync = is_full || self.consumer.is_starved().await;
        let new = self.unsynced.iter().skip(before);
        let records: Vec<_> = new.map(|message| message.body().clone()).collect();
        if self.on_disk(move |file| file.write(&records, sync)).await? {
            self.finish();
        }
        Ok(())
    }

    fn push(&mut self, message: IncomingMessage) {
        let now = Instant::now();
        let left = message.deadline().saturating_duration_since(now);
        let sync_by = now + left * 3 / 4;
        self.sync_by = Some(self.sync_by.map_or(sync_by, |other| other.min(sync_by)));
        self.unsynced.push(message);
    }

    /// Finishes all messages: they are durable.
    fn finish(&mut self) {
        self.sync_by = None;
        let count = self.unsynced.len();
        let answers = self.unsynced.drain(..).map(IncomingMessage::finish);
        let failed: Vec<_> = answers.filter_map(Result::err).collect();
        if let Some(error) = failed.first() {
            let failed = failed.len();
            let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            let label = file.label();
            warn!("{label} {failed} of {count} messages are delivered and written again: {error}");
        }
    }

    /// Works with the file in a thread that may block.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut LogFile) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, FileError> {
        let file = Arc::clone(&self.file);
        let work = move || work(&mut file.lock().unwrap_or_else(PoisonError::into_inner));
        let worked = spawn_blocking(work).await;
        worked.unwrap_or_else(|panic| Err(FileError::new("cannot write", io::Error::other(panic))))
    }
}
