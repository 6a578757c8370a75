//! Runs of `nsq_to_file` that write to a temporary folder.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Instant;

use flate2::read::MultiGzDecoder;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::fixture::{TOPIC, numbered};
use crate::support::broker::{Broker, ChannelState};
use crate::support::tool::{Ended, Tool};
use crate::support::wait::{self, PATIENCE};

/// The default channel.
pub const CHANNEL: &str = "nsq_to_file";

/// A folder, and a tool that writes there.
pub struct Files {
    folder: TempDir,
    pub flags: Vec<String>,
}

impl Files {
    /// Creates a folder for files of one topic, whose channel is created.
    pub async fn of(broker: &Broker, flags: &[&str]) -> Self {
        broker.create_channel(TOPIC, CHANNEL).await;
        let address = broker.address().await;
        let folder = tempfile::tempdir().unwrap();
        let mut all = vec![
            format!("--topic={TOPIC}"),
            format!("--nsqd-tcp-address={address}"),
            format!("--output-dir={}", folder.path().join("output").display()),
            "--filename-format=<TOPIC><REV>".to_owned(),
        ];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        Self { folder, flags: all }
    }

    /// The same, with a work directory.
    pub async fn with_work_dir(broker: &Broker, flags: &[&str]) -> Self {
        let mut files = Self::of(broker, flags).await;
        let work = format!("--work-dir={}", files.work().display());
        files.flags.push(work);
        files
    }

    pub fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub fn start(&self) -> Tool {
        Tool::start("nsq_to_file", &self.flags).unwrap()
    }

    /// The names of the finished files, and their lines.
    pub fn finished(&self) -> BTreeMap<String, Vec<String>> {
        files(&self.output())
    }

    /// All lines that are complete messages, in any file.
    pub fn messages(&self) -> Vec<usize> {
        let all = [files(&self.output()), files(&self.work())];
        let lines = all.iter().flat_map(BTreeMap::values).flatten();
        lines.filter_map(|line| number(line)).collect()
    }

    /// The same, each once. A file that is moving is in both directories.
    pub fn written(&self) -> BTreeSet<usize> {
        self.messages().into_iter().collect()
    }

    /// Waits until this number of different messages is in the files.
    pub async fn until_messages(&self, count: usize) {
        let are_there = || self.written().len() >= count;
        wait::until("the messages are in the files", are_there).await;
    }
}

/// The number of a complete message.
fn number(line: &str) -> Option<usize> {
    let number = line.split(' ').next()?.parse().ok()?;
    (numbered(number) == line.as_bytes()).then_some(number)
}

/// The files in a directory, and the lines that can be read.
pub fn files(directory: &Path) -> BTreeMap<String, Vec<String>> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    let named = paths.filter_map(|path| {
        let name = path.file_name()?.to_str()?.to_owned();
        // It is gone if it has moved.
        let mut file = File::open(&path).ok()?;
        let mut text = Vec::new();
        if name.ends_with(".gz") {
            // Fails behind the last complete member; what is before is read.
            let _ = MultiGzDecoder::new(file).read_to_end(&mut text);
        } else {
            file.read_to_end(&mut text).unwrap();
        }
        let text = String::from_utf8(text).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        // NSQ has no order.
        lines.sort();
        Some((name, lines))
    });
    named.collect()
}

pub fn lines(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    let line = |number| String::from_utf8(numbered(number).to_vec()).unwrap();
    numbers.into_iter().map(line).collect()
}

/// Waits until the channel has this state.
pub async fn until_channel(broker: &Broker, depth: u64, in_flight: u64) {
    let expected = ChannelState {
        depth,
        in_flight,
        deferred: 0,
    };
    let end = Instant::now() + PATIENCE;
    loop {
        let state = broker.channel(TOPIC, CHANNEL).await;
        if state == expected {
            return;
        }
        assert!(Instant::now() < end, "{state:?} instead of {expected:?}");
    }
}

pub async fn end(tool: Tool) -> Ended {
    tool.signal(Signal::TERM).unwrap();
    tool.ended().await
}

pub async fn end_cleanly(tool: Tool) {
    let ended = end(tool).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
