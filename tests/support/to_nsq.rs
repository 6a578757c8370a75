//! The example program `to_nsq` as a child process: built, offered numbered lines at a steady rate, and heard to the end.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{example, wait};

/// Lines come in bursts this far apart, as many as the rate makes of it.
const BURST: Duration = Duration::from_millis(2);

/// What is offered on the standard input: a line for each number from 0.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    pub count: usize,
    /// Lines per second; a program that is slower takes longer.
    pub rate: usize,
}

/// A running `to_nsq`. It is killed when dropped.
#[derive(Debug)]
pub struct ToNsq {
    child: Child,
    started: Instant,
    files: tempfile::TempDir,
}

/// What a `to_nsq` that has ended left behind.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub took: Duration,
    pub stderr: String,
    /// Number, outcome and, if any, error of each line of the outcome log.
    pub outcomes: Vec<(usize, String, String)>,
}

impl ToNsq {
    /// Starts publishing `lines`, whose texts `text` knows, with these arguments besides the outcome log.
    pub fn start(lines: Lines, text: fn(usize) -> String, arguments: &[&str]) -> io::Result<Self> {
        let files = tempfile::tempdir()?;
        let mut child = Command::new(program()?)
            .arg("--outcome-log")
            .arg(files.path().join("outcomes"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(files.path().join("stderr"))?)
            .spawn()?;
        let stdin = child.stdin.take();
        // It ends with the program at the latest.
        std::thread::spawn(move || stdin.map(|stdin| offer(stdin, lines, text)));
        Ok(Self {
            child,
            started: Instant::now(),
            files,
        })
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// SIGSTOP and SIGCONT: stopped, it does nothing, and its time goes on.
    pub fn stop(&self, stopped: bool) -> io::Result<()> {
        let signal = if stopped { Signal::STOP } else { Signal::CONT };
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// What it has said on its standard error so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.files.path().join("stderr")).unwrap_or_default()
    }

    /// Waits until it has ended; an error if it does not in time.
    pub fn wait(&mut self, dead_line: Duration) -> io::Result<Ended> {
        let status = wait::poll(dead_line, || self.child.try_wait().transpose());
        let status = status.unwrap_or_else(|| {
            let problem = format!("to_nsq does not end; it said:\n{}", self.stderr());
            Err(io::Error::new(io::ErrorKind::TimedOut, problem))
        })?;
        let log = fs::read_to_string(self.files.path().join("outcomes"))?;
        Ok(Ended {
            status,
            took: self.started.elapsed(),
            stderr: self.stderr(),
            outcomes: log.lines().map(parse).collect::<io::Result<_>>()?,
        })
    }
}

impl Drop for ToNsq {
    fn drop(&mut self) {
        // It has ended already, when all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn offer(stdin: ChildStdin, lines: Lines, text: fn(usize) -> String) -> io::Result<()> {
    let mut stdin = BufWriter::new(stdin);
    let started = Instant::now();
    let mut next = 0;
    while next < lines.count {
        let due = (started.elapsed().as_secs_f64() * lines.rate as f64) as usize;
        for number in next..due.min(lines.count) {
            writeln!(stdin, "{}", text(number))?;
        }
        next = next.max(due.min(lines.count));
        stdin.flush()?;
        std::thread::sleep(BURST);
    }
    Ok(())
}

/// `<number> <outcome>[ <error>]`
fn parse(line: &str) -> io::Result<(usize, String, String)> {
    let mut words = line.splitn(3, ' ');
    let number = words.next().and_then(|word| word.parse().ok());
    let (Some(number), Some(outcome)) = (number, words.next()) else {
        return Err(io::Error::other(format!("no outcome: {line:?}")));
    };
    let error = words.next().unwrap_or_default();
    Ok((number, outcome.to_owned(), error.to_owned()))
}

/// The program that `TO_NSQ_BIN` names, or else the example.
pub fn program() -> io::Result<PathBuf> {
    example::program("to_nsq")
}
