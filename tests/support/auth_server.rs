//! An auth server as nsqd asks one over HTTP: who knows which secret may do what, for how long; and one that is down, broken, or slow.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::{runtime, select, task, time};

/// The secret of the tests themselves, who look at what a broker holds: they may do everything, and are in no count.
pub const LOOKER: &str = "the secret of who looks";

/// What a secret is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub identity: String,
    /// nsqd asks again when it is over. At least a second, which is the unit.
    pub ttl: Duration,
    /// The topics that may be published to, and `*` for all; none at all is no grant.
    pub topics: Vec<String>,
}

impl Grant {
    /// Everything, for an hour.
    pub fn everything(identity: &str) -> Self {
        Self::topics(identity, &["*"])
    }

    /// These topics, for an hour.
    pub fn topics(identity: &str, topics: &[&str]) -> Self {
        Self {
            identity: identity.to_owned(),
            ttl: Duration::from_secs(3600),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        }
    }

    /// The same, but for so long.
    pub fn for_seconds(self, seconds: u64) -> Self {
        Self {
            ttl: Duration::from_secs(seconds),
            ..self
        }
    }
}

/// How it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// As the table has it.
    #[default]
    Well,
    /// Not at all: nobody listens.
    Down,
    /// With this status, and nothing that nsqd could use.
    Broken(u16),
    /// As the table has it, after so long.
    Slow(Duration),
}

/// What it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub method: String,
    pub secret: String,
    pub tls: bool,
    /// Of the client's certificate.
    pub common_name: String,
}

/// Who may do what: the part of an auth server that decides. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Authority(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    mood: Mood,
    grants: HashMap<String, Grant>,
    asked: Vec<Asked>,
}

impl Authority {
    /// From now on this secret is good for that.
    pub fn grant(&self, secret: &str, grant: Grant) {
        self.with(|table| table.grants.insert(secret.to_owned(), grant));
    }

    /// From now on it is good for nothing.
    pub fn revoke(&self, secret: &str) {
        self.with(|table| table.grants.remove(secret));
    }

    /// What was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.with(|table| table.asked.clone())
    }

    /// What one without HTTP is told, at once: a grant or none; an error where nsqd would have got no answer.
    pub fn ask(&self, asked: Asked) -> Result<Option<Grant>, String> {
        let mood = self.with(|table| table.mood);
        match mood {
            Mood::Down => Err("connection refused".to_owned()),
            Mood::Broken(status) => {
                self.note(&asked);
                Err(format!("got response {status}"))
            }
            Mood::Well | Mood::Slow(_) => {
                self.note(&asked);
                Ok(self.grant_of(&asked))
            }
        }
    }

    fn note(&self, asked: &Asked) {
        if asked.secret != LOOKER {
            self.with(|table| table.asked.push(asked.clone()));
        }
    }

    fn grant_of(&self, asked: &Asked) -> Option<Grant> {
        match asked.secret == LOOKER {
            true => Some(Grant::everything("looker")),
            false => self.with(|table| table.grants.get(&asked.secret).cloned()),
        }
    }

    fn with<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The auth server. It runs on a thread of its own until it is dropped.
#[derive(Debug)]
pub struct AuthServer {
    address: SocketAddr,
    authority: Authority,
    mood: watch::Sender<Mood>,
    /// In which mood the door stands as it should.
    settled: watch::Receiver<Mood>,
    thread: Option<thread::JoinHandle<()>>,
}

impl AuthServer {
    /// Listens on a free port of 127.0.0.1, and knows no secret yet.
    pub fn start() -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()?;
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        // It keeps the port while the server is down.
        let placeholder = {
            let _runtime = runtime.enter();
            bind(anywhere)?
        };
        let address = placeholder.local_addr()?;
        let authority = Authority::default();
        let (mood, moods) = watch::channel(Mood::default());
        let (settles, settled) = watch::channel(Mood::Down);
        let door = Door {
            address,
            authority: authority.clone(),
            moods,
            settles,
        };
        let thread = thread::Builder::new()
            .name(format!("auth-server-{}", address.port()))
            .spawn(move || {
                let open = runtime.block_on(door.open());
                drop(placeholder);
                if let Err(e) = open {
                    eprintln!("an auth server cannot listen: {e}");
                }
            })?;
        let mut server = Self {
            address,
            authority,
            mood,
            settled,
            thread: Some(thread),
        };
        server.set(Mood::Well);
        Ok(server)
    }

    /// `host:port`, as nsqd's flag `--auth-http-address` takes it.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Answers like this from now on; when this returns, it does.
    pub fn set(&mut self, mood: Mood) {
        self.authority.with(|table| table.mood = mood);
        // Told twice, the door would be closed and opened once more behind the caller's back.
        self.mood
            .send_if_modified(|old| std::mem::replace(old, mood) != mood);
        let settled = &mut self.settled;
        let wait = super::wait::poll(super::wait::PATIENCE, || {
            (*settled.borrow_and_update() == mood).then_some(())
        });
        wait.expect("an auth server does as it is told");
    }
}

