//! The example `embedded_nsqd`, which runs the embedded nsqd as a program.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{example, raw_client, wait};

/// A running `embedded_nsqd` on a free port. Killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    pub address: String,
    pub http_address: String,
}

impl Program {
    /// Starts the program with an HTTP API and these additional flags.
    pub fn start(flags: &[&str]) -> io::Result<Self> {
        Self::start_example("embedded_nsqd", flags)
    }

    /// Starts an example that prints the address of TCP first and that of HTTP second.
    pub fn start_example(name: &str, flags: &[&str]) -> io::Result<Self> {
        let mut child = Command::new(example::program(name)?)
            .args(["--tcp-address", "127.0.0.1:0", "-http-address=127.0.0.1:0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut lines = BufReader::new(stdout).lines();
        let mut address = || lines.next().ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Self {
            address: address()?,
            http_address: address()?,
            child,
        })
    }

    pub fn end(mut self, signal: Signal) -> io::Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), signal)?;
        wait::poll(wait::PATIENCE, || self.child.try_wait().transpose())
            .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Fails if the program has exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test(
            "embedded_nsqd::program_exits_cleanly_on_sigterm_and_sigint",
            exits,
        ),
        Trial::test("embedded_nsqd::program_accepts_flags_of_nsqd", flags),
        Trial::test("embedded_nsqd::program_rejects_invalid_flags", rejects),
    ]
}

fn exits() -> Result<(), Failed> {
    for signal in [Signal::TERM, Signal::INT] {
        let nsqd = Program::start(&[])?;
        raw_client::publish(&nsqd.address, "t", &[b"x"])?;
        // An open connection does not prevent the exit.
        let _client = TcpStream::connect(&nsqd.address)?;
        assert!(nsqd.end(signal)?.success());
    }
    Ok(())
}

fn flags() -> Result<(), Failed> {
    let nsqd = Program::start(&[
        "-max-msg-size=5",
        "--max-body-size=100",
        "-msg-timeout",
        "1h0m0s",
        "--max-msg-timeout",
        "2h",
        "-max-req-timeout=1m30s",
        "-max-heartbeat-interval=10s",
        "-max-rdy-count",
        "7",
        "-mem-queue-size=0",
        "-data-path",
        "/nowhere",
    ])?;
    let mut client = TcpStream::connect(&nsqd.address)?;
    client.write_all(b"  V2IDENTIFY\n\0\0\0\x1c{\"feature_negotiation\":true}")?;
    let mut response = [0; 120];
    client.read_exact(&mut response)?;
    let response = response.escape_ascii().to_string().replace('\\', "");
    for setting in [
        r#""max_rdy_count":7,"#,
        r#""max_msg_timeout":7200000,"#,
        r#""msg_timeout":3600000,"#,
    ] {
        assert!(response.contains(setting), "{response}");
    }
    raw_client::publish(&nsqd.address, "t", &[b"12345"])?;
    let too_large = raw_client::publish(&nsqd.address, "t", &[b"123456"]);
    assert_eq!(
        too_large.unwrap_err().to_string(),
        "E_BAD_MESSAGE PUB message too big 6 > 5"
    );

    // The response does not contain the maximum heartbeat interval.
    let mut client = TcpStream::connect(&nsqd.address)?;
    client.write_all(b"  V2IDENTIFY\n\0\0\0\x1c{\"heartbeat_interval\":10001}")?;
    let mut rejected = Vec::new();
    client.read_to_end(&mut rejected)?;
    let text = "E_BAD_BODY IDENTIFY heartbeat interval (10001) is invalid";
    assert!(
        rejected.ends_with(text.as_bytes()),
        "{}",
        rejected.escape_ascii()
    );
    Ok(())
}

fn rejects() -> Result<(), Failed> {
    let program = example::program("embedded_nsqd")?;
    let output = |flag: &str| Command::new(&program).arg(flag).output();
    for (flag, named) in [
        ("-worker-id=1", "-worker-id"),
        ("-broadcast-tcp-port=none", "--broadcast-tcp-port"),
    ] {
        let Output { status, stderr, .. } = output(flag)?;
        assert_eq!(status.code(), Some(2), "{flag}");
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(stderr.contains(named), "{flag}: {stderr}");
    }
    assert_eq!(output("--tcp-address=nowhere")?.status.code(), Some(1));
    Ok(())
}
