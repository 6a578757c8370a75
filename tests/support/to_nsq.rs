//! The example `to_nsq` as a child process that reads lines at a steady rate.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use actix_nsq::bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};

use super::{example, wait};

/// A running `to_nsq`. Killed when dropped.
#[derive(Debug)]
pub struct ToNsq {
    child: Child,
    started: Instant,
    files: tempfile::TempDir,
    /// Number of lines written to its standard input.
    written: Arc<AtomicUsize>,
}

/// The results of a `to_nsq` that has exited.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub took: Duration,
    pub stderr: String,
    /// The outcome log: number, outcome and error (or an empty text) of each line.
    pub outcomes: Vec<(usize, String, String)>,
}

impl Ended {
    /// Number of lines that may be stored.
    pub fn ambiguous(&self) -> usize {
        let is_it = |it: &&(_, String, _)| it.1 == "maybe_written";
        self.outcomes.iter().filter(is_it).count()
    }
}

/// The path of the program: the variable `TO_NSQ_BIN`, or the example.
pub fn program() -> io::Result<PathBuf> {
    example::program("to_nsq")
}

impl ToNsq {
    /// Starts it and writes the lines to its standard input, at this rate per second.
    pub fn start(lines: Vec<Bytes>, rate: usize, options: &[String]) -> io::Result<Self> {
        let mut to_nsq = Self::reading(Stdio::piped(), options)?;
        let stdin = to_nsq.child.stdin.take();
        let written = Arc::clone(&to_nsq.written);
        // Ends at the latest when the program does.
        std::thread::spawn(move || stdin.map(|stdin| write_lines(stdin, &lines, rate, &written)));
        Ok(to_nsq)
    }

    /// Starts it with this standard input.
    pub fn reading(stdin: Stdio, options: &[String]) -> io::Result<Self> {
        let files = tempfile::tempdir()?;
        let child = Command::new(program()?)
            .arg("--outcome-log")
            .arg(files.path().join("outcomes"))
            .args(options)
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(File::create(files.path().join("stderr"))?)
            .spawn()?;
        Ok(Self {
            child,
            started: Instant::now(),
            files,
            written: Arc::default(),
        })
    }

    /// Number of lines written to its standard input so far.
    pub fn written(&self) -> usize {
        self.written.load(Ordering::Relaxed)
    }

    /// The CPU time that it has used, and its peak memory in bytes, by Linux.
    pub fn cpu_time_and_peak_memory(&self) -> io::Result<(Duration, usize)> {
        let proc = PathBuf::from(format!("/proc/{}", self.child.id()));
        // Nanoseconds on the CPU are first.
        let mut cpu_time = 0;
        for thread in fs::read_dir(proc.join("task"))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            cpu_time += text
                .split(' ')
                .next()
                .and_then(|it| it.parse().ok())
                .unwrap_or(0);
        }
        let status = fs::read_to_string(proc.join("status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.trim().strip_suffix(" kB")?.parse::<usize>().ok());
        let kib = kib.ok_or_else(|| io::Error::other("no peak memory"))?;
        Ok((Duration::from_nanos(cpu_time), kib << 10))
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::TERM)?)
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGSTOP or SIGCONT.
    pub fn stop(&self, stop: bool) -> io::Result<()> {
        let signal = if stop { Signal::STOP } else { Signal::CONT };
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.files.path().join("stderr")).unwrap_or_default()
    }

    /// Waits for the program to exit.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<Ended> {
        let status = wait::poll(timeout, || self.child.try_wait().transpose());
        let status = status.unwrap_or_else(|| {
            let problem = format!("to_nsq does not exit:\n{}", self.stderr());
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
        // Both fail if it has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_lines(
    stdin: ChildStdin,
    lines: &[Bytes],
    rate: usize,
    written: &AtomicUsize,
) -> io::Result<()> {
    let mut stdin = BufWriter::new(stdin);
    let started = Instant::now();
    let mut next = 0;
    while next < lines.len() {
        let due = (started.elapsed().as_secs_f64() * rate as f64) as usize;
        let due = due.clamp(next, lines.len());
        for line in &lines[next..due] {
            stdin.write_all(line)?;
            stdin.write_all(b"\n")?;
            written.fetch_add(1, Ordering::Relaxed);
        }
        next = due;
        stdin.flush()?;
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// `<number> <outcome>[ <error>]`
fn parse(line: &str) -> io::Result<(usize, String, String)> {
    let mut words = line.splitn(3, ' ');
    let number = words.next().and_then(|word| word.parse().ok());
    let (Some(number), Some(outcome)) = (number, words.next()) else {
        return Err(io::Error::other(format!("not an outcome: {line:?}")));
    };
    let error = words.next().unwrap_or_default();
    Ok((number, outcome.to_owned(), error.to_owned()))
}
