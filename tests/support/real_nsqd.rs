//! A real nsqd as a child process: started, killed, frozen, restarted, asked over HTTP.

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
use super::nsqd_program::{self, Found};
use super::small_disk;
use super::wait::{self, PATIENCE};

/// The flags under which "nsqd said OK" means "on the disk", so that a loss after a kill -9 is the client's and not nsqd's:
/// nothing waits in memory, and the queue's metadata is written with each message.
pub const DURABLE: &[&str] = &["--mem-queue-size=0", "--sync-every=1"];

/// How long to wait for the metadata of a queue; without [`DURABLE`] they are written after 2 s.
const FIRST_SYNC: Duration = Duration::from_secs(3);

/// An nsqd of our own on two loopback ports that stay the same however often it is restarted.
#[derive(Debug)]
pub struct RealNsqd {
    program: PathBuf,
    flags: Vec<String>,
    /// Its data are on a disk of its own, of so many bytes, which is new at each start.
    disk: Option<u64>,
    tcp: Port,
    http: Port,
    child: Option<Child>,
    guardian: Guardian,
    data: tempfile::TempDir,
}

impl RealNsqd {
    /// Starts an nsqd with these flags besides its addresses and data path; see [`DURABLE`].
    /// Returns when it accepts connections and answers `/ping`.
    pub fn start<S: AsRef<str>>(flags: &[S]) -> io::Result<Self> {
        Self::start_on(None, flags)
    }

    /// The same on a disk of so many bytes, to be filled and freed, which ends with the process; see [`small_disk`].
    pub fn start_on<S: AsRef<str>>(disk: Option<u64>, flags: &[S]) -> io::Result<Self> {
        match nsqd_program::find() {
            Found::At(program) => Self::start_program(program, disk, flags),
            Found::Missing(reason) => Err(io::Error::new(io::ErrorKind::NotFound, reason.clone())),
        }
    }

