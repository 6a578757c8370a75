//! The steps of a row, and running them against an nsqlookupd.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use crate::support::broker::Kind;
use crate::support::lookupd::Lookupd;
use crate::support::nsqd_program::{self, Found};
use crate::support::nsqd_version::Version;
use crate::support::wait::{self, PATIENCE};

/// A name and the steps, which must succeed with every nsqlookupd.
pub type Row = (&'static str, &'static [Step]);

/// Something that clients or nsqds do, or that they must receive next.
///
/// In texts `<v>` stands for the version of nsqlookupd, `<host>` for the name of this host, `<tcp>`
/// and `<http>` for its ports, `<peer>` for the address of the current nsqd, and `<node>`,
/// `<special>` for its fields.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// A request, and the status line, the headers and the body of the response. The request ends
    /// with two line ends; a `Host` is added to HTTP/1.1. Of the headers, `Date` is left out, and
    /// the order does not matter.
    Ask(&'static str, &'static str, &'static str),
    /// GET with HTTP/1.1, and status and JSON of the response, with the headers of JSON.
    Get(&'static str, u16, &'static str),
    /// Polls GET until the response is this.
    Becomes(&'static str, u16, &'static str),
    /// POST without a body, and status and text of the response: JSON, or nothing.
    Post(&'static str, u16, &'static str),
    /// GET with HTTP/1.1 whose response is in one chunk, and a text in it.
    Chunked(&'static str, &'static str),
    /// Bytes on a connection to the HTTP port, and the exact responses without `Date`, up to the
    /// end of the connection.
    RawHttp(&'static str, &'static str),

    /// Switches to this connection of an nsqd; a new one sends nothing.
    Nsqd(usize),
    /// Registers this many other nsqds for a topic.
    Nsqds(usize, &'static str),
    Send(&'static [u8]),
    /// Sends an IDENTIFY with this JSON.
    Identify(&'static str),
    /// Expects a response.
    Reply(&'static str),
    HalfClose,
    Eof,
    Reset,
    Close,
}

pub const OK: Step = Step::Reply("OK");
/// The response to IDENTIFY.
pub const IDENTIFIED: Step = Step::Reply(concat!(
    r#"{"broadcast_address":"127.0.0.1","hostname":"<host>","http_port":<http>,"#,
    r#""tcp_port":<tcp>,"version":"<v>"}"#,
));

/// Fields of an nsqd that announces the address `h`, and of one with special characters.
const NODE: &str = concat!(
    r#""remote_address":"<peer>","hostname":"","broadcast_address":"h","#,
    r#""tcp_port":1,"http_port":2,"version":"v""#,
);
const SPECIAL: &str = concat!(
    r#""remote_address":"<peer>","hostname":"né","#,
    r#""broadcast_address":"h\u003c\u0026\u003e","tcp_port":1,"http_port":2,"version":"v""#,
);

const JSON: &str = "Content-Type: application/json; charset=utf-8\n\
                    X-Nsq-Content-Type: nsq; version=1.0";

/// Runs a row. An error names the step that failed.
pub fn run((_, steps): Row, lookupd: &Lookupd) -> Result<(), String> {
    let mut clients = Clients {
        lookupd,
        nsqds: BTreeMap::new(),
        current: 0,
        others: Vec::new(),
    };
    for (index, step) in steps.iter().enumerate() {
        let result = clients.run(*step);
        result.map_err(|error| format!("step {index}, {step:?}: {error}"))?;
    }
    Ok(())
}

struct Clients<'a> {
    lookupd: &'a Lookupd,
    nsqds: BTreeMap<usize, TcpStream>,
    current: usize,
    others: Vec<TcpStream>,
}

impl Clients<'_> {
    fn run(&mut self, step: Step) -> io::Result<()> {
        match step {
            Step::Ask(request, head, body) => {
                let line_ends = request.matches('\n').count();
                assert_eq!(line_ends, 0, "one line");
                let host = if request.ends_with("1.1") {
                    "Host: h\r\nConnection: close\r\n"
                } else {
                    ""
                };
                let response = self.http(&format!("{request}\r\n{host}\r\n"))?;
                self.expect_response(&response, head, body)
            }
            Step::Get(target, status, json) => {
                let response = self.get(target)?;
                self.expect_json(&response, status, json)
            }
            Step::Becomes(target, status, json) => {
                let becomes = wait::poll(PATIENCE, || {
                    let response = self.get(target).ok()?;
                    self.expect_json(&response, status, json).ok()
                });
                match becomes {
                    Some(()) => Ok(()),
                    None => self.expect_json(&self.get(target)?, status, json),
                }
            }
            Step::Post(target, status, text) => {
                let response = self.http(&format!(
                    "POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\
                     Connection: close\r\n\r\n"
                ))?;
                if text.is_empty() {
                    let head = "Content-Length: 0\nX-Nsq-Content-Type: nsq; version=1.0";
                    let head = format!("HTTP/1.1 {} OK\n{head}", status);
                    return self.expect_response(&response, &head, "");
                }
                self.expect_json(&response, status, text)
            }
            Step::Chunked(target, text) => {
                let response = self.get(target)?;
                let (head, body) = response.split_once("\r\n\r\n").unwrap_or_default();
                let (size, rest) = body.split_once("\r\n").unwrap_or_default();
                let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
                let is_one_chunk = rest.get(size..) == Some("\r\n0\r\n\r\n");
                let is_chunked = head.contains("\r\nTransfer-Encoding: chunked");
                let has_length = head.contains("Content-Length");
                if is_one_chunk && is_chunked && !has_length && rest.contains(text) {
                    return Ok(());
                }
                Err(io::Error::other(response))
            }
            Step::RawHttp(bytes, expected) => {
                let response = sorted(&self.http(bytes)?);
                compare(&response, &sorted(&self.substitute(expected)))
            }
            Step::Nsqd(number) => {
                self.current = number;
                if !self.nsqds.contains_key(&number) {
                    self.nsqds.insert(number, self.connect()?);
                }
                Ok(())
            }
            Step::Nsqds(count, topic) => {
                for number in 0..count {
                    let ports = r#""tcp_port":4150,"http_port":4151,"version":"v""#;
                    let json = format!(r#"{{"broadcast_address":"host-{number}",{ports}}}"#);
                    let mut nsqd = self.connect()?;
                    let command = format!("REGISTER {topic}\n");
                    let bytes = [b"  V1", &identify(&json)[..], command.as_bytes()];
                    nsqd.write_all(&bytes.concat())?;
                    read_reply(&mut nsqd)?;
                    compare(&read_reply(&mut nsqd)?, "OK")?;
                    self.others.push(nsqd);
                }
                Ok(())
            }
            Step::Send(bytes) => self.nsqd().write_all(bytes),
            Step::Identify(json) => self.nsqd().write_all(&identify(json)),
            Step::Reply(text) => {
                let expected = self.substitute(text);
                compare(&read_reply(self.nsqd())?, &expected)
            }
            Step::HalfClose => self.nsqd().shutdown(Shutdown::Write),
            Step::Eof => match self.nsqd().read(&mut [0])? {
                0 => Ok(()),
                _ => Err(io::Error::other("bytes instead of EOF")),
            },
            Step::Reset => match self.nsqd().read(&mut [0]) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
                other => Err(io::Error::other(format!("{other:?} instead of a reset"))),
            },
            Step::Close => {
                self.nsqds.remove(&self.current);
                Ok(())
            }
        }
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.lookupd.tcp_address())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    fn nsqd(&mut self) -> &mut TcpStream {
        self.nsqds
            .get_mut(&self.current)
            .expect("`Nsqd` comes first")
    }

    /// Sends bytes and returns what comes until the end of the connection.
    fn http(&self, bytes: &str) -> io::Result<String> {
        let mut client = TcpStream::connect(self.lookupd.http_address())?;
        client.set_read_timeout(Some(PATIENCE))?;
        client.write_all(bytes.as_bytes())?;
        let mut response = String::new();
        client.read_to_string(&mut response)?;
        Ok(response)
    }

    fn get(&self, target: &str) -> io::Result<String> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        self.http(&request)
    }

    fn expect_json(&self, response: &str, status: u16, json: &str) -> io::Result<()> {
        let reason = match status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            _ => "Method Not Allowed",
        };
        let length = self.substitute(json).len();
        let head = format!("HTTP/1.1 {status} {reason}\n{JSON}\nContent-Length: {length}");
        self.expect_response(response, &head, json)
    }

    fn expect_response(&self, response: &str, head: &str, body: &str) -> io::Result<()> {
        let expected = format!("{}\r\n\r\n{body}", head.replace('\n', "\r\n"));
        let response = response.replacen("\r\nConnection: close", "", 1);
        compare(&sorted(&response), &sorted(&self.substitute(&expected)))
    }

    fn substitute(&self, text: &str) -> String {
        let port = |address: &str| address.rsplit(':').next().unwrap_or_default().to_owned();
        let version = match nsqd_program::find_lookupd() {
            Found::At(found) if self.lookupd.kind() == Kind::Real => found.version,
            _ => Version::LATEST,
        };
        let peer = self.nsqds.get(&self.current).map(TcpStream::local_addr);
        let peer = match peer {
            Some(Ok(address)) => address.to_string(),
            _ => String::new(),
        };
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        text.replace("<node>", NODE)
            .replace("<special>", SPECIAL)
            .replace("<v>", &version.to_string())
            .replace("<host>", hostname.trim())
            .replace("<tcp>", &port(self.lookupd.tcp_address()))
            .replace("<http>", &port(self.lookupd.http_address()))
            .replace("<peer>", &peer)
    }
}

