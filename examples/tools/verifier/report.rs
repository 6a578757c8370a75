//! The progress line and the final report.

use std::{
    fmt,
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    path::Path,
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    consumers::Comparison,
    options::Options,
    schedule::Fault,
    support::record::Audit,
    tracker::{InjectedFault, Progress, RunResult, Tracker},
};

const INTERVAL: Duration = Duration::from_millis(500);

/// Clears the progress line on a terminal.
const CLEAR: &str = "\r\x1b[K";

/// Exit code: every result is true and in time, every fault hit publishes in flight, and the rate
/// was sustained.
const CLEAN: u8 = 0;

/// Exit code: a result is wrong or missing, or the faults were not as requested.
const NOT_CLEAN: u8 = 1;

/// Exit code: only the rate is below the required one.
const LOW_RATE: u8 = 4;

/// Maximum number of faults that are named for each problem.
const EXAMPLES: usize = 5;

/// The report of a run.
pub(crate) struct Report<'a> {
    pub(crate) options: &'a Options,
    pub(crate) seed: u64,
    pub(crate) result: &'a RunResult,
    pub(crate) audit: &'a Audit,
    /// With `--consume`.
    pub(crate) consumed: Option<&'a Comparison>,
    /// Time from the start of the load to its end or to the last result.
    pub(crate) duration: Duration,
    /// Whether a signal ended the load.
    pub(crate) interrupted: bool,
}

impl Report<'_> {
    /// The exit code of the run.
    pub(crate) fn exit_code(&self) -> u8 {
        match (self.problems().is_empty(), self.low_rate()) {
            (true, None) => CLEAN,
            (true, Some(_)) => LOW_RATE,
            (false, _) => NOT_CLEAN,
        }
    }

    /// What is wrong with the results, or keeps them from proving something.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let RunResult {
            faults,
            log_failure,
            ..
        } = self.result;
        if !self.audit.is_clean() {
            problems.push("results are not true (see above)".into());
        }
        let all = |problem: &str, has_problem: fn(&InjectedFault) -> bool| {
            let mut affected = faults.iter().filter(|fault| has_problem(fault));
            let examples: Vec<_> = affected.by_ref().take(EXAMPLES).map(name).collect();
            let more = affected.count();
            let more = if more > 0 {
                format!(", and {more} more")
            } else {
                String::new()
            };
            (!examples.is_empty()).then(|| format!("{problem}: {}{more}", examples.join(", ")))
        };
        problems.extend(all("nothing in flight", |fault| fault.in_flight == 0));
        problems.extend(all("not recovered", |fault| fault.recovered.is_none()));
        problems.extend(self.missing().map(|fault| format!("no {fault} occurred")));
        problems.extend(self.consumed.iter().flat_map(|it| it.problems()));
        if let Some(error) = log_failure {
            problems.push(format!("the log is incomplete: {error}"));
        }
        problems
    }

    fn low_rate(&self) -> Option<String> {
        let (rate, required) = (self.sustained_rate(), self.options.required_rate());
        (rate < required && !self.interrupted).then(|| {
            format!("sustained {rate:.0}/s, which is less than the required {required:.0}/s")
        })
    }

    /// Requested faults that did not occur although there was time.
    fn missing(&self) -> impl Iterator<Item = Fault> {
        let Options {
            kill9_every,
            sigterm_every,
            sigstop_every,
            duration,
            ..
        } = self.options;
        let requested = [
            (Fault::Kill9, kill9_every),
            (Fault::Sigterm, sigterm_every),
            (Fault::Sigstop, sigstop_every),
        ];
        let missing = requested.into_iter().filter(|(fault, every)| {
            // A fault that is due at the very end may be missing.
            let was_time = every.is_some_and(|every| every.mul_f64(1.5) < *duration);
            was_time && self.injected(*fault).next().is_none()
        });
        missing
            .filter(|_| !self.interrupted)
            .map(|(fault, _)| fault)
    }

    fn injected(&self, fault: Fault) -> impl Iterator<Item = &InjectedFault> {
        let faults = self.result.faults.iter();
        faults.filter(move |injected| injected.fault == fault)
    }

    fn sustained_rate(&self) -> f64 {
        let uptime = self.uptime().as_secs_f64();
        self.result.progress.ok as f64 / uptime.max(1e-3)
    }

    fn uptime(&self) -> Duration {
        self.duration.saturating_sub(self.result.outage)
    }
}

