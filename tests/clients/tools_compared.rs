//! NSQ's tools and the examples of the same names, with the same command lines and input.
//!
//! docs/tools.md lists the cases in which they differ, in what, and why. A case fails if it differs
//! in something else than is listed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flate2::read::MultiGzDecoder;
use libtest_mimic::{Completion, Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::nsq_tools::{tool, with_tools};
use crate::support::broker::Kind;
use crate::support::example;
use crate::support::nsqd_version::Version;
use crate::support::raw_client::{self, Access};
use crate::support::real_lookupd::{self, RealLookupd};
use crate::support::real_nsqd::RealNsqd;
use crate::support::wait::{self, PATIENCE};
use crate::tool_cases::{CASES, Case, End};

/// Time within which a tool ends.
const ENDING: Duration = Duration::from_secs(5);

/// The page that lists the differences.
const PAGE: &str = include_str!("../../docs/tools.md");

pub fn trials() -> Vec<Trial> {
    let cases = CASES.iter().map(|case| {
        let name = format!(
            "tools::{}::{}",
            case.tool,
            case.name.replace([' ', '='], "_")
        );
        Trial::ignorable_test(name, || match Kind::Real.version() {
            Version::LATEST => with_tools(|| compare(case)),
            other => Ok(Completion::ignored_with(format!(
                "not with those of {other}"
            ))),
        })
    });
    let page = Trial::test("tools::every_listed_difference_is_a_case", || {
        let cases: BTreeSet<_> = CASES.iter().map(|case| (case.tool, case.name)).collect();
        let listed = listed();
        let unknown: Vec<_> = listed.keys().filter(|it| !cases.contains(it)).collect();
        assert!(unknown.is_empty(), "no such cases: {unknown:?}");
        Ok(())
    });
    cases.chain([page]).collect()
}

/// A row of the page's table of differences.
#[derive(Debug, Clone, Copy)]
struct Difference {
    /// What differs, as in [`Observed::differences`].
    aspects: &'static str,
    theirs: &'static str,
    ours: &'static str,
}

/// The table of the page, by tool and case.
fn listed() -> BTreeMap<(&'static str, &'static str), Difference> {
    let tools: BTreeSet<_> = CASES.iter().map(|case| case.tool).collect();
    let (_, differences) = PAGE.split_once("## Differences").unwrap_or_default();
    let rows = differences.lines().filter_map(|line| {
        let columns: Vec<_> = line.strip_prefix("| `")?.split(" | ").collect();
        let &[tool, cases, aspects, theirs, ours, _] = &columns[..] else {
            return None;
        };
        let difference = Difference {
            aspects,
            theirs,
            ours,
        };
        Some((tool.strip_suffix('`')?, cases, difference))
    });
    let rows = rows.filter(|(tool, ..)| tools.contains(tool));
    rows.flat_map(|(tool, cases, difference)| {
        let cases = cases.split(", ");
        cases.map(move |case| ((tool, case), difference))
    })
    .collect()
}

fn compare(case: &'static Case) -> Result<(), Failed> {
    let [theirs, ours] = loop {
        let began = quarter_of_an_hour()?;
        let theirs = observe(case, tool(case.tool)?)?;
        let ours = observe(case, Command::new(example::program(case.tool)?))?;
        // The names of files have the hour.
        if quarter_of_an_hour()? == began {
            break [theirs, ours];
        }
    };
    let differences = theirs.differences(&ours).join(", ");
    let listed = listed().get(&(case.tool, case.name)).copied();
    let expected = listed.map_or("", |difference| difference.aspects);
    let agrees = |observed: &Observed, text: &str| match text.split_once("exit code ") {
        Some((_, code)) => {
            code.split(|it: char| !it.is_ascii_digit()).next() == Some(&observed.status)
        }
        None => true,
    };
    let has_listed_codes =
        listed.is_none_or(|it| agrees(&theirs, it.theirs) && agrees(&ours, it.ours));
    if differences != expected || !has_listed_codes {
        let problem = format!("they differ in {differences:?}, and docs/tools.md lists {listed:?}");
        return Err(format!("{problem}\nNSQ's: {theirs:#?}\nours: {ours:#?}").into());
    }
    Ok(())
}

/// The number of quarters of an hour since 1970: the hour of each time zone begins with one.
fn quarter_of_an_hour() -> Result<u64, Failed> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / (15 * 60))
}