    /// The same with this program.
    pub fn start_program<S: AsRef<str>>(
        program: &Path,
        disk: Option<u64>,
        flags: &[S],
    ) -> io::Result<Self> {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let data = tempfile::Builder::new()
            .prefix("actix-nsq-nsqd-")
            .tempdir_in(place)?;
        let mut nsqd = Self {
            program: program.to_owned(),
            flags: owned(flags),
            disk,
            tcp: Port::reserve()?,
            http: Port::reserve()?,
            child: None,
            guardian: Guardian::hire(data.path())?,
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

    /// The process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// SIGKILL; returns when the process is gone.
    ///
    /// It strikes as soon as nsqd could recover what it has answered OK (see [`diskqueue`]): microseconds, with the flags
    /// of [`DURABLE`]. A moment too early would be a loss of nsqd's own.
    pub fn kill9(&mut self) -> io::Result<()> {
        if !self.becomes_recoverable() {
            eprintln!(
                "killing an nsqd that may lose what it answered OK: {}",
                self.data.path().display()
            );
        }
        self.kill_anyhow()
    }

    /// Waits until nsqd could recover what it has answered OK. Before a [`sigstop`](Self::sigstop) that a kill follows:
    /// once stopped it makes no progress.
    pub fn becomes_recoverable(&self) -> bool {
        let data = self.data.path();
        wait::poll(FIRST_SYNC, || diskqueue::is_recoverable(data).then_some(())).is_some()
    }

    fn kill_anyhow(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            self.guardian.watch(None);
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM; returns at once, see [`wait_exited`](Self::wait_exited).
    pub fn sigterm(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGSTOP: the sockets stay open, nothing is read and nothing answered. Returns when every thread has stopped.
    pub fn sigstop(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        let child = self.running()?;
        let stopped = WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
        let look = || waitid(WaitId::Pid(Pid::from_child(child)), stopped).transpose();
        match wait::poll(PATIENCE, look) {
            Some(state) => Ok(state.map(drop)?),
            None => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "nsqd does not stop",
            )),
        }
    }

    /// SIGCONT.
    pub fn sigcont(&self) -> io::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(self.running()?), signal)?)
    }

    fn running(&self) -> io::Result<&Child> {
        self.child
            .as_ref()
            .ok_or_else(|| io::Error::other("this nsqd is not running"))
    }

    /// Waits until the process has ended by itself; an error if it does not.
    pub fn wait_exited(&mut self) -> io::Result<ExitStatus> {
        let child = self
            .child
            .as_mut()
            .ok_or_else(|| io::Error::other("this nsqd is not running"))?;
        let status = wait::poll(PATIENCE, || child.try_wait().transpose())
            .unwrap_or_else(|| Err(io::Error::new(io::ErrorKind::TimedOut, "nsqd does not end")))?;
        self.guardian.watch(None);
        self.child = None;
        Ok(status)
    }

    /// Starts it again on the same ports and data, after the end of the old process if that was asked to end.
    /// Returns when it accepts connections and answers `/ping`.
    pub fn restart(&mut self) -> io::Result<()> {
        if self.child.is_some() {
            self.wait_exited()?;
        }
        self.spawn()
    }

    /// The same with other flags from then on.
    pub fn restart_with<S: AsRef<str>>(&mut self, flags: &[S]) -> io::Result<()> {
        self.flags = owned(flags);
        self.restart()
    }

    fn spawn(&mut self) -> io::Result<()> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        let mut command = match self.disk {
            None => Command::new(&self.program),
            Some(bytes) => small_disk::command(&self.program, self.data.path(), bytes)?,
        };
        let child = command
            .arg(format!("--tcp-address={}", self.address()))
            .arg(format!("--http-address={}", self.http_address()))
            .arg(format!("--data-path={}", self.data.path().display()))
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            // Ctrl-C on a terminal is meant for us: nsqd would end by it.
            .process_group(0)
            .spawn()
            .map_err(|e| {
                let program = self.program.display();
                io::Error::new(e.kind(), format!("cannot start {program}: {e}"))
            })?;
        self.guardian.watch(Some(child.id()));
        let child = self.child.insert(child);

        let (tcp, http) = (self.tcp.address(), self.http.address());
        let answers =
            || TcpStream::connect(tcp).is_ok() && http_request(http, "GET", "/ping").is_ok();
        let state = wait::poll(PATIENCE, || match child.try_wait() {
            Ok(None) => answers().then_some(Ok(())),
            Ok(Some(status)) => Some(Err(format!("nsqd ended at once ({status})"))),
            Err(e) => Some(Err(e.to_string())),
        });
        match state {
            Some(Ok(())) => Ok(()),
            Some(Err(reason)) => Err(io::Error::other(format!("{reason}:\n{}", self.log()))),
            None => Err(io::Error::other(format!(
                "nsqd does not answer:\n{}",
                self.log()
            ))),
        }
    }

    fn log_file(&self) -> PathBuf {
        self.data.path().join("nsqd.log")
    }

    /// What nsqd has written to its log so far, over all restarts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// What `/stats` says about a topic; `None` if it knows none of that name.
    pub fn stats(&self, topic: &str) -> io::Result<Option<Value>> {
        let query = format!(
            "/stats?format=json&include_clients=false&include_mem=false&topic={}",
            escaped(topic)
        );
        let answer = http_request(self.http.address(), "GET", &query)?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        // nsqd writes `"topics": null` for an unknown one.
        Ok(answer.pointer_mut("/topics/0").map(Value::take))
    }

    /// What `/stats` says about the connections that have published and are still open.
    pub fn producers(&self) -> io::Result<Vec<Value>> {
        let query = "/stats?format=json&include_clients=true&include_mem=false";
        let answer = http_request(self.http.address(), "GET", query)?;
        let mut answer: Value = serde_json::from_slice(&answer)?;
        Ok(match answer.get_mut("producers").map(Value::take) {
            Some(Value::Array(producers)) => producers,
            _ => Vec::new(),
        })
    }

    /// How many messages of a topic are not finished: in the topic, on their way to a channel, there, in flight or deferred.
    pub fn unfinished(&self, topic: &str) -> io::Result<u64> {
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
        // Both count what they were given since nsqd started; what is between them stands in no depth.
        let handed_on = channels
            .iter()
            .map(|channel| number(channel, "message_count"))
            .max();
        let on_their_way = handed_on.map_or(0, |count| {
            number(&stats, "message_count").saturating_sub(count)
        });
        Ok(number(&stats, "depth").max(on_their_way) + in_channels)
    }

    /// Lets a topic pause or go on: paused, it accepts messages and hands none to its channels.
    pub fn pause_topic(&self, topic: &str, paused: bool) -> io::Result<()> {
        let verb = if paused { "pause" } else { "unpause" };
        self.post(&format!("/topic/{verb}?topic={}", escaped(topic)))
    }

    /// Deletes a topic, its channels and its messages.
    pub fn delete_topic(&self, topic: &str) -> io::Result<()> {
        self.post(&format!("/topic/delete?topic={}", escaped(topic)))
    }

    /// Throws away the messages of a topic.
    pub fn empty_topic(&self, topic: &str) -> io::Result<()> {
        self.post(&format!("/topic/empty?topic={}", escaped(topic)))
    }

    /// Takes all that is free of its disk, if it has one of its own.
    pub fn fill_disk(&self) -> io::Result<()> {
        small_disk::fill(self.running()?.id(), self.data.path())
    }

    /// Gives it back.
    pub fn free_disk(&self) -> io::Result<()> {
        small_disk::free(self.running()?.id(), self.data.path())
    }

    fn post(&self, path: &str) -> io::Result<()> {
        http_request(self.http.address(), "POST", path).map(drop)
    }
}

