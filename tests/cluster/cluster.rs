//! The programs on the hosts, and how faults are injected.

use std::io;
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::client::{self, CHANNEL, HANDLED, STORED, TOPICS};
use crate::faults::Fault;
use crate::layout::Layout;
use crate::messages::Messages;
use crate::network::{Disturbance, Network};
use crate::support::nsqd_program::{self, Found};
use crate::support::raw_client::{self, Access};
use crate::support::real_lookupd::RealLookupd;
use crate::support::real_nsqd::{DURABLE, RealNsqd};
use crate::support::record::Record;
use crate::support::wait;

/// Timeout of steps that concern all hosts.
pub const TIMEOUT: Duration = Duration::from_secs(20);

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// The hosts and the programs on them.
pub struct Cluster {
    layout: Layout,
    network: Network,
    nsqds: Vec<RealNsqd>,
    lookupds: Vec<RealLookupd>,
    /// Without those that make an `OK` survive a kill.
    nsqd_flags: Vec<Vec<String>>,
    /// How often each nsqd was killed.
    kills: Vec<usize>,
}

/// A client process. It stops when its standard input ends.
pub struct ClientProcess {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Cluster {
    /// Starts the nsqlookupds and nsqds, and creates the topics.
    pub fn start(layout: Layout, network: Network) -> Result<Self> {
        let Found::At(program) = nsqd_program::find() else {
            return Err("no nsqd".into());
        };
        let lookupds = layout.lookupds();
        let start = |host| RealLookupd::start_on_host(network.host(host));
        let lookupds = lookupds.map(start).collect::<io::Result<Vec<_>>>()?;
        let mut nsqds = Vec::new();
        let mut nsqd_flags = Vec::new();
        for host in layout.nsqds() {
            let host = network.host(host);
            let mut flags = vec![format!("--broadcast-address={}", host.address)];
            for lookupd in layout.lookupds() {
                let address = network.host(lookupd).address;
                flags.push(format!("--lookupd-tcp-address={address}:4160"));
            }
            let durable = DURABLE.iter().map(|&flag| flag.to_owned());
            let durable: Vec<_> = flags.iter().cloned().chain(durable).collect();
            let nsqd = RealNsqd::start_on_host(program.clone(), host, &durable)?;
            for topic in TOPICS {
                nsqd.create_topic(topic)?;
            }
            nsqd.post(&format!(
                "/channel/create?topic={HANDLED}&channel={CHANNEL}"
            ))?;
            nsqds.push(nsqd);
            nsqd_flags.push(flags);
        }
        Ok(Self {
            layout,
            network,
            nsqds,
            lookupds,
            nsqd_flags,
            kills: vec![0; layout.nsqds],
        })
    }

    /// Starts a client, and returns its lines.
    pub fn start_client(&self, number: usize) -> Result<(ClientProcess, ChildStdout)> {
        let address = |port| move |host| (self.network.host(host).address, port).into();
        let nsqds: Vec<SocketAddr> = self.layout.nsqds().map(address(4150)).collect();
        let lookupds: Vec<SocketAddr> = self.layout.lookupds().map(address(4161)).collect();
        let host = self.network.host(self.layout.clients().start + number);
        let mut child = host
            .command(std::env::current_exe()?)
            .args(client::arguments(number, &nsqds, &lookupds))
            .env(crate::ROLE, crate::CLIENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let lines = child.stdout.take().ok_or("the client has no pipe")?;
        Ok((ClientProcess { child, stdin }, lines))
    }

    /// Begins a fault.
    pub fn begin(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Partition(host) => self.network.set_link(host, false)?,
            Fault::Mute(host) => self.network.block(host, None, true)?,
            Fault::OneWay { from, to } => self.network.block(from, Some(to), true)?,
            Fault::Slow(host, disturbance) => self.network.disturb(host, disturbance)?,
            Fault::RateLimit(host, rate) => self.network.limit(host, Some(rate))?,
            Fault::Crash(host) => {
                // First, so that no message arrives any more, and no end of a connection departs.
                self.network.set_link(host, false)?;
                if self.layout.nsqds().contains(&host) {
                    self.nsqds[host].kill9()?;
                    self.kills[host] += 1;
                } else {
                    self.lookupds[host - self.layout.nsqds].kill9()?;
                }
            }
        }
        Ok(())
    }

