//! NSQ's own command-line tools: `to_nsq` publishes, `nsq_tail` consumes, and `nsq_stat` reads the
//! statistics.

use std::io::{self, Write};
use std::process::{Command, Stdio};

use libtest_mimic::{Completion, Failed, Trial};

use crate::embedded_nsqd::Program;
use crate::support::broker::Kind;
use crate::support::real_nsqd::RealNsqd;
use crate::support::{nsqd_program, trials};

const TOPIC: &str = "nsq-tools";
const LINES: usize = 100;

pub fn trials() -> Vec<Trial> {
    let name = |kind: &str| format!("{kind}::nsqs_tools_publish_consume_and_read_statistics");
    vec![
        Trial::ignorable_test(name("embedded_nsqd"), || {
            with_tools(|| {
                let nsqd = Program::start(&[])?;
                run(&nsqd.address, &nsqd.http_address)
            })
        }),
        Trial::ignorable_test(name("real"), || {
            with_tools(|| {
                let nsqd = RealNsqd::start::<&str>(&[])?;
                run(&nsqd.address(), &nsqd.http_address())
            })
        }),
    ]
}

/// Runs a test that needs NSQ's tools, which are found or built with a real nsqd.
pub fn with_tools(test: impl FnOnce() -> Result<(), Failed>) -> Result<Completion, Failed> {
    match trials::without_a_real_nsqd(Kind::Real) {
        Some(instead) => instead,
        None => test().map(|()| Completion::Completed),
    }
}

fn run(address: &str, http_address: &str) -> Result<(), Failed> {
    let lines: String = (0..LINES).map(|line| format!("line {line}\n")).collect();
    let flag = format!("--nsqd-tcp-address={address}");
    let mut publisher = tool("to_nsq")?
        .args([&flag, "--topic", TOPIC])
        .stdin(Stdio::piped())
        .spawn()?;
    // Dropping stdin ends the input.
    publisher
        .stdin
        .take()
        .ok_or("to_nsq has a stdin")?
        .write_all(lines.as_bytes())?;
    assert!(publisher.wait()?.success(), "to_nsq");

    let tail = tool("nsq_tail")?
        .args([&flag, "--topic", TOPIC, "--channel", "tail"])
        .args(["-n", &LINES.to_string()])
        .stdout(Stdio::piped())
        .output()?;
    assert!(tail.status.success(), "nsq_tail: {}", tail.status);
    assert_eq!(String::from_utf8_lossy(&tail.stdout), lines);

    let stat = tool("nsq_stat")?
        .args(["--nsqd-http-address", http_address])
        .args(["--topic", TOPIC, "--channel", "tail"])
        .args(["--interval=10ms", "--count=1"])
        .stdout(Stdio::piped())
        .output()?;
    assert!(stat.status.success(), "nsq_stat: {}", stat.status);
    // The last two of the columns: messages and clients.
    let report = String::from_utf8_lossy(&stat.stdout);
    let columns: Vec<_> = report.split_whitespace().rev().take(2).collect();
    assert_eq!(columns[1], LINES.to_string(), "{report}");
    Ok(())
}

pub fn tool(name: &str) -> io::Result<Command> {
    let program = nsqd_program::find_other(name).map_err(io::Error::other)?;
    let mut command = Command::new(program);
    command.stderr(Stdio::null());
    Ok(command)
}
