//! An example as a child process that runs until a signal ends it.

use std::fs::{self, File};
use std::io;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::example;
use super::wait::{self, PATIENCE};

/// A running tool. Killed when dropped.
#[derive(Debug)]
pub struct Tool {
    child: Child,
    files: tempfile::TempDir,
}

/// The result of a tool that has exited.
#[derive(Debug)]
pub struct Ended {
    /// `None`: it was killed.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Tool {
    /// Starts an example.
    pub fn start(example: &str, options: &[String]) -> io::Result<Self> {
        let mut command = Command::new(example::program(example)?);
        command.args(options);
        Self::run(command)
    }

    /// Starts a command.
    pub fn run(mut command: Command) -> io::Result<Self> {
        let files = tempfile::tempdir()?;
        let child = command
            .stdin(Stdio::null())
            .stdout(File::create(files.path().join("stdout"))?)
            .stderr(File::create(files.path().join("stderr"))?)
            .spawn()?;
        Ok(Self { child, files })
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(self.files.path().join("stdout")).unwrap_or_default()
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(self.files.path().join("stderr")).unwrap_or_default()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits until standard error contains this text. Panics after [`PATIENCE`].
    pub async fn until_reported(&self, text: &str) {
        wait::until(text, || self.stderr().contains(text)).await;
    }

    /// Waits for its exit, without blocking the runtime. Panics after [`PATIENCE`].
    pub async fn ended(mut self) -> Ended {
        let Some(status) = exited(&mut self.child).await else {
            panic!("it does not exit:\n{}", self.stderr());
        };
        Ended {
            code: status.code(),
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

/// Waits for the exit of a program, without blocking the runtime. `None` after [`PATIENCE`].
pub async fn exited(child: &mut Child) -> Option<ExitStatus> {
    let mut status = None;
    wait::comes_to_hold(PATIENCE, || {
        status = child.try_wait().ok().flatten();
        status.is_some()
    })
    .await;
    status
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Both fail if it has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