    /// Ends a fault.
    pub fn end(&mut self, fault: Fault) -> Result<()> {
        match fault {
            Fault::Partition(host) => self.network.set_link(host, true)?,
            Fault::Mute(host) => self.network.block(host, None, false)?,
            Fault::OneWay { from, to } => self.network.block(from, Some(to), false)?,
            Fault::Slow(host, _) => self.network.disturb(host, Disturbance::default())?,
            Fault::RateLimit(host, _) => self.network.limit(host, None)?,
            Fault::Crash(host) => {
                // First, or nsqd finds no nsqlookupd and tries again 15 s later.
                self.network.set_link(host, true)?;
                if self.layout.nsqds().contains(&host) {
                    self.nsqds[host].restart()?;
                } else {
                    self.lookupds[host - self.layout.nsqds].restart()?;
                }
            }
        }
        Ok(())
    }

    /// Whether no nsqd has a message for the consumers.
    pub fn are_handled(&self) -> bool {
        let counts = self.nsqds.iter().map(|nsqd| nsqd.unfinished(HANDLED));
        counts
            .into_iter()
            .all(|count| count.is_ok_and(|count| count == 0))
    }

    /// Every message of an nsqd that was not killed must be handled.
    pub fn compare_handled(&self, messages: &mut Messages) -> Result<()> {
        for (number, nsqd) in self.nsqds.iter().enumerate() {
            if self.kills[number] > 0 {
                continue;
            }
            let stats = nsqd.stats(HANDLED)?.ok_or("the topic is missing")?;
            let stored = stats["message_count"].as_u64().unwrap_or(0);
            messages.compare_handled(number, stored as usize);
        }
        Ok(())
    }

    /// Number of kills of nsqds.
    pub fn kills(&self) -> usize {
        self.kills.iter().sum()
    }

    /// The addresses of the nsqlookupds for the campaign.
    pub fn lookupds(&self) -> Vec<SocketAddr> {
        let hosts = self.layout.lookupds();
        hosts
            .map(|host| self.network.host(host).control(4161))
            .collect()
    }

    /// Consumes the messages that were stored.
    pub fn count_stored(&mut self, messages: &mut Messages) -> Result<()> {
        let record = Mutex::new(&mut messages.stored.record);
        thread::scope(|scope| {
            let counts = self.nsqds.iter_mut().zip(&self.nsqd_flags);
            let counts: Vec<_> = counts
                .map(|(nsqd, flags)| scope.spawn(|| count(nsqd, flags, &record)))
                .collect();
            for count in counts {
                count
                    .join()
                    .unwrap_or_else(|_| Err("counting panicked".into()))?;
            }
            Ok(())
        })
    }
}

/// Consumes the messages that an nsqd has stored.
fn count(nsqd: &mut RealNsqd, flags: &[String], record: &Mutex<&mut Record>) -> Result<()> {
    // Ends every connection, also commands that nsqd has received and not executed.
    nsqd.sigterm()?;
    nsqd.restart_with(flags)?;
    let nsqd = &*nsqd;
    let expected = nsqd.unfinished(STORED)? as usize;
    let left = || nsqd.unfinished(STORED).ok();
    raw_client::drain(
        &Access::default(),
        &nsqd.address(),
        STORED,
        expected,
        left,
        |_, body| {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            record.found(STORED, &body);
        },
    )?;
    Ok(())
}

/// Stops clients, and waits until they have ended.
pub fn stop(clients: &mut [ClientProcess]) -> Result<()> {
    for client in &mut *clients {
        drop(client.stdin.take());
    }
    for client in clients {
        match wait::poll(TIMEOUT, || client.child.try_wait().transpose()) {
            Some(Ok(status)) if status.success() => {}
            Some(Ok(status)) => return Err(format!("a client has ended: {status}").into()),
            Some(Err(e)) => return Err(e.into()),
            None => return Err("a client does not stop".into()),
        }
    }
    Ok(())
}
