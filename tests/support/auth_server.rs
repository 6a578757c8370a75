//! An auth server that grants secrets: over HTTP for a real nsqd, and by a call for the embedded
//! one.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::real_nsqd::Port;
use super::wait::PATIENCE;

/// The secret with which the tests inspect a broker. It may do everything and is not recorded.
pub const INSPECTOR: &str = "the secret of the inspector";

/// What a secret allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub identity: String,
    /// nsqd asks again after this time, in whole seconds.
    pub ttl: Duration,
    /// Topics that may be published to; `*` for all.
    pub topics: Vec<String>,
    /// Whether their channels may be subscribed to.
    pub subscribes: bool,
}

impl Grant {
    /// All topics for an hour.
    pub fn everything(identity: &str) -> Self {
        Self::topics(identity, &["*"])
    }

    /// These topics for an hour.
    pub fn topics(identity: &str, topics: &[&str]) -> Self {
        Self {
            identity: identity.to_owned(),
            ttl: Duration::from_secs(3600),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
            subscribes: false,
        }
    }

    pub fn and_channels(self) -> Self {
        Self {
            subscribes: true,
            ..self
        }
    }

    pub fn for_seconds(self, seconds: u64) -> Self {
        Self {
            ttl: Duration::from_secs(seconds),
            ..self
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Normal,
    /// Connections are refused.
    Down,
    /// Every request is answered with this status.
    Error(u16),
}

/// A request of nsqd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub secret: String,
    pub tls: bool,
}

/// Decides about secrets. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Authority(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    mode: Mode,
    grants: HashMap<String, Grant>,
    asked: Vec<Asked>,
}

impl Authority {
    pub fn grant(&self, secret: &str, grant: Grant) {
        self.with(|table| table.grants.insert(secret.to_owned(), grant));
    }

    pub fn revoke(&self, secret: &str) {
        self.with(|table| table.grants.remove(secret));
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.with(|table| table.asked.clone())
    }

    /// The grant, if there is one. An error if the server fails.
    pub fn ask(&self, asked: Asked) -> Result<Option<Grant>, Mode> {
        if asked.secret == INSPECTOR {
            return Ok(Some(Grant::everything("inspector").and_channels()));
        }
        self.with(|table| {
            if table.mode != Mode::Down {
                table.asked.push(asked.clone());
            }
            match table.mode {
                Mode::Normal => Ok(table.grants.get(&asked.secret).cloned()),
                failure => Err(failure),
            }
        })
    }

    fn with<T>(&self, access: impl FnOnce(&mut Table) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Serves an [`Authority`] over HTTP, on a port that stays the same.
#[derive(Debug)]
pub struct AuthServer {
    port: Port,
    authority: Authority,
    listener: Option<Listener>,
}

impl AuthServer {
    pub fn start() -> io::Result<Self> {
        let (port, authority) = (Port::reserve()?, Authority::default());
        let listener = Some(Listener::start(port.address(), authority.clone())?);
        Ok(Self {
            port,
            authority,
            listener,
        })
    }

    /// `host:port`, for nsqd's flag `--auth-http-address`.
    pub fn address(&self) -> String {
        self.port.address().to_string()
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    pub fn set(&mut self, mode: Mode) {
        self.authority.with(|table| table.mode = mode);
        if mode == Mode::Down {
            self.listener = None;
        } else if self.listener.is_none() {
            let listener = Listener::start(self.port.address(), self.authority.clone());
            self.listener = Some(listener.expect("the port is reserved"));
        }
    }
}

/// Listens until it is dropped.
#[derive(Debug)]
struct Listener {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    fn start(address: SocketAddr, authority: Authority) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new().name("auth server".to_owned());
        let thread = thread.spawn(move || {
            for client in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                if let Err(e) = answer(client, &authority) {
                    eprintln!("auth server: {e}");
                }
            }
        })?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread. Either fails only if the thread has ended.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Answers one request.
fn answer(mut client: TcpStream, authority: &Authority) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let form = read_request(&mut client)?;
    let asked = Asked {
        secret: field(&form, "secret"),
        tls: field(&form, "tls") == "true",
    };
    let (status, body) = match authority.ask(asked) {
        Ok(grant) => (200, response(grant)),
        Err(Mode::Error(status)) => (status, json!({ "message": "INTERNAL_ERROR" })),
        Err(_) => return Ok(()),
    };
    let (body, json) = (body.to_string(), "Content-Type: application/json");
    let length = body.len();
    write!(
        client,
        "HTTP/1.1 {status} Status\r\n{json}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Without a grant, the list of authorizations is empty.
fn response(grant: Option<Grant>) -> Value {
    let grant = grant.unwrap_or(Grant::topics("", &[]).for_seconds(60));
    let all = ["publish", "subscribe"];
    let permissions = if grant.subscribes {
        &all[..]
    } else {
        &all[..1]
    };
    let authorization = |topic: &String| {
        let topic = if topic == "*" {
            ".*"
        } else {
            &format!("^{topic}$")
        };
        json!({ "topic": topic, "channels": [".*"], "permissions": permissions })
    };
    let authorizations: Vec<_> = grant.topics.iter().map(authorization).collect();
    json!({
        "ttl": grant.ttl.as_secs().max(1),
        "identity": grant.identity,
        "identity_url": "",
        "authorizations": authorizations,
    })
}

/// Reads `GET /auth?form`, or `POST /auth` with the form as its body. Returns the form.
fn read_request(client: &mut TcpStream) -> io::Result<String> {
    let mut request = Vec::new();
    let mut read_until = |request: &mut Vec<u8>, length: usize| {
        let mut chunk = [0; 1024];
        while request.len() < length {
            match client.read(&mut chunk)? {
                0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                length => request.extend_from_slice(&chunk[..length]),
            }
        }
        Ok(())
    };
    let head = loop {
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        let length = request.len();
        read_until(&mut request, length + 1)?;
    };
    let lines = String::from_utf8_lossy(&request[..head]).into_owned();
    let length = lines.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    read_until(&mut request, head + length.unwrap_or(0))?;
    let target = lines.split(' ').nth(1).unwrap_or_default();
    let query = target.split_once('?').map(|(_, query)| query.to_owned());
    Ok(query.unwrap_or_else(|| String::from_utf8_lossy(&request[head..]).into_owned()))
}

fn field(form: &str, name: &str) -> String {
    let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.find_map(|(key, value)| (key == name).then_some(value));
    let value = value.unwrap_or_default().replace('+', " ");
    percent_decode_str(&value).decode_utf8_lossy().into_owned()
}