fn name(injected: &InjectedFault) -> String {
    format!("{} at {:.1} s", injected.fault, injected.at.as_secs_f64())
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.audit)?;
        if let Some(consumed) = self.consumed {
            writeln!(f, "{consumed}")?;
        }
        for fault in [Fault::Kill9, Fault::Sigterm, Fault::Sigstop] {
            let injected: Vec<_> = self.injected(fault).collect();
            if injected.is_empty() {
                continue;
            }
            let (count, in_flight) = (injected.len(), range(&injected, |it| it.in_flight as u128));
            let maybe = range(&injected, |it| it.maybe.into());
            let down = range(&injected, |it| it.down.as_millis());
            let recovered = range(&injected, |it| it.recovered.unwrap_or_default().as_millis());
            writeln!(
                f,
                "{count} x {fault}: in flight {in_flight}; maybe written {maybe}; \
                 ms down {down}; ms to recover {recovered}"
            )?;
        }
        let RunResult {
            progress, latency, ..
        } = self.result;
        let quantile = |quantile| latency.value_at_quantile(quantile) as f64 / 1e3;
        writeln!(
            f,
            "latency: median {:.1} ms, p99 {:.1} ms, max {:.0} ms; connections lost: {}",
            quantile(0.5),
            quantile(0.99),
            latency.max() as f64 / 1e3,
            progress.lost_connections,
        )?;
        writeln!(
            f,
            "sustained: {:.0} ok/s over {:.1} s of {:.1} s (required: {:.0}/s)",
            self.sustained_rate(),
            self.uptime().as_secs_f64(),
            self.duration.as_secs_f64(),
            self.options.required_rate(),
        )?;
        let mut problems = self.problems();
        problems.extend(self.low_rate());
        match problems[..] {
            [] => writeln!(f, "clean; seed {}", self.seed),
            ref problems => {
                writeln!(
                    f,
                    "NOT CLEAN: {}; --seed {}",
                    problems.join("; "),
                    self.seed
                )
            }
        }
    }
}

/// Minimum, maximum and median of a value.
fn range(faults: &[&InjectedFault], value: impl Fn(&InjectedFault) -> u128) -> String {
    let mut values: Vec<_> = faults.iter().map(|fault| value(fault)).collect();
    values.sort_unstable();
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    let last = values.len().saturating_sub(1);
    format!("{} to {}, median {}", at(0), at(last), at(last / 2))
}

/// Appends every violation to the log.
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
    let violations = [
        ("lost", lost),
        ("duplicate", duplicate),
        ("misattributed", misattributed),
        ("unanswered", unanswered),
        ("answered twice", answered_twice),
    ];
    for (violation, ids) in violations {
        for id in ids {
            writeln!(log, "# {violation}: {id}")?;
        }
    }
    for message in corrupt {
        writeln!(log, "# corrupt: {message}")?;
    }
    log.flush()
}

/// Updates the progress line at regular intervals, if standard error is a terminal.
pub(crate) async fn show_progress(tracker: &Tracker) -> ! {
    let is_terminal = io::stderr().is_terminal();
    loop {
        sleep(INTERVAL).await;
        if is_terminal {
            let progress = tracker.progress();
            let Progress {
                offered,
                ok,
                not_written,
                maybe,
                lost_connections,
                ..
            } = progress;
            print(format_args!(
                "{CLEAR}{:.1} s: {offered} offered, {ok} ok, {not_written} not written, \
                 {maybe} maybe, {} in flight; {lost_connections} connections lost",
                tracker.now().as_secs_f64(),
                progress.in_flight(),
            ));
        }
    }
}

/// Prints a line to standard error, above the progress line.
pub(crate) fn print_line(text: fmt::Arguments<'_>) {
    let clear = if io::stderr().is_terminal() {
        CLEAR
    } else {
        ""
    };
    print(format_args!("{clear}verifier: {text}\n"));
}

fn print(text: fmt::Arguments<'_>) {
    // A closed standard error does not stop the run.
    let _ = io::stderr().write_fmt(text);
}
