//! Hosts in network namespaces, the bridge that joins them, and the faults of their links.
//!
//! Every host has two interfaces: `eth0` on the network where faults are injected, and one on a
//! network without faults, over which the campaign controls it.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::support::simulated_host::SimulatedHost;

/// The first two bytes of the addresses: with faults, and for control.
const NETWORKS: [&str; 2] = ["10.77", "10.78"];

/// All addresses of hosts with faults. The prefix is longer than that of the network, so that a
/// route to it takes precedence.
const ALL_HOSTS: &str = "10.77.0.0/17";

/// What a relay does with the frames of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Disturbance {
    pub delay_ms: u32,
    pub jitter_ms: u32,
    pub loss_percent: u32,
}

/// A network of hosts. A host is called by its number.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<SimulatedHost>,
    relay: Result<Relay, String>,
    rate_limits: Result<(), String>,
}

impl Network {
    /// Connects a host for each name. Those of `relayed` are connected over a relay, if possible.
    pub fn build(names: &[String], relayed: &[usize]) -> io::Result<Self> {
        let relay = Relay::start(relayed);
        let relayed = if relay.is_ok() { relayed } else { &[] };
        let mut switch = String::from(
            "link set lo up\nlink add data type bridge\nlink add control type bridge\n\
             link set data up\nlink set control up\n",
        );
        writeln!(switch, "addr add {}.255.254/16 dev control", NETWORKS[1]).unwrap();
        let mut hosts = Vec::new();
        for (number, name) in names.iter().enumerate() {
            let control = |side: &str| format!("type veth peer name {side} netns {name}");
            writeln!(switch, "netns add {name}").unwrap();
            if relayed.contains(&number) {
                writeln!(switch, "link set h{number} netns {name} name eth0").unwrap();
            } else {
                writeln!(switch, "link add d{number} {}", control("eth0")).unwrap();
            }
            writeln!(switch, "link add c{number} {}", control("control")).unwrap();
            writeln!(switch, "link set d{number} master data up").unwrap();
            writeln!(switch, "link set c{number} master control up").unwrap();
            let [address, control] =
                [77, 78].map(|net| Ipv4Addr::new(10, net, 0, number as u8 + 1));
            hosts.push(SimulatedHost {
                name: name.clone(),
                address,
                control,
            });
        }
        run(Command::new("ip").args(["-batch", "-"]), &switch)?;
        for host in &hosts {
            let lines = format!(
                "link set lo up\naddr add {}/16 dev eth0\naddr add {}/16 dev control\n\
                 link set eth0 up\nlink set control up\n",
                host.address, host.control
            );
            run(host.command("ip").args(["-batch", "-"]), &lines)?;
        }
        let mut network = Self {
            hosts,
            relay,
            rate_limits: Ok(()),
        };
        network.rate_limits = network
            .limit(0, Some(100))
            .and_then(|()| network.limit(0, None))
            .map_err(|e| e.to_string());
        Ok(network)
    }

    pub fn host(&self, number: usize) -> &SimulatedHost {
        &self.hosts[number]
    }

    /// Why frames cannot be delayed and lost here, if so.
    pub fn no_relay(&self) -> Option<&String> {
        self.relay.as_ref().err()
    }

    /// Why rates cannot be limited here, if so.
    pub fn no_rate_limits(&self) -> Option<&String> {
        self.rate_limits.as_ref().err()
    }

    /// Pulls the cable of a host, or plugs it in.
    pub fn set_link(&self, host: usize, up: bool) -> io::Result<()> {
        let state = if up { "up" } else { "down" };
        let port = format!("d{host}");
        run(Command::new("ip").args(["link", "set", &port, state]), "")
    }

    /// Blocks what a host sends, to another one or to all; what it receives passes.
    pub fn block(&self, from: usize, to: Option<usize>, blocked: bool) -> io::Result<()> {
        let change = if blocked { "add" } else { "del" };
        let to = to.map_or(ALL_HOSTS.to_owned(), |to| {
            self.hosts[to].address.to_string()
        });
        let mut command = self.hosts[from].command("ip");
        run(command.args(["route", change, "blackhole", &to]), "")
    }

    /// Limits the rate of a host in both directions, in kbit/s.
    pub fn limit(&self, host: usize, rate: Option<u32>) -> io::Result<()> {
        let port = format!("d{host}");
        let sides = [
            (Command::new("tc"), port.as_str()),
            (self.hosts[host].command("tc"), "eth0"),
        ];
        for (mut command, device) in sides {
            match rate {
                Some(rate) => command
                    .args(["qdisc", "replace", "dev", device, "root", "tbf", "rate"])
                    .arg(format!("{rate}kbit"))
                    .args(["burst", "4kb", "latency", "300ms"]),
                None => command.args(["qdisc", "del", "dev", device, "root"]),
            };
            run(&mut command, "")?;
        }
        Ok(())
    }

    /// Changes what the relay does with the frames of a host.
    pub fn disturb(&mut self, host: usize, disturbance: Disturbance) -> io::Result<()> {
        match &mut self.relay {
            Ok(relay) => relay.disturb(host, disturbance),
            Err(reason) => Err(io::Error::other(reason.clone())),
        }
    }
}

/// The program that passes the frames of some hosts. It ends with its standard input.
#[derive(Debug)]
struct Relay {
    child: Child,
    commands: ChildStdin,
}

impl Relay {
    /// Creates the links of these hosts.
    fn start(hosts: &[usize]) -> Result<Self, String> {
        let child = Command::new("python3")
            .args(["-c", include_str!("relay.py")])
            .args(hosts.iter().map(usize::to_string))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.map_err(|e| format!("python3: {e}"))?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(commands), Some(stdout), Some(mut stderr)) = (stdin, stdout, stderr) else {
            return Err("the relay has no pipes".to_owned());
        };
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        if read.is_ok() && line == "ready\n" {
            return Ok(Self { child, commands });
        }
        drop(commands);
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        let _ = child.wait();
        Err(text.lines().last().unwrap_or("the relay ended").to_owned())
    }

    fn disturb(&mut self, host: usize, disturbance: Disturbance) -> io::Result<()> {
        let Disturbance {
            delay_ms,
            jitter_ms,
            loss_percent,
        } = disturbance;
        writeln!(
            self.commands,
            "{host} {delay_ms} {jitter_ms} {loss_percent}"
        )
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command with this standard input.
fn run(command: &mut Command, input: &str) -> io::Result<()> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}", text.trim())))
}
