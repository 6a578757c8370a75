//! Tracks messages, results and faults; shared by the load, the fault injector and the report.

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

/// Maximum latency that is recorded (a day); longer ones count as this.
const MAX_LATENCY_MICROS: u64 = 86_400_000_000;

/// One lock protects everything, so that the messages in flight at a fault are consistent.
#[derive(Debug)]
pub(crate) struct Tracker {
    started: Instant,
    topics: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    record: Record,
    progress: Progress,
    outages: Outages,
    faults: Vec<InjectedFault>,
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
    pub(crate) lost_connections: u64,
    /// Time of the last result.
    pub(crate) last_result: Duration,
}

impl Progress {
    pub(crate) fn in_flight(&self) -> u64 {
        self.offered - self.ok - self.not_written - self.maybe
    }
}

/// A fault with its consequences.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InjectedFault {
    pub(crate) fault: Fault,
    pub(crate) at: Duration,
    /// Messages without a result at that time.
    pub(crate) in_flight: usize,
    /// Messages that became maybe written before the fault was over.
    pub(crate) maybe: u64,
    /// Time until nsqd was up again.
    pub(crate) down: Duration,
    /// Time until every producer had an ok again; `None`: one had none within the limit.
    pub(crate) recovered: Option<Duration>,
}

/// The state at the end of a run.
#[derive(Debug)]
pub(crate) struct RunResult {
    pub(crate) record: Record,
    pub(crate) progress: Progress,
    /// Mean time per producer without service.
    pub(crate) outage: Duration,
    pub(crate) faults: Vec<InjectedFault>,
    /// Microseconds to an ok.
    pub(crate) latency: Histogram<u64>,
    /// Why the log is incomplete.
    pub(crate) log_failure: Option<io::Error>,
}

impl RunResult {
    /// How often a fault was injected.
    pub(crate) fn count(&self, fault: Fault) -> usize {
        let faults = self.faults.iter();
        faults.filter(|injected| injected.fault == fault).count()
    }
}

impl Tracker {
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
            started: Instant::now(),
            topics: options.topics,
            inner: Mutex::new(Inner {
                record,
                progress: Progress::default(),
                outages: Outages::new(options.producers),
                faults: Vec::new(),
                latency: Histogram::new_with_max(MAX_LATENCY_MICROS, 3)
                    .map_err(io::Error::other)?,
                log: options.log.as_deref().map(create).transpose()?,
                log_failure: None,
            }),
        })
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Creates messages of a producer for a topic, with these sizes.
    pub(crate) fn offer(&self, producer: usize, topic: usize, sizes: &[usize]) -> Vec<(Id, Bytes)> {
        let mut inner = self.lock();
        let publisher = producer * self.topics + topic;
        inner.progress.offered += sizes.len() as u64;
        let sizes = sizes.iter();
        sizes
            .map(|size| inner.record.offer(publisher, *size))
            .collect()
    }

    /// Records the result of a publish.
    pub(crate) fn completed(
        &self,
        producer: usize,
        ids: &[Id],
        result: &Result<(), PublishError>,
        latency: Duration,
    ) {
        let now = self.now();
        let mut inner = self.lock();
        let count = ids.len() as u64;
        let progress = &mut inner.progress;
        progress.last_result = now;
        let outcome = match result.as_ref().map_err(PublishError::delivery) {
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
        if result.is_ok() {
            inner.outages.served(producer, now);
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            inner.latency.saturating_record(micros);
        }
        for id in ids {
            inner.record.answer(*id, result);
            inner.log(|log| {
                write!(log, "{id} {outcome} {:.6}", now.as_secs_f64())?;
                match result {
                    Ok(()) => writeln!(log),
                    Err(error) => writeln!(log, " {error}"),
                }
            });
        }
    }

    /// Records a lost connection. With `retries` the messages in flight may be duplicated.
    pub(crate) fn disconnected(&self, producer: usize, retries: bool) {
        let mut inner = self.lock();
        inner.progress.lost_connections += 1;
        if retries {
            let first = producer * self.topics;
            inner.record.may_repeat(first..first + self.topics);
        }
    }

    /// Writes a comment to the log.
    pub(crate) fn log(&self, text: std::fmt::Arguments<'_>) {
        let now = self.now().as_secs_f64();
        self.lock().log(|log| writeln!(log, "# {now:.6} {text}"));
    }

    pub(crate) fn progress(&self) -> Progress {
        self.lock().progress
    }

    /// Messages without a result.
    pub(crate) fn in_flight(&self) -> usize {
        self.lock().record.outstanding()
    }

    /// Records the beginning of a fault. Returns the time and the number of messages in flight.
    pub(crate) fn fault_begins(&self) -> (Duration, usize) {
        let mut inner = self.lock();
        let now = self.now();
        inner.outages.begin(now);
        (now, inner.record.outstanding())
    }

    /// Records that nsqd is up again.
    pub(crate) fn nsqd_is_up(&self) {
        let mut inner = self.lock();
        let now = self.now();
        inner.outages.nsqd_is_up(now);
    }

    /// Number of producers without an ok since nsqd is up again.
    pub(crate) fn unserved(&self) -> usize {
        self.lock().outages.unserved()
    }

    /// Records the end of a fault, and of the outage of all producers.
    pub(crate) fn fault_ended(&self, injected: InjectedFault) {
        let now = self.now();
        let mut inner = self.lock();
        inner.outages.end(now);
        inner.faults.push(injected);
        drop(inner);
        let InjectedFault {
            fault,
            at,
            in_flight,
            maybe,
            ..
        } = injected;
        let at = at.as_secs_f64();
        self.log(format_args!(
            "{fault} at {at:.6} s has ended: {in_flight} in flight, {maybe} maybe written"
        ));
    }

    /// Gives access to the record.
    pub(crate) fn with_record<T>(&self, access: impl FnOnce(&mut Record) -> T) -> T {
        access(&mut self.lock().record)
    }

    /// Returns the state, and closes the log. Later results are ignored.
    pub(crate) fn finish(&self) -> RunResult {
        let now = self.now();
        let mut inner = self.lock();
        inner.outages.end(now);
        inner.log(BufWriter::flush);
        inner.log = None;
        RunResult {
            record: std::mem::take(&mut inner.record),
            progress: inner.progress,
            outage: inner.outages.mean(),
            faults: std::mem::take(&mut inner.faults),
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
