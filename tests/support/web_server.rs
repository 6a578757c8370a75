//! An example that serves HTTP as a child process, and an HTTP/1.1 client with kept-alive
//! connections.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::example;
use super::wait::{self, PATIENCE};

/// The handler's timeout is 5 s.
const READ_TIMEOUT: Duration = Duration::from_secs(12);

/// A running example. Killed when dropped.
#[derive(Debug)]
pub struct WebServer {
    child: Child,
    address: SocketAddr,
    files: tempfile::TempDir,
}

impl WebServer {
    /// Starts an example on a free port and waits until it listens.
    pub fn start(example: &str, nsqd: &str) -> io::Result<Self> {
        let files = tempfile::tempdir()?;
        let child = Command::new(example::program(example)?)
            .args(["--listen", "127.0.0.1:0", "--nsqd-tcp-address", nsqd])
            .stdin(Stdio::null())
            .stdout(File::create(files.path().join("stdout"))?)
            .spawn()?;
        let mut server = Self {
            child,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            files,
        };
        let address = wait::poll(PATIENCE, || {
            let stdout = server.stdout();
            let (line, _) = stdout.split_once('\n')?;
            line.strip_prefix("listening on ")?.parse().ok()
        });
        server.address = address.ok_or_else(|| {
            io::Error::other(format!("it does not listen: {:?}", server.stdout()))
        })?;
        Ok(server)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn stdout(&self) -> String {
        fs::read_to_string(self.files.path().join("stdout")).unwrap_or_default()
    }

    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Waits for the server to exit.
    pub fn wait(&mut self, timeout: Duration) -> io::Result<ExitStatus> {
        let status = wait::poll(timeout, || self.child.try_wait().transpose());
        status.unwrap_or_else(|| {
            let problem = format!("the server does not exit:\n{}", self.stdout());
            Err(io::Error::new(io::ErrorKind::TimedOut, problem))
        })
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        // Both fail if it has exited.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// In lower case.
    pub headers: Vec<String>,
    pub text: String,
    /// Null if it is not JSON.
    pub body: Value,
}

impl Response {
    pub fn has(&self, header: &str) -> bool {
        self.headers.iter().any(|line| line == header)
    }
}

/// A connection to an HTTP server.
#[derive(Debug)]
pub struct HttpClient {
    stream: BufReader<TcpStream>,
}

impl HttpClient {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    pub fn get(&mut self, path: &str) -> io::Result<Response> {
        self.exchange("GET", path, "", b"")
    }

    pub fn post(&mut self, path: &str, body: &[u8]) -> io::Result<Response> {
        self.exchange("POST", path, "", body)
    }

    pub fn post_json(&mut self, path: &str, body: &Value) -> io::Result<Response> {
        let header = "Content-Type: application/json\r\n";
        self.exchange("POST", path, header, body.to_string().as_bytes())
    }

    /// Fails if the response is missing or incomplete.
    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        header: &str,
        body: &[u8],
    ) -> io::Result<Response> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: test\r\n{header}Content-Length: {length}\r\n\r\n"
        );
        let request = [head.as_bytes(), body].concat();
        self.stream.get_mut().write_all(&request)?;
        let status_line = self.line()?;
        let status = status_line.split(' ').nth(1).and_then(|it| it.parse().ok());
        let mut headers = Vec::new();
        loop {
            match self.line()?.to_lowercase() {
                end if end.is_empty() => break,
                header => headers.push(header),
            }
        }
        let length = headers
            .iter()
            .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        self.stream.read_exact(&mut body)?;
        Ok(Response {
            status: status.ok_or_else(|| io::Error::other(format!("no status: {status_line}")))?,
            headers,
            text: String::from_utf8_lossy(&body).into_owned(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
