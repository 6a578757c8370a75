//! What became of the messages: counts, and lines for those that are not published.

use std::{
    fmt,
    time::{Duration, Instant},
};

use actix_nsq::{IncomingMessage, PublishError};

use crate::{answer::Failure, log::Log};

/// Messages of a kind that are reported one by one.
const REPORTED: u64 = 10;

/// Interval at which later ones are reported.
const INTERVAL: Duration = Duration::from_secs(60);

/// Maximum number of bytes that are shown of a body that is lost.
const SHOWN: usize = 200;

/// The outcomes so far. A message that is delivered several times counts each time.
#[derive(Debug)]
pub(crate) struct Report {
    log: Log,
    ok: u64,
    passed_over: u64,
    not_json: Reported,
    rejected: Reported,
    requeued: Reported,
    /// Part of the others: published again although it may be stored, or delivered again although
    /// it is or may be stored.
    maybe_twice: u64,
}

/// The messages of a kind that is reported.
#[derive(Debug, Default)]
struct Reported {
    count: u64,
    last: Option<Instant>,
}

impl Reported {
    /// Counts one, and prints its line: each of the first ones, then one in an interval.
    fn count(&mut self, log: Log, line: impl FnOnce() -> String) {
        self.count += 1;
        let is_due = self.last.is_none_or(|last| last.elapsed() >= INTERVAL);
        if self.count > REPORTED && !is_due {
            return;
        }
        self.last = Some(Instant::now());
        let line = line();
        if self.count < REPORTED {
            log.line(line);
        } else {
            let count = self.count;
            log.line(format_args!(
                "{line} (number {count}; of further ones, one a minute is reported)"
            ));
        }
    }
}

impl Report {
    pub(crate) fn new(log: Log) -> Self {
        Self {
            log,
            ok: 0,
            passed_over: 0,
            not_json: Reported::default(),
            rejected: Reported::default(),
            requeued: Reported::default(),
            maybe_twice: 0,
        }
    }

    /// A message is stored.
    pub(crate) fn ok(&mut self, maybe_twice: bool) {
        self.ok += 1;
        self.maybe_twice += u64::from(maybe_twice);
    }

    /// A message does not have the required field or value.
    pub(crate) fn passed_over(&mut self) {
        self.passed_over += 1;
    }

    /// A message is finished that is not a JSON object.
    pub(crate) fn not_json(&mut self, message: &IncomingMessage, error: &str) {
        self.not_json.count(self.log, || {
            let body = message.body();
            let shown = body.get(..SHOWN).unwrap_or(body).escape_ascii();
            let more = if body.len() > SHOWN { ".." } else { "" };
            let place = Place(message);
            format!("{place}: finished, not a JSON object: {error}: {shown}{more}")
        });
    }

    /// A message is requeued.
    pub(crate) fn failed(
        &mut self,
        message: &IncomingMessage,
        failure: Failure,
        may_be_stored: bool,
        error: &PublishError,
    ) {
        self.maybe_twice += u64::from(may_be_stored);
        let (reported, what) = match failure {
            Failure::Rejected => (&mut self.rejected, "rejected and requeued"),
            Failure::Failed => (&mut self.requeued, "requeued"),
            Failure::Ending => (&mut self.requeued, "returned"),
        };
        reported.count(self.log, || {
            let (place, attempts) = (Place(message), message.attempts());
            format!("{place}: {what} after attempt {attempts}: {error}")
        });
    }

    /// Whether no message is lost or cannot be published.
    pub(crate) fn is_clean(&self) -> bool {
        self.not_json.count == 0 && self.rejected.count == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "published: {} ok, {} passed over, {} not JSON, {} rejected, {} requeued, {} maybe twice",
            self.ok,
            self.passed_over,
            self.not_json.count,
            self.rejected.count,
            self.requeued.count,
            self.maybe_twice,
        )
    }
}

/// The topic, the id and the nsqd of a message.
struct Place<'a>(&'a IncomingMessage);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(message) = self;
        let (topic, id, address) = (message.topic(), message.id(), message.address());
        write!(f, "{topic}, message {id} of {address}")
    }
}
