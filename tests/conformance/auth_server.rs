//! An HTTP auth server for the real nsqd, and the same decisions for the embedded one.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use actix_nsq::embedded::{AuthRequest, AuthServerDown, Grant};

/// Starts a server that runs until the process exits.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Fails if nsqd closes the connection early.
            let _ = respond(stream);
        }
    });
    Ok(address)
}

fn respond(stream: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let grant = match secret_in(&request) {
        "publish" => concat!(
            r#"{"ttl":60,"identity":"a <b> & c","identity_url":"http://d/?e&f","authorizations":["#,
            r#"{"topic":"^row-","channels":[".*"],"permissions":["publish"]}]}"#,
        ),
        "everything" => concat!(
            r#"{"ttl":60,"identity":"everything","authorizations":["#,
            r#"{"topic":".*","channels":[".*"],"permissions":["publish","subscribe"]}]}"#,
        ),
        "two" => concat!(
            r#"{"ttl":60,"identity":"two","authorizations":["#,
            r#"{"topic":"^row-","channels":["^c$"],"permissions":["subscribe"]},"#,
            r#"{"topic":"^is_it_open#ephemeral$","channels":[".*"],"permissions":["publish"]}]}"#,
        ),
        "never" => concat!(
            r#"{"ttl":0,"identity":"never","authorizations":["#,
            r#"{"topic":".*","channels":[".*"],"permissions":["publish"]}]}"#,
        ),
        "down" => "no JSON",
        _ => r#"{"ttl":60,"identity":"unknown","authorizations":[]}"#,
    };
    let length = grant.len();
    write!(
        &stream,
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{grant}"
    )
}

fn secret_in(request: &str) -> &str {
    let behind = request.split_once("secret=").map_or("", |(_, rest)| rest);
    behind.split(['&', ' ']).next().unwrap_or_default()
}

/// Returns the same grants for the embedded nsqd.
pub fn decide(request: &AuthRequest) -> Result<Grant, AuthServerDown> {
    Ok(match request.secret() {
        b"publish" => Grant::new("a <b> & c")
            .identity_url("http://d/?e&f")
            .publish("row-*"),
        b"everything" => Grant::everything("everything"),
        b"two" => Grant::new("two")
            .subscribe("row-*", "c")
            .publish("is_it_open#ephemeral"),
        b"never" => Grant::everything("never").ttl(Duration::ZERO),
        b"down" => return Err(AuthServerDown),
        _ => Grant::nothing(),
    })
}
