//! An auth server as nsqd asks one over HTTP, and the same decision for the embedded nsqd.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use actix_nsq::embedded::{AuthRequest, AuthServerDown, Grant};

/// Answers for as long as the process lives.
pub fn start() -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // One who hangs up has had enough.
            let _ = answer(stream);
        }
    });
    Ok(address)
}

fn answer(stream: TcpStream) -> io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let grant = match secret_in(&request) {
        "publish" => {
            r#"{"ttl":60,"identity":"a <b> & c","identity_url":"http://d/?e&f","authorizations":[{"topic":"^row-","channels":[".*"],"permissions":["publish"]}]}"#
        }
        "everything" => {
            r#"{"ttl":60,"identity":"everything","authorizations":[{"topic":".*","channels":[".*"],"permissions":["publish","subscribe"]}]}"#
        }
        "two" => {
            r#"{"ttl":60,"identity":"two","authorizations":[{"topic":"^row-","channels":["^c$"],"permissions":["subscribe"]},{"topic":"^is_it_open#ephemeral$","channels":[".*"],"permissions":["publish"]}]}"#
        }
        "never" => {
            r#"{"ttl":0,"identity":"never","authorizations":[{"topic":".*","channels":[".*"],"permissions":["publish"]}]}"#
        }
        "down" => "no JSON",
        _ => r#"{"ttl":60,"identity":"nobody","authorizations":[]}"#,
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

/// What the embedded nsqd is to decide in the same way.
pub fn decide(asked: &AuthRequest) -> Result<Grant, AuthServerDown> {
    Ok(match asked.secret() {
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
