//! A host that is simulated by a network namespace.

use std::ffi::OsStr;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

/// A network namespace `/run/netns/<name>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedHost {
    pub name: String,
    /// Its address on the network on which faults are injected.
    pub address: Ipv4Addr,
    /// Its address on the network over which the test controls it.
    pub control: Ipv4Addr,
}

impl SimulatedHost {
    /// A command that runs a program on this host. The program replaces the started process, so
    /// that it receives signals.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name));
        command.arg(program);
        command
    }

    /// A port of it, for the test.
    pub fn control(&self, port: u16) -> SocketAddr {
        (self.control, port).into()
    }
}