impl Drop for RealNsqd {
    fn drop(&mut self) {
        if let Err(e) = self.kill_anyhow() {
            eprintln!("an nsqd could not be killed: {e}");
        }
    }
}

fn owned<S: AsRef<str>>(flags: &[S]) -> Vec<String> {
    flags.iter().map(|flag| flag.as_ref().to_owned()).collect()
}

fn escaped(name: &str) -> String {
    name.replace('#', "%23")
}

/// One HTTP/1.0 exchange; the body of a 200 answer, anything else is an error.
fn http_request(address: SocketAddr, method: &str, path: &str) -> io::Result<Vec<u8>> {
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
        let said = String::from_utf8_lossy(&answer);
        return Err(io::Error::other(format!(
            "{method} {path} was answered: {said}"
        )));
    }
    Ok(body)
}

/// A loopback port that is ours from now on, whether or not something listens there.
///
/// A bound socket that does not listen keeps the system from giving the port to anybody else while nsqd is down, and does not
/// stand in nsqd's way, because Go sets SO_REUSEADDR too. (That combination is Linux's; elsewhere the port is only likely ours.)
#[derive(Debug)]
struct Port {
    address: SocketAddr,
    _placeholder: Option<Socket>,
}

impl Port {
    fn reserve() -> io::Result<Self> {
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

    fn address(&self) -> SocketAddr {
        self.address
    }
}

/// A shell that outlives us just long enough to kill our nsqd and remove its data when the test process itself is killed.
///
/// It is told the process to watch by lines on its standard input, which ends when we do.
#[derive(Debug)]
struct Guardian {
    shell: Child,
}

impl Guardian {
    fn hire(data: &Path) -> io::Result<Self> {
        let duty = r#"trap '' INT TERM HUP
            while read -r line; do pid=$line; done
            if [ -n "$pid" ]; then kill -9 "$pid"; fi
            rm -rf "$1""#;
        let mut shell = Command::new("sh");
        shell
            .args(["-c", duty, "guardian"])
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self {
            shell: shell.spawn()?,
        })
    }

    fn watch(&mut self, pid: Option<u32>) {
        let line = pid.map_or_else(String::new, |pid| pid.to_string());
        let told = self
            .shell
            .stdin
            .as_mut()
            .map(|stdin| writeln!(stdin, "{line}"));
        if let Some(Err(e)) = told {
            eprintln!("nobody watches over nsqd {line}: {e}");
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // The end of its input dismisses it.
        drop(self.shell.stdin.take());
        if let Err(e) = self.shell.wait() {
            eprintln!("the guardian of an nsqd could not be dismissed: {e}");
        }
    }
}
