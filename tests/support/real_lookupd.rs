//! A real nsqlookupd as a child process.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::nsqd_program::{self, Found, Nsqd};
use super::real_nsqd::{Guardian, Port, http_request, listen_address, stop};
use super::simulated_host::SimulatedHost;
use super::wait::{self, PATIENCE};

/// An nsqlookupd on two loopback ports, which stay the same after a restart.
#[derive(Debug)]
pub struct RealLookupd {
    program: Nsqd,
    flags: Vec<String>,
    host: Option<SimulatedHost>,
    tcp: Port,
    http: Port,
    child: Option<Child>,
    guardian: Guardian,
    data: tempfile::TempDir,
}

impl RealLookupd {
    /// Starts an nsqlookupd with these flags and waits until it accepts connections.
    pub fn start<S: AsRef<str>>(flags: &[S]) -> io::Result<Self> {
        Self::start_with(None, [Port::reserve()?, Port::reserve()?], flags)
    }

    /// Starts an nsqlookupd on a simulated host, on the usual ports of all its addresses. The test
    /// uses the address for control.
    pub fn start_on_host(host: &SimulatedHost) -> io::Result<Self> {
        let ports = [4160, 4161].map(|port| Port::at(host.control(port)));
        Self::start_with::<&str>(Some(host.clone()), ports, &[])
    }

    fn start_with<S: AsRef<str>>(
        host: Option<SimulatedHost>,
        [tcp, http]: [Port; 2],
        flags: &[S],
    ) -> io::Result<Self> {
        let program = match nsqd_program::find_lookupd() {
            Found::At(program) => program.clone(),
            Found::Missing(reason) => {
                return Err(io::Error::new(io::ErrorKind::NotFound, reason.clone()));
            }
        };
        let data = tempfile::Builder::new()
            .prefix("actix-nsq-nsqlookupd-")
            .tempdir()?;
        let mut lookupd = Self {
            program,
            flags: flags.iter().map(|flag| flag.as_ref().to_owned()).collect(),
            host,
            tcp,
            http,
            child: None,
            guardian: Guardian::start(data.path())?,
            data,
        };
        lookupd.restart()?;
        Ok(lookupd)
    }

    /// `host:port` for nsqds.
    pub fn tcp_address(&self) -> String {
        self.tcp.address().to_string()
    }

    /// `host:port` for clients.
    pub fn http_address(&self) -> String {
        self.http.address().to_string()
    }

    /// Kills it, if it is running, and starts it again with the same ports. It has forgotten
    /// everything.
    pub fn restart(&mut self) -> io::Result<()> {
        self.kill9()?;
        let log = self.data.path().join("nsqlookupd.log");
        let log_file = OpenOptions::new().create(true).append(true).open(&log)?;
        let program = &self.program.program;
        let mut command = match &self.host {
            Some(host) => host.command(program),
            None => Command::new(program),
        };
        let [tcp, http] = [&self.tcp, &self.http].map(|port| listen_address(port, &self.host));
        let child = command
            .arg(format!("--tcp-address={tcp}"))
            .arg(format!("--http-address={http}"))
            .arg("--broadcast-address=127.0.0.1")
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log_file)
            // Ctrl-C in a terminal must not end it.
            .process_group(0)
            .spawn()?;
        self.guardian.watch(Some(child.id()));
        self.child = Some(child);
        let (tcp, http) = (self.tcp.address(), self.http.address());
        let answers =
            || TcpStream::connect(tcp).is_ok() && http_request(http, "GET", "/ping").is_ok();
        let answered = wait::poll(PATIENCE, || answers().then_some(()));
        answered.ok_or_else(|| {
            let log = fs::read_to_string(log).unwrap_or_default();
            io::Error::other(format!("nsqlookupd does not start:\n{log}"))
        })
    }

    /// Kills it, if it is running.
    pub fn kill9(&mut self) -> io::Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            self.guardian.watch(None);
            child.wait()?;
        }
        Ok(())
    }

    /// Sends SIGSTOP or SIGCONT.
    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        let child = self.child.as_ref();
        let child = child.ok_or_else(|| io::Error::other("nsqlookupd is not running"))?;
        if frozen {
            stop(child)
        } else {
            Ok(kill_process(Pid::from_child(child), Signal::CONT)?)
        }
    }
}

impl Drop for RealLookupd {
    fn drop(&mut self) {
        if let Err(e) = self.kill9() {
            eprintln!("nsqlookupd cannot be killed: {e}");
        }
    }
}

/// Sends GET with HTTP/1.0 to this address, and returns the status and the body.
pub fn get(address: &str, target: &str) -> io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {target} HTTP/1.0\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    Ok((status.unwrap_or(0), body.to_owned()))
}
