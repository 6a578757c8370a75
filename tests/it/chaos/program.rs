//! The example `chaos_proxy`, the proxy as a program. Cargo builds it first, so only with `FULL=1`.

use std::{
    io::{BufRead, BufReader},
    net::TcpStream,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{echo::Echo, exchange};
use crate::support::{
    example, full,
    wait::{PATIENCE, poll},
};

/// A running `chaos_proxy`. It is killed when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn chaos_proxy_prints_its_faults_and_counts_and_ends_on_signals() {
    if !full() {
        return;
    }
    let echo = Echo::start();
    let path = example::program("chaos_proxy").expect("the example can be built");
    for signal in [Signal::TERM, Signal::INT] {
        let upstream = echo.address();
        let mut command = Command::new(&path);
        command.args(["--upstream", &upstream, "--seed", "42"]);
        command.args(["--faults", "cut-down=3,times=1"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut program = Program(command.spawn().unwrap());
        let mut lines = BufReader::new(program.0.stdout.take().unwrap()).lines();
        let mut line = || lines.next().expect("another line").unwrap();

        let address = line();
        let repeat = format!("--upstream {upstream} --faults cut-down=3,times=1 --seed 42");
        assert_eq!(line(), repeat);
        for received in [&b"byt"[..], b"byte"] {
            let mut client = TcpStream::connect(&address).unwrap();
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            assert_eq!(exchange(&mut client, b"byte"), received);
        }
        kill_process(Pid::from_child(&program.0), signal).unwrap();
        assert_eq!(line(), "2 connections, 8 bytes up, 7 bytes down");
        let status = poll(PATIENCE, || program.0.try_wait().transpose());
        assert!(status.expect("it ends").unwrap().success());
    }
}