/// What a tool has done.
#[derive(Debug)]
struct Observed {
    /// `0`, `signal 13`, or `runs on`.
    status: String,
    /// Its lines; with several topics their order differs.
    stdout: BTreeMap<String, usize>,
    /// The files below its folder, with their content.
    files: BTreeMap<String, String>,
    /// Messages at the destination, by topic.
    destination: BTreeMap<String, Vec<String>>,
    /// Of each channel of the source that stays: depth, in flight, deferred.
    channels: BTreeMap<String, [u64; 3]>,
}

impl Observed {
    /// What differs.
    fn differences(&self, other: &Self) -> Vec<&'static str> {
        let aspects = [
            ("exit code", self.status == other.status),
            ("output", self.stdout == other.stdout),
            ("files", self.files == other.files),
            ("destination", self.destination == other.destination),
            ("channel", self.channels == other.channels),
        ];
        let differing = aspects.into_iter().filter(|(_, agrees)| !agrees);
        differing.map(|(aspect, _)| aspect).collect()
    }
}

/// Runs a tool with an nsqd of its own.
fn observe(case: &Case, mut command: Command) -> Result<Observed, Failed> {
    let files = tempfile::tempdir()?;
    let flags = format!("{} {}", case.base, case.flags);
    let lookupd = match flags.contains("{lookupd}") {
        true => Some(RealLookupd::start::<&str>(&[])?),
        false => None,
    };
    let mut of_nsqd = vec!["--broadcast-address=127.0.0.1".to_owned()];
    if let Some(lookupd) = &lookupd {
        of_nsqd.push(format!("--lookupd-tcp-address={}", lookupd.tcp_address()));
    }
    let nsqd = RealNsqd::start(&of_nsqd)?;
    let destination = RealNsqd::start(&["--max-msg-size=1000"])?;
    for (topic, bodies) in case.published {
        let bodies: Vec<_> = bodies.iter().map(|body| body.as_bytes()).collect();
        raw_client::publish(&nsqd.address(), topic, &bodies)?;
        if case.has_channel {
            nsqd.change_channel("create", topic, "c")?;
        }
    }
    if let Some(lookupd) = &lookupd {
        until_registered(lookupd, case)?;
    }
    let folder = files.path().join("files");
    fs::create_dir(&folder)?;
    let values = [
        ("{tcp}", nsqd.address()),
        ("{http}", nsqd.http_address()),
        (
            "{lookupd}",
            lookupd
                .as_ref()
                .map_or_else(String::new, RealLookupd::http_address),
        ),
        ("{destination}", destination.address()),
        ("{dir}", folder.display().to_string()),
    ];
    let arguments = flags.split_whitespace().map(|flag| {
        values.iter().fold(flag.to_owned(), |flag, (name, value)| {
            flag.replace(name, value)
        })
    });
    let stdout = files.path().join("stdout");
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = match case.end {
        End::ClosedStdout => command.stdout(Stdio::piped()).spawn()?,
        _ => command.stdout(fs::File::create(&stdout)?).spawn()?,
    };
    let status = end(case, &mut child, &nsqd)?;
    let printed = fs::read_to_string(&stdout).unwrap_or_default();
    let mut lines = BTreeMap::new();
    for line in printed.lines() {
        *lines.entry(line.to_owned()).or_default() += 1;
    }
    let mut read = BTreeMap::new();
    read_files(&folder, "", &mut read)?;
    Ok(Observed {
        status,
        stdout: lines,
        files: read,
        destination: stored(&destination, case)?,
        channels: channels(&nsqd, case)?,
    })
}

/// Waits until nsqlookupd knows all topics.
fn until_registered(lookupd: &RealLookupd, case: &Case) -> Result<(), Failed> {
    for (topic, _) in case.published {
        let is_known = || {
            let answer =
                real_lookupd::get(&lookupd.http_address(), &format!("/lookup?topic={topic}"));
            answer.ok().filter(|(_, body)| body.contains("tcp_port"))
        };
        wait::poll(PATIENCE, is_known).ok_or("nsqd does not register the topic")?;
    }
    Ok(())
}

