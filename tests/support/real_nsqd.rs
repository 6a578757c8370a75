//! A real nsqd as a child process.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::diskqueue;
use super::nsqd_program::{self, Found, Nsqd};
use super::simulated_host::SimulatedHost;
use super::small_disk;
use super::wait::{self, PATIENCE};

/// With these flags, an `OK` means that the message is on disk, so that nsqd itself loses nothing
/// when it is killed: no queue in memory, and metadata written with every message.
pub const DURABLE: &[&str] = &["--mem-queue-size=0", "--sync-every=1"];

/// Timeout for the metadata of a queue. Without [`DURABLE`], they are written every 2 s.
const SYNC_TIMEOUT: Duration = Duration::from_secs(3);

/// An nsqd on two loopback ports, which stay the same after a restart.
#[derive(Debug)]
pub struct RealNsqd {
    nsqd: Nsqd,
    flags: Vec<String>,
    /// The size of its own disk, which is empty after every start.
    disk: Option<u64>,
    host: Option<SimulatedHost>,
    tcp: Port,
    http: Port,
    child: Option<Child>,
    guardian: Guardian,
    data: tempfile::TempDir,
}

impl RealNsqd {
    /// Starts an nsqd with these flags and waits until it accepts connections. See [`DURABLE`].
    pub fn start<S: AsRef<str>>(flags: &[S]) -> io::Result<Self> {
        Self::start_on(None, flags)
    }

    /// Starts an nsqd with its own disk of this size: see [`small_disk`].
    pub fn start_on<S: AsRef<str>>(disk: Option<u64>, flags: &[S]) -> io::Result<Self> {
        match nsqd_program::find() {
            Found::At(nsqd) => Self::start_program(nsqd.clone(), disk, flags),
            Found::Missing(reason) => Err(io::Error::new(io::ErrorKind::NotFound, reason.clone())),
        }
    }

    /// Starts this program.
    pub fn start_program<S: AsRef<str>>(
        nsqd: Nsqd,
        disk: Option<u64>,
        flags: &[S],
    ) -> io::Result<Self> {
        Self::start_with(
            nsqd,
            disk,
            None,
            [Port::reserve()?, Port::reserve()?],
            flags,
        )
    }

    /// Starts this program on a simulated host, on the usual ports of all its addresses. The test
    /// uses the address for control.
    pub fn start_on_host<S: AsRef<str>>(
        nsqd: Nsqd,
        host: &SimulatedHost,
        flags: &[S],
    ) -> io::Result<Self> {
        let ports = [4150, 4151].map(|port| Port::at(host.control(port)));
        Self::start_with(nsqd, None, Some(host.clone()), ports, flags)
    }

