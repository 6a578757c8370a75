//! The example `chaos_proxy`: the same as a program.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::echo::Echo;
use crate::support::{
    example,
    wait::{PATIENCE, poll},
};

/// A running `chaos_proxy`. It is killed when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It has ended already, when all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command() -> Command {
    let program = example::program("chaos_proxy").expect("the example can be built");
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command
}

#[test]
fn the_example_does_what_it_says_and_ends_when_it_is_told_to() {
    let echo = Echo::start();
    for signal in [Signal::TERM, Signal::INT] {
        let upstream = echo.address();
        let mut command = command();
        command.args(["--upstream", &upstream, "--seed", "42"]);
        command.args(["--faults", "cut-down=3,times=1"]);
        let mut program = Program(command.spawn().unwrap());
        let mut said = BufReader::new(program.0.stdout.take().unwrap()).lines();
        let mut line = || said.next().expect("another line").unwrap();

        let address = line();
        let again = format!("--upstream {upstream} --faults cut-down=3,times=1 --seed 42");
        assert_eq!(line(), again);
        for came in [&b"sai"[..], b"said"] {
            let mut client = TcpStream::connect(&address).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            assert_eq!(super::exchange(&mut client, b"said"), came);
        }
        kill_process(Pid::from_child(&program.0), signal).unwrap();
        assert_eq!(line(), "2 connections, 8 bytes up, 7 bytes down");
        let status = poll(PATIENCE, || program.0.try_wait().transpose());
        assert!(status.expect("it ends").unwrap().success());
    }
}

#[test]
fn the_example_names_what_is_wrong_with_its_flags() {
    for (flag, value, why) in [
        (
            "--faults",
            "latency=1s,lag=2s",
            "lag=2s is none of: latency, jitter",
        ),
        ("--upstream", "nsqd", "'nsqd'"),
        ("--upstream", "127.0.0.1:99999", "1 to 65535"),
        ("--listen", "127.0.0.1", "--listen 127.0.0.1: "),
    ] {
        let mut program = command();
        program.args([flag, value]).stderr(Stdio::piped());
        let mut program = Program(program.spawn().unwrap());
        let mut said = String::new();
        let mut stderr = program.0.stderr.take().unwrap();
        stderr.read_to_string(&mut said).unwrap();
        assert!(said.contains(flag) && said.contains(why), "{said}");
        assert!(!program.0.wait().unwrap().success());
    }
}
