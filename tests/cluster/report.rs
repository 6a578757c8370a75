//! The trials, and the report of the campaign that they share.

use std::fmt;
use std::io::{self, BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed, Trial};

use crate::campaign::{self, Report};
use crate::faults::Kind;
use crate::options::Options;
use crate::sandbox::Sandbox;
use crate::support::nsqd_program::{self, Found};
use crate::support::trials;

/// Timeout of a campaign, beyond its faults.
const TIMEOUT: Duration = Duration::from_secs(240);

/// A part of a campaign, with its trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Publishing,
    Consuming,
    Discovery,
}

impl Part {
    const ALL: [Self; 3] = [Self::Publishing, Self::Consuming, Self::Discovery];

    fn name(self) -> &'static str {
        match self {
            Self::Publishing => "publishes_have_true_answers_while_hosts_fail",
            Self::Consuming => "stored_messages_are_handled_while_hosts_fail",
            Self::Discovery => "clients_reconnect_soon_after_each_fault",
        }
    }
}

/// What a campaign has found.
enum Played {
    /// There are no namespaces here.
    Impossible(String),
    NoNsqd(String),
    /// Problems with the parts that they concern.
    Ended(Vec<(String, String)>),
    Failed(String),
}

pub fn trials() -> Vec<Trial> {
    let trial = |part: Part| Trial::ignorable_test(part.name(), move || passed(part));
    Part::ALL.map(trial).into()
}

fn passed(part: Part) -> Result<Completion, Failed> {
    static PLAYED: OnceLock<Played> = OnceLock::new();
    match PLAYED.get_or_init(play) {
        Played::Impossible(reason) | Played::NoNsqd(reason) if is_required() => {
            Err(format!("CLUSTER_REQUIRED is set: {reason}").into())
        }
        Played::NoNsqd(reason) => trials::missing("real nsqd or nsqlookupd", reason),
        Played::Impossible(reason) => Ok(Completion::ignored_with(reason)),
        Played::Failed(reason) => Err(reason.into()),
        Played::Ended(problems) => {
            let name = format!("{part:?}");
            let problems = problems.iter().filter(|(of, _)| *of == name);
            let problems: Vec<_> = problems.map(|(_, problem)| problem.as_str()).collect();
            match problems[..] {
                [] => Ok(Completion::Completed),
                _ => Err(problems.join("\n").into()),
            }
        }
    }
}

/// Whether a campaign that cannot be played is a failure: `CLUSTER_REQUIRED=1`.
fn is_required() -> bool {
    std::env::var_os("CLUSTER_REQUIRED").is_some_and(|value| !value.is_empty() && value != "0")
}

/// Plays the campaign in a sandbox, and prints its report.
fn play() -> Played {
    for found in [nsqd_program::find(), nsqd_program::find_lookupd()] {
        if let Found::Missing(reason) = found {
            return Played::NoNsqd(reason.clone());
        }
    }
    let options = match Options::from_env() {
        Ok(options) => options,
        Err(problem) => return Played::Failed(problem),
    };
    let ran = match Sandbox::find() {
        Ok(sandbox) => run(sandbox, options),
        Err(reason) => {
            println!("not played: {reason}");
            return Played::Impossible(reason);
        }
    };
    match ran {
        Ok(problems) => Played::Ended(problems),
        Err(e) => Played::Failed(format!(
            "the campaign failed; CLUSTER_SEED={}: {e}",
            options.seed
        )),
    }
}

fn run(sandbox: Sandbox, options: Options) -> io::Result<Vec<(String, String)>> {
    let mut command: Command = sandbox.command(&std::env::current_exe()?);
    let mut child = command
        .env(crate::ROLE, crate::CAMPAIGN)
        .env("CLUSTER_SEED", options.seed.to_string())
        // It ends with this process.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let lines = child.stdout.take().map(BufReader::new);
    let lines = lines
        .into_iter()
        .flat_map(BufRead::lines)
        .map_while(io::Result::ok);
    let mut problems = Vec::new();
    let mut has_ended = false;
    for line in lines {
        match line
            .split_once(": ")
            .map(|(what, text)| (what.split_once(' '), text))
        {
            Some((Some(("problem", part)), text)) => {
                problems.push((part.to_owned(), text.to_owned()))
            }
            _ if line == END => has_ended = true,
            _ => println!("{line}"),
        }
    }
    let status = child.wait()?;
    match has_ended && status.success() {
        true => Ok(problems),
        false => Err(io::Error::other(format!("it has not ended: {status}"))),
    }
}

/// The last line of a campaign.
const END: &str = "end of the campaign";

/// Plays the campaign in this process, which is in a sandbox.
pub fn play_campaign() {
    campaign::end_with_the_test();
    let options = Options::from_env().expect("the options are valid");
    thread::spawn(move || {
        thread::sleep(options.length + TIMEOUT);
        println!("the campaign has not ended in time");
        std::process::exit(1);
    });
    println!("CLUSTER_SEED={}", options.seed);
    let began = Instant::now();
    match campaign::run(&options) {
        Ok(report) => {
            println!("{report}\ntook {:.1?}", began.elapsed());
            let problems = report.all_problems();
            if !problems.is_empty() {
                report.faults.iter().for_each(|fault| println!("{fault}"));
            }
            for (part, problem) in problems {
                println!(
                    "problem {part:?}: {}; CLUSTER_SEED={}",
                    one_line(&problem),
                    options.seed
                );
            }
            println!("{END}");
        }
        Err(e) => println!("the campaign failed: {e}"),
    }
}

fn one_line(text: &str) -> String {
    text.replace('\n', "; ")
}

impl Report {
    fn all_problems(&self) -> Vec<(Part, String)> {
        let mut problems = Vec::new();
        let mut add = |part, of: &[String]| {
            problems.extend(of.iter().map(|problem| (part, problem.clone())));
        };
        Part::ALL.iter().for_each(|part| add(*part, &self.problems));
        add(Part::Consuming, &self.totals.consuming_problems);
        add(Part::Discovery, &self.connections.problems);
        if !self.totals.stored.is_clean() {
            add(Part::Publishing, &[self.totals.stored.to_string()]);
        }
        problems
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |kind: Kind| {
            let faults = self.faults.iter().filter(|it| it.fault.kind() == kind);
            format!("{} x {kind}", faults.count())
        };
        let faults = Kind::ALL.map(count);
        writeln!(
            f,
            "{} nsqds, {:?} of faults: {}",
            self.layout.nsqds,
            self.length,
            faults.join(", ")
        )?;
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        let totals = &self.totals;
        writeln!(f, "stored: {}", one_line(&totals.stored.to_string()))?;
        writeln!(f, "handled: {}", one_line(&totals.handled.to_string()))?;
        writeln!(
            f,
            "{} handled again after their connection was lost or disturbed; {} lost by killed \
             nsqds (at most {})",
            totals.redelivered, totals.forgotten, totals.max_forgotten
        )?;
        write!(
            f,
            "{} connections lost; slowest to come back after a fault: {:.1?}; {} pauses of the \
             machine",
            self.connections.lost, self.connections.slowest, self.connections.silences
        )
    }
}