    fn start_with<S: AsRef<str>>(
        nsqd: Nsqd,
        disk: Option<u64>,
        host: Option<SimulatedHost>,
        [tcp, http]: [Port; 2],
        flags: &[S],
    ) -> io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() {
            memory
        } else {
            &std::env::temp_dir()
        };
        let data = tempfile::Builder::new()
            .prefix("actix-nsq-nsqd-")
            .tempdir_in(place)?;
        let mut nsqd = Self {
            nsqd,
            flags: owned(flags),
            disk,
            host,
            tcp,
            http,
            child: None,
            guardian: Guardian::start(data.path())?,
            data,
        };
        nsqd.spawn()?;
        Ok(nsqd)
    }

    /// `host:port` of the TCP protocol.
    pub fn address(&self) -> String {
        self.tcp.address().to_string()
    }

    /// `host:port` of the HTTP API.
    pub fn http_address(&self) -> String {
        self.http.address().to_string()
    }

    /// Whether messages of one topic are delivered in the order in which they were stored.
    pub fn delivers_in_order(&self) -> bool {
        let on_disk_only = self.flags.iter().any(|flag| flag == DURABLE[0]);
        !on_disk_only || self.nsqd.version.delivers_in_order()
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Kills the process, as soon as nsqd would recover everything that it answered `OK`: see
    /// [`diskqueue`]. Earlier, nsqd itself could lose messages.
    pub fn kill9(&mut self) -> io::Result<()> {
        let recoverable = if self.nsqd.version.recovers_beyond_metadata() {
            self.becomes_recoverable()
        } else {
            self.stops_recoverable()?
        };
        if !recoverable {
            eprintln!(
                "the killed nsqd may lose messages: {}",
                self.data.path().display()
            );
        }
        self.kill_now()
    }

    /// Waits until nsqd would recover everything that it answered `OK`. To be called before
    /// [`sigstop`](Self::sigstop) if a kill follows.
    pub fn becomes_recoverable(&self) -> bool {
        wait::poll(SYNC_TIMEOUT, || self.is_recoverable().then_some(())).is_some()
    }

    /// Stops an older nsqd at a moment when it is recoverable: while it runs, it may store a
    /// message between the check and the kill.
    fn stops_recoverable(&self) -> io::Result<bool> {
        let stops = || match self.sigstop() {
            Ok(()) if self.is_recoverable() => Some(Ok(true)),
            Ok(()) => self.sigcont().err().map(Err),
            Err(e) => Some(Err(e)),
        };
        wait::poll(SYNC_TIMEOUT, stops).unwrap_or(Ok(false))
    }

    fn is_recoverable(&self) -> bool {
        diskqueue::is_recoverable(self.data.path(), self.nsqd.version)
    }

    fn kill_now(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            self.guardian.watch(None);
            child.wait()?;
        }
        Ok(())
    }

    /// Sends SIGTERM. See [`wait_exited`](Self::wait_exited).
    pub fn sigterm(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Sends SIGSTOP and waits until all threads have stopped. It may have been sent before.
    pub fn sigstop(&self) -> io::Result<()> {
        stop(self.running()?)
    }

    /// Sends SIGCONT.
    pub fn sigcont(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(self.running()?), signal)?)
    }

    fn running(&self) -> io::Result<&Child> {
        self.child.as_ref().ok_or_else(not_running)
    }

    /// Waits for the process to exit.
    pub fn wait_exited(&mut self) -> io::Result<ExitStatus> {
        let child = self.child.as_mut().ok_or_else(not_running)?;
        let status = wait::poll(PATIENCE, || child.try_wait().transpose());
        let status = status.unwrap_or_else(|| Err(io::Error::other("nsqd does not exit")))?;
        self.guardian.watch(None);
        self.child = None;
        Ok(status)
    }

    /// Starts it again with the same ports and data, and waits until it accepts connections. A
    /// terminated process must exit first.
    pub fn restart(&mut self) -> io::Result<()> {
        if self.child.is_some() {
            self.wait_exited()?;
        }
        self.spawn()
    }

    /// Starts it again with other flags.
    pub fn restart_with<S: AsRef<str>>(&mut self, flags: &[S]) -> io::Result<()> {
        self.flags = owned(flags);
        self.restart()
    }

    fn spawn(&mut self) -> io::Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let program = &self.nsqd.program;
        let mut command = match (&self.host, self.disk) {
            (Some(host), _) => host.command(program),
            (None, Some(bytes)) => small_disk::command(program, self.data.path(), bytes)?,
            (None, None) => Command::new(program),
        };
        let [tcp, http] = [&self.tcp, &self.http].map(|port| listen_address(port, &self.host));
        let child = command
            .arg(format!("--tcp-address={tcp}"))
            .arg(format!("--http-address={http}"))
            .arg(format!("--data-path={}", self.data.path().display()))
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C in a terminal must not end nsqd.
            .process_group(0)
            .spawn()
            .map_err(|e| {
                let program = self.nsqd.program.display();
                io::Error::new(e.kind(), format!("cannot start {program}: {e}"))
            })?;
        self.guardian.watch(Some(child.id()));
        let child = self.child.insert(child);

        let (tcp, http) = (self.tcp.address(), self.http.address());
        let answers =
            || TcpStream::connect(tcp).is_ok() && http_request(http, "GET", "/ping").is_ok();
        let state = wait::poll(PATIENCE, || match child.try_wait() {
            Ok(None) => answers().then_some(Ok(())),
            Ok(Some(status)) => Some(Err(format!("nsqd exited ({status})"))),
            Err(e) => Some(Err(e.to_string())),
        });
        match state {
            Some(Ok(())) => Ok(()),
            Some(Err(reason)) => Err(io::Error::other(format!("{reason}:\n{}", self.log()))),
            None => Err(io::Error::other(format!("nsqd is silent:\n{}", self.log()))),
        }
    }

    fn log_file(&self) -> PathBuf {
        self.data.path().join("nsqd.log")
    }

    /// The log of nsqd, over all restarts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// The topic's part of `/stats`, if the topic exists.
    pub fn stats(&self, topic: &str) -> io::Result<Option<Value>> {
        let topic = escaped(topic);
        let query =
            format!("/stats?format=json&include_clients=false&include_mem=false&topic={topic}");
        let answer = http_request(self.http.address(), "GET", &query)?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        // Without topics, nsqd writes `"topics": null`.
        Ok(answer.pointer_mut("/topics/0").map(Value::take))
    }

    /// The open connections that have published, from `/stats`.
    pub fn producers(&self) -> io::Result<Vec<Value>> {
        let query = "/stats?format=json&include_clients=true&include_mem=false";
        let answer = http_request(self.http.address(), "GET", query)?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        Ok(match answer.get_mut("producers").map(Value::take) {
            Some(Value::Array(producers)) => producers,
            _ => Vec::new(),
        })
    }

    /// Number of messages that are not finished: in the topic, moving to a channel, in a channel,
    /// in flight or deferred.
    pub fn unfinished(&self, topic: &str) -> io::Result<u64> {
        // nsqd reads its counts one after another. A message that moves on meanwhile, for example
        // into a channel that was just created, may be in none of them; it is in the next ones.
        match self.counted_unfinished(topic)? {
            0 => self.counted_unfinished(topic),
            count => Ok(count),
        }
    }

    fn counted_unfinished(&self, topic: &str) -> io::Result<u64> {
        let number = |of: &Value, key: &str| of.get(key).and_then(Value::as_u64).unwrap_or(0);
        let Some(stats) = self.stats(topic)? else {
            return Ok(0);
        };
        let none = Vec::new();
        let channels = stats
            .get("channels")
            .and_then(Value::as_array)
            .unwrap_or(&none);
        let states = ["depth", "in_flight_count", "deferred_count"];
        let in_channels: u64 = channels
            .iter()
            .flat_map(|channel| states.map(|state| number(channel, state)))
            .sum();
        // Both count since the start. Messages that move from topic to channel are in no depth.
        let moved = channels
            .iter()
            .map(|channel| number(channel, "message_count"))
            .max();
        let moving = moved.map_or(0, |count| {
            number(&stats, "message_count").saturating_sub(count)
        });
        Ok(number(&stats, "depth").max(moving) + in_channels)
    }

    /// Pauses or unpauses a topic. A paused topic passes no messages to its channels.
    pub fn pause_topic(&self, topic: &str, paused: bool) -> io::Result<()> {
        let verb = if paused { "pause" } else { "unpause" };
        self.post(&format!("/topic/{verb}?topic={}", escaped(topic)))
    }

    /// Creates a topic.
    pub fn create_topic(&self, topic: &str) -> io::Result<()> {
        self.post(&format!("/topic/create?topic={}", escaped(topic)))
    }

    /// Deletes a topic, its channels and its messages.
    pub fn delete_topic(&self, topic: &str) -> io::Result<()> {
        self.post(&format!("/topic/delete?topic={}", escaped(topic)))
    }

    /// Deletes the messages of a topic.
    pub fn empty_topic(&self, topic: &str) -> io::Result<()> {
        self.post(&format!("/topic/empty?topic={}", escaped(topic)))
    }

    /// Changes a channel: `pause`, `unpause`, `empty` or `delete`.
    pub fn change_channel(&self, change: &str, topic: &str, channel: &str) -> io::Result<()> {
        let (topic, channel) = (escaped(topic), escaped(channel));
        self.post(&format!(
            "/channel/{change}?topic={topic}&channel={channel}"
        ))
    }

    /// Fills its own disk.
    pub fn fill_disk(&self) -> io::Result<()> {
        small_disk::fill(self.running()?.id(), self.data.path())
    }

    /// Frees its own disk again.
    pub fn free_disk(&self) -> io::Result<()> {
        small_disk::free(self.running()?.id(), self.data.path())
    }

    /// Sends a POST request to its HTTP API.
    pub fn post(&self, path: &str) -> io::Result<()> {
        http_request(self.http.address(), "POST", path).map(drop)
    }
}