impl Drop for AuthServer {
    fn drop(&mut self) {
        // The end of its moods is the end of the thread.
        self.mood = watch::channel(Mood::Down).0;
        if let Some(thread) = self.thread.take() {
            // A panic of that thread was reported by it, and a `drop` must not add another.
            let _ = thread.join();
        }
    }
}

/// A socket of this address that does not listen yet, and stands in the way of no other.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

struct Door {
    address: SocketAddr,
    authority: Authority,
    moods: watch::Receiver<Mood>,
    settles: watch::Sender<Mood>,
}

impl Door {
    /// Opens and closes as the mood is, until there is none any more.
    async fn open(mut self) -> io::Result<()> {
        loop {
            let mood = *self.moods.borrow_and_update();
            let listener = match mood {
                Mood::Down => None,
                _ => Some(bind(self.address)?.listen(64)?),
            };
            self.settles.send_replace(mood);
            loop {
                select! {
                    client = accept(listener.as_ref()) => if let Some(client) = client {
                        task::spawn(answer(client, mood, self.authority.clone()));
                    },
                    changed = self.moods.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return Ok(()),
                    },
                }
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => match listener.accept().await {
            Ok((client, _)) => Some(client),
            Err(_) => None,
        },
        None => std::future::pending().await,
    }
}

/// One request; whoever asks wrongly is left without an answer.
async fn answer(mut client: TcpStream, mood: Mood, authority: Authority) {
    let Some(asked) = read_request(&mut client).await else {
        return;
    };
    authority.note(&asked);
    if let Mood::Slow(delay) = mood {
        time::sleep(delay).await;
    }
    let (status, body) = match mood {
        Mood::Broken(status) => (status, json!({ "message": "INTERNAL_ERROR" })),
        _ => (200, told(authority.grant_of(&asked))),
    };
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} Told\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    // Who asked may be gone.
    let _ = client.write_all((head + &body).as_bytes()).await;
    let _ = client.shutdown().await;
}

/// As nsqd wants to be told: without a grant, a list of none.
fn told(grant: Option<Grant>) -> Value {
    let (identity, ttl, topics) = match grant {
        Some(grant) => (grant.identity, grant.ttl.as_secs().max(1), grant.topics),
        None => (String::new(), 60, Vec::new()),
    };
    let authorizations: Vec<Value> = topics
        .iter()
        .map(|topic| match &topic[..] {
            "*" => ".*".to_owned(),
            topic => format!("^{topic}$"),
        })
        .map(|topic| json!({ "topic": topic, "channels": [".*"], "permissions": ["publish", "subscribe"] }))
        .collect();
    json!({ "ttl": ttl, "identity": identity, "identity_url": "", "authorizations": authorizations })
}

/// `GET /auth?...`, or `POST /auth` with the same in its body.
async fn read_request(client: &mut TcpStream) -> Option<Asked> {
    let mut request = Vec::new();
    let head = loop {
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if client.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    };
    let lines = String::from_utf8(request[..head].to_vec()).ok()?;
    let length = lines.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.eq_ignore_ascii_case("content-length");
        is_it.then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    while request.len() < head + length.unwrap_or(0) {
        if client.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    let mut words = lines.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let body = std::str::from_utf8(&request[head..]).ok()?;
    let form = match method {
        "POST" => body,
        _ => query,
    };
    (path == "/auth").then(|| Asked {
        method: method.to_owned(),
        secret: field(form, "secret"),
        tls: field(form, "tls") == "true",
        common_name: field(form, "common_name"),
    })
}

fn field(form: &str, name: &str) -> String {
    let mut pairs = form.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.find_map(|(key, value)| (key == name).then_some(value));
    let value = value.unwrap_or_default().replace('+', " ");
    percent_decode_str(&value).decode_utf8_lossy().into_owned()
}
