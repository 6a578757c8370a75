//! What has been offered, answered and struck so far: shared by the load, the striker and whoever reports.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use actix_nsq::{Delivery, PublishError, bytes::Bytes};
use hdrhistogram::Histogram;

use crate::{
    options::Options,
    outages::Outages,
    schedule::Fault,
    support::record::{Id, Record},
};

/// Answers that took longer count as this long: a day.
const LONGEST_MICROS: u64 = 86_400_000_000;

/// Behind one lock, so that what was in flight at a fault is one moment's truth.
#[derive(Debug)]
pub(crate) struct Board {
    began: Instant,
    topics: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    record: Record,
    progress: Progress,
    outages: Outages,
    strikes: Vec<Strike>,
    latency: Histogram<u64>,
    log: Option<BufWriter<File>>,
    log_failure: Option<io::Error>,
}

/// Counts of messages, so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Progress {
    pub(crate) offered: u64,
    pub(crate) ok: u64,
    pub(crate) not_written: u64,
    pub(crate) maybe: u64,
    /// Connections lost.
    pub(crate) lost_connections: u64,
    /// When the last answer came.
    pub(crate) last_answer: Duration,
}

impl Progress {
    pub(crate) fn in_flight(&self) -> u64 {
        self.offered - self.ok - self.not_written - self.maybe
    }
}

/// One fault.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Strike {
    pub(crate) fault: Fault,
    pub(crate) at: Duration,
    /// Messages that were offered and not answered at that moment.
    pub(crate) in_flight: usize,
    /// So many messages were answered maybe from then until it was over: those that had been sent.
    pub(crate) maybe: u64,
    /// From then until nsqd served again.
    pub(crate) down: Duration,
    /// From then until every producer was answered ok again; `None` if one was not, in time.
    pub(crate) back: Option<Duration>,
}

/// The board when all is over.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) record: Record,
    pub(crate) progress: Progress,
    /// The mean time for which a producer could not be served.
    pub(crate) away: Duration,
    pub(crate) strikes: Vec<Strike>,
    /// Of those answered ok, in microseconds.
    pub(crate) latency: Histogram<u64>,
    /// Why the log is not complete.
    pub(crate) log_failure: Option<io::Error>,
}

impl Board {
    pub(crate) fn new(options: &Options) -> io::Result<Self> {
        let mut record = Record::new();
        for _ in 0..options.producers {
            for topic in 0..options.topics {
                record.publisher(&Options::topic(topic));
            }
        }
        let create = |path: &Path| {
            let named = |e| io::Error::other(format!("{}: {e}", path.display()));
            File::create(path).map_err(named).map(BufWriter::new)
        };
        Ok(Self {
            began: Instant::now(),
            topics: options.topics,
            inner: Mutex::new(Inner {
                record,
                progress: Progress::default(),
                outages: Outages::new(options.producers),
                strikes: Vec::new(),
                latency: Histogram::new_with_max(LONGEST_MICROS, 3).map_err(io::Error::other)?,
                log: options.log.as_deref().map(create).transpose()?,
                log_failure: None,
            }),
        })
    }

    /// The time since the load began.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// New messages of a producer for a topic, with these sizes.
    pub(crate) fn offer(&self, producer: usize, topic: usize, sizes: &[usize]) -> Vec<(Id, Bytes)> {
        let mut inner = self.lock();
        let publisher = producer * self.topics + topic;
        inner.progress.offered += sizes.len() as u64;
        let sizes = sizes.iter();
        sizes
            .map(|size| inner.record.offer(publisher, *size))
            .collect()
    }

    /// What these messages of one publish were answered, and how long that took.
    pub(crate) fn answered(
        &self,
        producer: usize,
        ids: &[Id],
        answer: &Result<(), PublishError>,
        took: Duration,
    ) {
        let now = self.now();
        let mut inner = self.lock();
        let count = ids.len() as u64;
        let progress = &mut inner.progress;
        progress.last_answer = now;
        let outcome = match answer.as_ref().map_err(PublishError::delivery) {
            Ok(()) => {
                progress.ok += count;
                "ok"
            }
            Err(Delivery::NotWritten) => {
                progress.not_written += count;
                "not_written"
            }
            Err(Delivery::MaybeWritten | Delivery::MaybePartial) => {
                progress.maybe += count;
                "maybe"
            }
        };
        if answer.is_ok() {
            inner.outages.served(producer, now);
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            inner.latency.saturating_record(micros);
        }
        for id in ids {
            inner.record.answer(*id, answer);
            inner.log(|log| {
                write!(log, "{id} {outcome} {:.6}", now.as_secs_f64())?;
                match answer {
                    Ok(()) => writeln!(log),
                    Err(error) => writeln!(log, " {error}"),
                }
            });
        }
    }

    /// A producer has lost its connection; whether it sends again what may be stored.
    pub(crate) fn connection_lost(&self, producer: usize, retried: bool) {
        let mut inner = self.lock();
        inner.progress.lost_connections += 1;
        if retried {
            let first = producer * self.topics;
            inner.record.may_repeat(first..first + self.topics);
        }
    }

    /// Something that the log is to know.
    pub(crate) fn note(&self, what: std::fmt::Arguments<'_>) {
        let now = self.now().as_secs_f64();
        self.lock().log(|log| writeln!(log, "# {now:.6} {what}"));
    }

    pub(crate) fn progress(&self) -> Progress {
        self.lock().progress
    }

    /// Messages that are offered and not answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().record.outstanding()
    }

    /// nsqd is about to be struck: from now on nobody is served. Says what is in flight at this moment.
    pub(crate) fn strike(&self) -> (Duration, usize) {
        let mut inner = self.lock();
        let now = self.now();
        inner.outages.begin(now);
        (now, inner.record.outstanding())
    }

    /// nsqd is there again.
    pub(crate) fn nsqd_is_back(&self) {
        let mut inner = self.lock();
        let now = self.now();
        inner.outages.nsqd_is_back(now);
    }

    /// How many producers have not been answered ok since nsqd is back.
    pub(crate) fn away(&self) -> usize {
        self.lock().outages.away()
    }

    /// A fault is over, and those who are still away are waited for no longer.
    pub(crate) fn struck(&self, strike: Strike) {
        let now = self.now();
        let mut inner = self.lock();
        inner.outages.end(now);
        inner.strikes.push(strike);
        drop(inner);
        let Strike {
            fault,
            at,
            in_flight,
            maybe,
            ..
        } = strike;
        let at = at.as_secs_f64();
        self.note(format_args!(
            "{fault} at {at:.6} s, {in_flight} in flight, {maybe} maybe written; over now"
        ));
    }

    /// Lets somebody meddle with the record.
    pub(crate) fn meddle<T>(&self, how: impl FnOnce(&mut Record) -> T) -> T {
        how(&mut self.lock().record)
    }

    /// All that there is to know. Whatever comes later is not looked at any more.
    pub(crate) fn close(&self) -> Outcome {
        let now = self.now();
        let mut inner = self.lock();
        inner.outages.end(now);
        inner.log(BufWriter::flush);
        inner.log = None;
        Outcome {
            record: std::mem::take(&mut inner.record),
            progress: inner.progress,
            away: inner.outages.mean(),
            strikes: std::mem::take(&mut inner.strikes),
            latency: inner.latency.clone(),
            log_failure: inner.log_failure.take(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn log(&mut self, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) {
        if let Some(log) = &mut self.log
            && let Err(error) = write(log)
        {
            self.log_failure = Some(error);
            self.log = None;
        }
    }
}
