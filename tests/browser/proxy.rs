//! An HTTP proxy between the browser and a server. It adds a script to the page, delays the page's
//! load event until the script is done, and cuts the page's event stream on demand.
//!
//! The browser dumps a page at its load event. An image of the proxy delays that event: it arrives
//! when the script requests `/test/release`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::support::wait;

/// Longest time for which the page is held, so that a failed test shows its document.
const LONGEST_HOLD: Duration = Duration::from_secs(80);

/// A proxy. It accepts no connection after it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    upstream: SocketAddr,
    script: String,
    is_released: AtomicBool,
    /// Event streams are closed and not accepted.
    is_cut: AtomicBool,
    event_streams: Mutex<Vec<TcpStream>>,
    is_closed: AtomicBool,
}

impl Proxy {
    /// Starts a proxy to a server that adds a script to its page.
    pub fn start(upstream: SocketAddr, script: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream,
            script: script.to_owned(),
            is_released: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            event_streams: Mutex::default(),
            is_closed: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.is_closed.load(Ordering::SeqCst) {
                    break;
                }
                let shared = Arc::clone(&accepting);
                // Fails if the browser closes the connection.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Ok(Self { address, shared })
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        // Wakes the listener.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    /// Serves one request.
    fn serve(&self, client: TcpStream) -> io::Result<()> {
        let mut client = BufReader::new(client);
        let head = head(&mut client)?;
        match head.split(' ').nth(1).unwrap_or_default() {
            "/" => self.page(&head, client.get_mut()),
            "/test/hold" => {
                let is_released = || self.is_released.load(Ordering::SeqCst).then_some(());
                let _ = wait::poll(LONGEST_HOLD, is_released);
                no_content(client.get_mut())
            }
            "/test/release" => {
                self.is_released.store(true, Ordering::SeqCst);
                no_content(client.get_mut())
            }
            "/test/cut" => {
                self.is_cut.store(true, Ordering::SeqCst);
                for stream in self.event_streams().drain(..) {
                    // Fails if it is closed.
                    let _ = stream.shutdown(Shutdown::Both);
                }
                no_content(client.get_mut())
            }
            "/test/heal" => {
                self.is_cut.store(false, Ordering::SeqCst);
                no_content(client.get_mut())
            }
            "/events" if self.is_cut.load(Ordering::SeqCst) => Ok(()),
            path => {
                if path == "/events" {
                    self.event_streams().push(client.get_ref().try_clone()?);
                }
                self.relay(&head, client)
            }
        }
    }

    fn event_streams(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.event_streams.lock().unwrap()
    }

    /// Responds with the page of the server, and the script at its end.
    fn page(&self, request: &str, client: &mut TcpStream) -> io::Result<()> {
        let mut server = BufReader::new(TcpStream::connect(self.upstream)?);
        server.get_mut().write_all(closing(request).as_bytes())?;
        let response = head(&mut server)?;
        let mut page = String::new();
        server.read_to_string(&mut page)?;
        let script = &self.script;
        let added = format!("<img src=\"/test/hold\" alt=\"\" hidden><script>{script}</script>");
        let page = page.replace("</body>", &format!("{added}</body>"));
        let headers = response
            .lines()
            .filter(|line| !line.to_lowercase().starts_with("content-length"));
        let mut head: String = headers.map(|line| format!("{line}\r\n")).collect();
        head.truncate(head.trim_end().len());
        let length = page.len();
        write!(client, "{head}\r\nContent-Length: {length}\r\n\r\n{page}")
    }

    /// Sends the request to the server, and its response to the client.
    fn relay(&self, head: &str, mut client: BufReader<TcpStream>) -> io::Result<()> {
        let mut server = TcpStream::connect(self.upstream)?;
        server.write_all(closing(head).as_bytes())?;
        let (mut to_server, mut to_client) = (server.try_clone()?, client.get_ref().try_clone()?);
        let body = thread::spawn(move || {
            // Both fail if the server has closed the connection.
            let _ = io::copy(&mut client, &mut to_server);
            to_server.shutdown(Shutdown::Both)
        });
        let copied = io::copy(&mut server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
        let _ = body.join();
        copied.map(drop)
    }
}

/// Reads the head of a request or a response, with its empty line.
fn head(stream: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// The head of a request after which the server closes the connection.
fn closing(head: &str) -> String {
    let (request, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let headers = headers
        .lines()
        .filter(|line| !line.is_empty() && !line.to_lowercase().starts_with("connection:"));
    let headers: String = headers.map(|line| format!("{line}\r\n")).collect();
    format!("{request}\r\n{headers}Connection: close\r\n\r\n")
}

fn no_content(client: &mut TcpStream) -> io::Result<()> {
    client.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
}