/// Ends the tool as the case says, and returns its status.
fn end(case: &Case, child: &mut Child, nsqd: &RealNsqd) -> Result<String, Failed> {
    if let Some(mut input) = child.stdin.take() {
        // A tool may end without reading.
        let _ = input.write_all(case.input.as_bytes());
    }
    match case.end {
        End::Itself => {}
        End::ClosedStdout => {
            let mut stdout = child.stdout.take().ok_or("it has a stdout")?;
            stdout.read_exact(&mut [0])?;
            drop(stdout);
            raw_client::publish(&nsqd.address(), "t", &[b"behind the end"])?;
        }
        End::Finished(signal) => signal_when_finished(signal, case, child, nsqd)?,
        End::AfterHangUp => {
            signal_when_finished(Signal::HUP, case, child, nsqd)?;
            raw_client::publish(&nsqd.address(), "t", &[b"behind SIGHUP"])?;
            signal_when_finished(Signal::TERM, case, child, nsqd)?;
        }
    }
    let ended = wait::poll(ENDING, || child.try_wait().transpose()).transpose()?;
    let Some(status) = ended else {
        child.kill()?;
        child.wait()?;
        return Ok("runs on".to_owned());
    };
    Ok(match status.code() {
        Some(code) => code.to_string(),
        None => format!("signal {}", status.signal().unwrap_or_default()),
    })
}

/// Sends a signal when all messages are finished, unless the tool ends before.
fn signal_when_finished(
    signal: Signal,
    case: &Case,
    child: &mut Child,
    nsqd: &RealNsqd,
) -> Result<(), Failed> {
    let finished = || (unfinished(nsqd, case).ok()? == 0).then_some(false);
    let ended = |child: &mut Child| child.try_wait().ok().flatten().map(|_| true);
    let has_ended = wait::poll(PATIENCE, || ended(child).or_else(finished));
    if !has_ended.ok_or("it does not finish the messages")? {
        kill_process(Pid::from_child(child), signal)?;
    }
    Ok(())
}

/// Messages of the source that are not finished.
fn unfinished(nsqd: &RealNsqd, case: &Case) -> io::Result<u64> {
    let topics = case.published.iter();
    topics.map(|(topic, _)| nsqd.unfinished(topic)).sum()
}

fn channels(nsqd: &RealNsqd, case: &Case) -> io::Result<BTreeMap<String, [u64; 3]>> {
    let mut channels = BTreeMap::new();
    for (topic, _) in case.published {
        let stats = nsqd.stats(topic)?.unwrap_or_default();
        for channel in stats["channels"].as_array().into_iter().flatten() {
            let name = channel["channel_name"].as_str().unwrap_or_default();
            if !name.ends_with("#ephemeral") {
                let numbers = ["depth", "in_flight_count", "deferred_count"];
                let numbers = numbers.map(|key| channel[key].as_u64().unwrap_or_default());
                channels.insert(format!("{topic}/{name}"), numbers);
            }
        }
    }
    Ok(channels)
}

/// The messages at the destination, by topic, each sorted.
fn stored(nsqd: &RealNsqd, case: &Case) -> io::Result<BTreeMap<String, Vec<String>>> {
    let mut stored = BTreeMap::new();
    for topic in case.destinations {
        let stats: Value = nsqd.stats(topic)?.unwrap_or_default();
        let count = stats["message_count"].as_u64().unwrap_or_default();
        let mut bodies = Vec::new();
        if count > 0 {
            let expected = usize::try_from(count).unwrap_or(usize::MAX);
            let left = || nsqd.unfinished(topic).ok();
            let take = |_, body: Vec<u8>| bodies.push(String::from_utf8_lossy(&body).into_owned());
            let (access, address) = (Access::default(), nsqd.address());
            raw_client::drain(&access, &address, topic, expected, left, take)?;
        }
        bodies.sort();
        stored.insert((*topic).to_owned(), bodies);
    }
    Ok(stored)
}

/// The files of a folder, those of gzip unpacked.
fn read_files(
    folder: &Path,
    prefix: &str,
    read: &mut BTreeMap<String, String>,
) -> Result<(), Failed> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            read_files(&entry.path(), &format!("{name}/"), read)?;
        } else {
            let bytes = fs::read(entry.path())?;
            let text = match name.ends_with(".gz") {
                true => io::read_to_string(MultiGzDecoder::new(&bytes[..]))?,
                false => String::from_utf8_lossy(&bytes).into_owned(),
            };
            read.insert(name, text);
        }
    }
    Ok(())
}