impl Drop for RealNsqd {
    fn drop(&mut self) {
        if let Err(e) = self.kill_now() {
            eprintln!("nsqd cannot be killed: {e}");
        }
    }
}

/// Sends SIGSTOP and waits until all threads have stopped.
pub(super) fn stop(child: &Child) -> io::Result<()> {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::STOP)?;
    let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let wait = || waitid(WaitId::Pid(pid), stopped).transpose();
    match wait::poll(PATIENCE, wait) {
        Some(state) => Ok(state.map(drop)?),
        None => Err(io::Error::other("the process does not stop")),
    }
}

/// Where a program listens: on a simulated host, on all its addresses.
pub(super) fn listen_address(port: &Port, host: &Option<SimulatedHost>) -> SocketAddr {
    match host {
        Some(_) => (Ipv4Addr::UNSPECIFIED, port.address().port()).into(),
        None => port.address(),
    }
}

fn not_running() -> io::Error {
    io::Error::other("nsqd is not running")
}

fn owned<S: AsRef<str>>(flags: &[S]) -> Vec<String> {
    flags.iter().map(|flag| flag.as_ref().to_owned()).collect()
}

fn escaped(name: &str) -> String {
    name.replace('#', "%23")
}

/// Sends an HTTP/1.0 request and returns the body of a response 200.
pub(super) fn http_request(address: SocketAddr, method: &str, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: nsqd\r\nContent-Length: 0\r\n\r\n"
    )?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map_or(answer.len(), |at| at + 4);
    let body = answer.split_off(head);
    let status = answer
        .split(|byte| *byte == b' ')
        .nth(1)
        .unwrap_or_default();
    if status != b"200" {
        let answer = [answer, body].concat();
        let text = String::from_utf8_lossy(&answer);
        return Err(io::Error::other(format!("{method} {path}: {text}")));
    }
    Ok(body)
}

