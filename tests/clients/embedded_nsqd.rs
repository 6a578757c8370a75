//! The example `embedded_nsqd`: a program like nsqd.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use libtest_mimic::{Failed, Trial};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{example, raw_client, wait};

/// A running `embedded_nsqd` on a free port. It is killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    pub address: String,
}

impl Program {
    /// Starts it with these flags besides its address.
    pub fn start(flags: &[&str]) -> io::Result<Self> {
        let mut child = Command::new(example::build("embedded_nsqd")?)
            .args(["--tcp-address", "127.0.0.1:0"])
            .args(flags)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut address)?;
        }
        let address = address.trim_end().to_owned();
        Ok(Self { child, address })
    }

    fn end(mut self, signal: Signal) -> io::Result<ExitStatus> {
        kill_process(Pid::from_child(&self.child), signal)?;
        wait::poll(wait::PATIENCE, || self.child.try_wait().transpose())
            .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already, when all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("embedded_nsqd::it_ends_cleanly_when_it_is_told_to", ends),
        Trial::test("embedded_nsqd::it_takes_nsqds_flags", flags),
        Trial::test("embedded_nsqd::it_refuses_a_wrong_command_line", refuses),
    ]
}

fn ends() -> Result<(), Failed> {
    for signal in [Signal::TERM, Signal::INT] {
        let nsqd = Program::start(&[])?;
        raw_client::publish(&nsqd.address, "t", &[b"x"])?;
        // A client that is still there does not stand in its way.
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
    ])?;
    // The heartbeat interval is not told, but the largest one is taken.
    let mut client = TcpStream::connect(&nsqd.address)?;
    client.write_all(
        b"  V2IDENTIFY\n\0\0\0\x37{\"feature_negotiation\":true,\"heartbeat_interval\":10000}",
    )?;
    let mut told = [0; 120];
    client.read_exact(&mut told)?;
    let told = told.escape_ascii().to_string().replace('\\', "");
    for setting in [
        r#""max_rdy_count":7,"#,
        r#""max_msg_timeout":7200000,"#,
        r#""msg_timeout":3600000,"#,
    ] {
        assert!(told.contains(setting), "{told}");
    }
    raw_client::publish(&nsqd.address, "t", &[b"12345"])?;
    let refusal = raw_client::publish(&nsqd.address, "t", &[b"123456"]);
    assert_eq!(
        refusal.unwrap_err().to_string(),
        "E_BAD_MESSAGE PUB message too big 6 > 5"
    );
    Ok(())
}

fn refuses() -> Result<(), Failed> {
    let program = example::build("embedded_nsqd")?;
    let output = |flag: &str| Command::new(&program).arg(flag).output();
    let Output { status, stderr, .. } = output("--mem-queue-size=1")?;
    assert_eq!(status.code(), Some(2));
    let said = String::from_utf8_lossy(&stderr).into_owned();
    assert!(said.contains("--mem-queue-size"), "{said}");
    assert_eq!(output("--tcp-address=nowhere")?.status.code(), Some(1));
    Ok(())
}
