//! The progress line, and the last word: what was found, and whether that is clean.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    board::{Board, Outcome, Progress, Strike},
    options::Options,
    schedule::Fault,
    support::record::Audit,
};

const INTERVAL: Duration = Duration::from_millis(500);

/// On a terminal, clears the progress line.
const CLEAR: &str = "\r\x1b[K";

/// So many broken faults are told in full.
const EXAMPLES: usize = 5;

/// A trial that is over.
pub(crate) struct Report<'a> {
    pub(crate) options: &'a Options,
    pub(crate) seed: u64,
    pub(crate) outcome: &'a Outcome,
    pub(crate) audit: &'a Audit,
    /// From the beginning of the load to its end, or to the last answer.
    pub(crate) took: Duration,
    /// By somebody who did not wait for its end.
    pub(crate) interrupted: bool,
}

impl Report<'_> {
    /// Everything that is wrong, in words. None: the trial is clean.
    pub(crate) fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let Outcome {
            strikes,
            log_failure,
            ..
        } = self.outcome;
        if !self.audit.is_clean() {
            failures.push("answers were not true (above)".into());
        }
        let all = |what: &str, is_wrong: fn(&Strike) -> bool| {
            let mut wrong = strikes.iter().filter(|strike| is_wrong(strike));
            let examples: Vec<_> = wrong.by_ref().take(EXAMPLES).map(name).collect();
            let more = wrong.count();
            let more = if more > 0 {
                format!(", and {more} more")
            } else {
                String::new()
            };
            (!examples.is_empty()).then(|| format!("{what}: {}{more}", examples.join(", ")))
        };
        failures.extend(all("nothing in flight", |strike| strike.in_flight == 0));
        failures.extend(all("not served again", |strike| strike.back.is_none()));
        failures.extend(self.missing().map(|fault| format!("no {fault} has struck")));
        let (kept_up, required) = (self.kept_up(), self.options.required_rate());
        if kept_up < required && !self.interrupted {
            failures.push(format!(
                "{kept_up:.0}/s, and not {required:.0}/s, were kept up"
            ));
        }
        if let Some(error) = log_failure {
            failures.push(format!("the log is not complete: {error}"));
        }
        failures
    }

    /// Faults that were asked for, and for which there was time.
    fn missing(&self) -> impl Iterator<Item = Fault> {
        let Options {
            kill9_every,
            sigterm_every,
            sigstop_every,
            duration,
            ..
        } = self.options;
        let asked = [
            (Fault::Kill9, kill9_every),
            (Fault::Sigterm, sigterm_every),
            (Fault::Sigstop, sigstop_every),
        ];
        let missing = asked.into_iter().filter(|(fault, every)| {
            // One that came due at the very end may not have found its moment.
            let was_time = every.is_some_and(|every| every.mul_f64(1.5) < *duration);
            was_time && !self.strikes(*fault).any(|_| true)
        });
        missing
            .filter(|_| !self.interrupted)
            .map(|(fault, _)| fault)
    }

    fn strikes(&self, fault: Fault) -> impl Iterator<Item = &Strike> {
        let strikes = self.outcome.strikes.iter();
        strikes.filter(move |strike| strike.fault == fault)
    }

    fn kept_up(&self) -> f64 {
        let served = self.served().as_secs_f64();
        self.outcome.progress.ok as f64 / served.max(1e-3)
    }

    fn served(&self) -> Duration {
        self.took.saturating_sub(self.outcome.away)
    }
}

fn name(strike: &Strike) -> String {
    format!("{} at {:.1} s", strike.fault, strike.at.as_secs_f64())
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.audit)?;
        for fault in [Fault::Kill9, Fault::Sigterm, Fault::Sigstop] {
            let strikes: Vec<_> = self.strikes(fault).collect();
            if strikes.is_empty() {
                continue;
            }
            let (count, in_flight) = (strikes.len(), range(&strikes, |s| s.in_flight as u128));
            let maybe = range(&strikes, |strike| strike.maybe.into());
            let down = range(&strikes, |strike| strike.down.as_millis());
            let back = range(&strikes, |strike| {
                strike.back.unwrap_or_default().as_millis()
            });
            writeln!(
                f,
                "{count} x {fault}: in flight {in_flight} just before, maybe written by each {maybe}; nsqd away for {down} ms, all served again after {back} ms"
            )?;
        }
        let Outcome {
            progress, latency, ..
        } = self.outcome;
        let quantile = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
        writeln!(
            f,
            "answered ok after: median {:.1} ms, 99 % {:.1} ms, longest {:.0} ms; {} connections lost",
            quantile(0.5),
            quantile(0.99),
            latency.max() as f64 / 1e3,
            progress.lost_connections,
        )?;
        writeln!(
            f,
            "kept up: {:.0} ok/s over {:.1} s of {:.1} s (required: {:.0}/s)",
            self.kept_up(),
            self.served().as_secs_f64(),
            self.took.as_secs_f64(),
            self.options.required_rate(),
        )?;
        match self.failures()[..] {
            [] => writeln!(f, "clean; seed {}", self.seed),
            ref failures => {
                writeln!(
                    f,
                    "NOT CLEAN: {}; --seed {}",
                    failures.join("; "),
                    self.seed
                )
            }
        }
    }
}

/// The least, the middle one and the most.
fn range(strikes: &[&Strike], of: impl Fn(&Strike) -> u128) -> String {
    let mut values: Vec<_> = strikes.iter().map(|strike| of(strike)).collect();
    values.sort_unstable();
    let at = |place: usize| values.get(place).copied().unwrap_or_default();
    let last = values.len().saturating_sub(1);
    format!("{} to {}, median {}", at(0), at(last), at(last / 2))
}

/// Adds every message that is wrong to the log.
pub(crate) fn complete_log(log: &Path, audit: &Audit) -> io::Result<()> {
    let file = File::options().append(true).open(log)?;
    let mut log = BufWriter::new(file);
    let Audit {
        lost,
        duplicate,
        misattributed,
        unanswered,
        answered_twice,
        corrupt,
        ..
    } = audit;
    let wrong = [
        ("lost", lost),
        ("duplicate", duplicate),
        ("misattributed", misattributed),
        ("unanswered", unanswered),
        ("answered twice", answered_twice),
    ];
    for (what, ids) in wrong {
        for id in ids {
            writeln!(log, "# {what}: {id}")?;
        }
    }
    for message in corrupt {
        writeln!(log, "# corrupt: {message}")?;
    }
    log.flush()
}

/// Brings the progress line up to date, again and again, if standard error is a terminal.
pub(crate) async fn keep_current(board: &Board) -> ! {
    let is_terminal = io::stderr().is_terminal();
    loop {
        sleep(INTERVAL).await;
        if is_terminal {
            let progress = board.progress();
            let Progress {
                offered,
                ok,
                not_written,
                maybe,
                lost_connections,
                ..
            } = progress;
            show(format_args!(
                "{CLEAR}{:.1} s: {offered} offered, {ok} ok, {not_written} not written, {maybe} maybe, \
                 {} in flight; {lost_connections} connections lost",
                board.now().as_secs_f64(),
                progress.in_flight(),
            ));
        }
    }
}

/// Says something on a line of its own.
pub(crate) fn say(what: fmt::Arguments<'_>) {
    let clear = if io::stderr().is_terminal() {
        CLEAR
    } else {
        ""
    };
    show(format_args!("{clear}verifier: {what}\n"));
}

fn show(text: fmt::Arguments<'_>) {
    // When nobody reads it, the trial goes on all the same.
    let _ = io::stderr().write_fmt(text);
}
