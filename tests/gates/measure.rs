//! Counts system calls with strace, and instructions with callgrind, in a process of its own.
//!
//! The difference of two runs of different length is divided by the difference of their messages,
//! so that starting, connecting and ending are not counted.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::example;

/// System calls that move data. The others wait for these, or run before and after.
const READ_OR_WRITE: &[&str] = &[
    "write", "writev", "sendto", "sendmsg", "read", "readv", "recvfrom", "recvmsg",
];

/// What the program does.
#[derive(Clone, Copy, Debug)]
pub enum Load {
    /// In a round each caller publishes once.
    Publish {
        callers: usize,
        /// Options of the producer, each as `name=value`.
        options: &'static [&'static str],
    },
    /// The same through a handle.
    Handle { callers: usize },
    /// The same with a pool of several peers.
    Pool { callers: usize },
    /// In a round as many messages are consumed as may be in flight.
    Consume { max_in_flight: usize, mode: Mode },
}

/// Who handles messages.
#[derive(Clone, Copy, Debug)]
pub enum Mode {
    /// A `Recipient<IncomingMessage>`.
    Each,
    /// A `Recipient<IncomingMessages>`.
    Batches,
}

impl Mode {
    pub fn name(self) -> &'static str {
        self.argument()[0]
    }

    fn argument(self) -> &'static [&'static str] {
        match self {
            Self::Each => &["each"],
            Self::Batches => &["batches"],
        }
    }
}

impl Load {
    /// The messages of a round.
    pub fn round(self) -> usize {
        match self {
            Self::Publish { callers, .. } | Self::Handle { callers } | Self::Pool { callers } => {
                callers
            }
            Self::Consume { max_in_flight, .. } => max_in_flight,
        }
    }

    /// The program, and its arguments behind the address, the messages of a round and the rounds.
    fn program(&self) -> (&'static str, &[&'static str]) {
        match self {
            Self::Publish { options, .. } => ("gates_publisher", options),
            Self::Handle { .. } => ("gates_handle", &[]),
            Self::Pool { .. } => ("gates_pool", &[]),
            Self::Consume { mode, .. } => ("gates_consumer", mode.argument()),
        }
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub enum Count {
    ReadsAndWrites,
    SystemCalls,
    Instructions,
}

impl Count {
    /// The reason why it cannot be counted here. The tool is run, since a container may have it and
    /// forbid tracing.
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

    /// The cost per message.
    pub fn each(
        self,
        addresses: &[SocketAddr],
        load: Load,
        [short, long]: [usize; 2],
    ) -> io::Result<f64> {
        let fewer = self.of(addresses, load, short)?;
        let more = self.of(addresses, load, long)?;
        Ok((more as f64 - fewer as f64) / (load.round() * (long - short)) as f64)
    }

    fn of(self, addresses: &[SocketAddr], load: Load, rounds: usize) -> io::Result<u64> {
        let files = tempfile::tempdir()?;
        let counted = files.path().join("counted");
        let (program, arguments) = load.program();
        let addresses: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        let mut command = self.tool(&counted);
        command
            .arg(example::featureless_program(program)?)
            .arg(addresses.join(","))
            .args([load.round(), rounds].map(|number| number.to_string()))
            .args(arguments);
        run(&mut command)?;
        let counted = fs::read_to_string(counted)?;
        let unreadable = || io::Error::other(format!("{} printed:\n{counted}", self.tool_name()));
        self.read(&counted).ok_or_else(unreadable)
    }

    fn tool_name(self) -> &'static str {
        match self {
            Self::ReadsAndWrites | Self::SystemCalls => "strace",
            Self::Instructions => "valgrind",
        }
    }

    /// The tool, which writes its result to `counted`. The program and its arguments follow.
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stderr = stderr.trim_end();
    Err(io::Error::other(format!("{}: {stderr}", output.status)))
}

/// Sums the calls with these names in strace's table:
/// `% time, seconds, usecs/call, calls, [errors,] syscall`.
fn calls(table: &str, is_counted: impl Fn(&str) -> bool) -> Option<u64> {
    let calls = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let calls: u64 = words.get(3)?.parse().ok()?;
        is_counted(words.last()?).then_some(calls)
    };
    let is_table = table.contains("syscall");
    is_table.then(|| table.lines().filter_map(calls).sum())
}