/// A port of a program, as a rule a reserved one on the loopback interface.
///
/// A bound socket that does not listen keeps other processes from getting the port. Servers with
/// SO_REUSEADDR, such as Go's and Rust's, can still listen there. (On Linux; elsewhere, the port is
/// free but not reserved.)
#[derive(Debug)]
pub struct Port {
    address: SocketAddr,
    _placeholder: Option<Socket>,
}

impl Port {
    pub fn reserve() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or_else(|| io::Error::other("no inet address"))?;
        Ok(Self {
            address,
            _placeholder: cfg!(target_os = "linux").then_some(socket),
        })
    }

    /// A port that need not be reserved.
    pub fn at(address: SocketAddr) -> Self {
        Self {
            address,
            _placeholder: None,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A shell that kills nsqd and removes its data if the test process is killed.
///
/// It reads the process to kill from its standard input, whose end it waits for.
#[derive(Debug)]
pub(super) struct Guardian {
    shell: Child,
}

impl Guardian {
    pub(super) fn start(data: &Path) -> io::Result<Self> {
        let script = r#"trap '' INT TERM HUP
            while read -r line; do pid=$line; done
            if [ -n "$pid" ]; then kill -9 "$pid"; fi
            rm -rf "$1""#;
        let mut shell = Command::new("sh");
        shell
            .args(["-c", script, "guardian"])
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self {
            shell: shell.spawn()?,
        })
    }

    pub(super) fn watch(&mut self, pid: Option<u32>) {
        let line = pid.map_or_else(String::new, |pid| pid.to_string());
        let stdin = self.shell.stdin.as_mut();
        if let Some(Err(e)) = stdin.map(|stdin| writeln!(stdin, "{line}")) {
            eprintln!("nsqd {line} has no guardian: {e}");
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        if let Err(e) = self.shell.wait() {
            eprintln!("the guardian of an nsqd does not exit: {e}");
        }
    }
}