fn identify(json: &str) -> Vec<u8> {
    let size = u32::try_from(json.len()).expect("it is short");
    [b"IDENTIFY\n", &size.to_be_bytes()[..], json.as_bytes()].concat()
}

fn read_reply(nsqd: &mut TcpStream) -> io::Result<String> {
    let mut size = [0; 4];
    nsqd.read_exact(&mut size)?;
    let mut reply = vec![0; u32::from_be_bytes(size) as usize];
    nsqd.read_exact(&mut reply)?;
    String::from_utf8(reply).map_err(io::Error::other)
}

/// Sorts the headers of all responses, which are separated by their status lines, and removes
/// `Date`.
fn sorted(responses: &str) -> String {
    let parts = responses.split("HTTP/1.").skip(1);
    let parts = parts.map(|response| {
        let (head, body) = response.split_once("\r\n\r\n").unwrap_or((response, ""));
        let mut lines: Vec<_> = head.split("\r\n").collect();
        lines.retain(|line| !line.starts_with("Date: "));
        if let Some((_, headers)) = lines.split_first_mut() {
            headers.sort_unstable();
            for header in headers {
                // 1.2.0 lists the methods in another order.
                if *header == "Allow: POST, OPTIONS" {
                    *header = "Allow: OPTIONS, POST";
                }
            }
        }
        format!("HTTP/1.{}\r\n\r\n{body}", lines.join("\r\n"))
    });
    parts.collect()
}

fn compare(received: &str, expected: &str) -> io::Result<()> {
    if received == expected {
        return Ok(());
    }
    let text = format!("\n  received {received:?}\n  expected {expected:?}");
    Err(io::Error::other(text))
}
