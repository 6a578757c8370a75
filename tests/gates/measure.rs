//! What a publish costs, as strace and callgrind count it in a process of its own.
//!
//! Two runs of different length are counted, and their difference is divided by the publishes that the longer one had more: what
//! it takes to start, connect and end is in both.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::example;

/// The other system calls wait for these, or run before and after.
const READ_OR_WRITE: &[&str] = &[
    "write", "writev", "sendto", "sendmsg", "read", "readv", "recvfrom", "recvmsg",
];

/// What a program publishes, and how.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub callers: usize,
    /// Options of the producer, each as `name=value`.
    pub options: &'static [&'static str],
}

/// What is counted of a program that runs.
#[derive(Clone, Copy, Debug)]
pub enum Count {
    ReadsAndWrites,
    SystemCalls,
    Instructions,
}

impl Count {
    /// Why it cannot be counted here, if so. It is tried, since a container may have the tool and forbid it to look into
    /// processes.
    pub fn missing(self) -> Option<String> {
        let tried = tempfile::tempdir().and_then(|files| {
            let counted = files.path().join("counted");
            run(self.tool(&counted).arg("true"))
        });
        tried.err().map(|e| match e.kind() {
            io::ErrorKind::NotFound => format!("there is no {}", self.tool_name()),
            _ => format!("{} does not work here: {e}", self.tool_name()),
        })
    }

    /// What each publish takes in so many rounds beyond so many others. In a round each caller publishes once.
    pub fn each(
        self,
        address: SocketAddr,
        load: Load,
        [short, long]: [usize; 2],
    ) -> io::Result<f64> {
        let fewer = self.of(address, load, short)?;
        let more = self.of(address, load, long)?;
        Ok((more as f64 - fewer as f64) / (load.callers * (long - short)) as f64)
    }

    fn of(self, address: SocketAddr, load: Load, rounds: usize) -> io::Result<u64> {
        let files = tempfile::tempdir()?;
        let counted = files.path().join("counted");
        let mut command = self.tool(&counted);
        command
            .arg(example::program_in("gates_publisher", "release")?)
            .arg(address.to_string())
            .args([load.callers, rounds].map(|number| number.to_string()))
            .args(load.options);
        run(&mut command)?;
        let counted = fs::read_to_string(counted)?;
        let unreadable = || io::Error::other(format!("{} told:\n{counted}", self.tool_name()));
        self.read(&counted).ok_or_else(unreadable)
    }

    fn tool_name(self) -> &'static str {
        match self {
            Self::ReadsAndWrites | Self::SystemCalls => "strace",
            Self::Instructions => "valgrind",
        }
    }

    /// The tool, which puts into `counted` what it has counted; the program and its arguments are to follow.
    fn tool(self, counted: &Path) -> Command {
        let mut tool = Command::new(self.tool_name());
        match self {
            Self::ReadsAndWrites | Self::SystemCalls => {
                tool.args(["-f", "-c", "-o"]).arg(counted);
            }
            Self::Instructions => {
                let out = format!("--callgrind-out-file={}", counted.display());
                tool.args(["--tool=callgrind", "--quiet", &out]);
            }
        }
        tool
    }

    fn read(self, counted: &str) -> Option<u64> {
        match self {
            Self::ReadsAndWrites => calls(counted, |name| READ_OR_WRITE.contains(&name)),
            Self::SystemCalls => calls(counted, |name| name != "total"),
            Self::Instructions => {
                let mut lines = counted.lines();
                let total = lines.find_map(|line| line.strip_prefix("summary: "))?;
                total.trim().parse().ok()
            }
        }
    }
}

fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.trim_end();
    Err(io::Error::other(format!("{}: {said}", output.status)))
}

/// The calls of strace's table whose names are wanted: `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn calls(table: &str, is_wanted: impl Fn(&str) -> bool) -> Option<u64> {
    let calls = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let calls: u64 = words.get(3)?.parse().ok()?;
        is_wanted(words.last()?).then_some(calls)
    };
    // Without a table it has seen nothing.
    let is_table = table.contains("syscall");
    is_table.then(|| table.lines().filter_map(calls).sum())
}
