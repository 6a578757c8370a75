//! `/ping`, `/info` and `/stats` of the embedded nsqd and of a real one, after the same commands.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use actix_nsq::embedded::EmbeddedNsqd;
use libtest_mimic::{Completion, Failed, Trial};
use serde_json::Value;

use crate::step::{self, OK, Peer, Row, Step::*};
use crate::support::broker::Kind;
use crate::support::nsqd_version::Version;
use crate::support::real_nsqd::RealNsqd;
use crate::support::{trials, wait};

/// Producers, a consumer with a message in flight, a closing one, and a deferred message.
#[rustfmt::skip]
const COMMANDS: Row = ("http", &[
    Identify(r#"{"client_id":"producer","hostname":"host","user_agent":"agent"}"#), OK,
    Send(b"PUB <t>\n\0\0\0\x03oneMPUB <t>\n\0\0\0\x10\0\0\0\x02\0\0\0\x012\0\0\0\x033-3"), OK, OK,
    Send(b"DPUB <t> 900000\n\0\0\0\x05later"), OK,
    Use(1), Identify(r#"{"client_id":"consumer","sample_rate":0}"#), OK,
    Send(b"SUB <t> c\nRDY 1\n"), OK, Message('a', 1, b"one"),
    Use(2), Identify(r#"{"client_id":"closing"}"#), OK,
    Send(b"SUB <t> d#ephemeral\nRDY 1\nCLS\n"), OK, Response("CLOSE_WAIT"),
    Use(3), Send(b"PUB other\n\0\0\0\x01x"), OK,
]);

const REQUESTS: &[&str] = &[
    "GET /ping",
    "GET /stats?format=json&include_mem=false",
    "GET /stats?format=json&include_mem=false&include_clients=false",
    "GET /stats?format=json&include_mem=false&topic=http",
    "GET /stats?format=json&include_mem=false&topic=http&channel=d%23ephemeral",
    "GET /stats?format=json&include_mem=false&topic=http&channel=missing",
    "GET /stats?format=json&include_mem=false&topic=missing",
    "GET /missing",
    "POST /ping",
];

pub fn trial() -> Trial {
    Trial::ignorable_test("real::http::responses_equal_those_of_nsqd", || {
        if let Some(instead) = trials::without_a_real_nsqd(Kind::Real) {
            return instead;
        }
        let version = Kind::Real.version();
        // The embedded nsqd answers as this version.
        if version < Version::LATEST {
            return Ok(Completion::ignored_with(format!("not with nsqd {version}")));
        }
        compare(version).map(|()| Completion::Completed)
    })
}

fn compare(version: Version) -> Result<(), Failed> {
    let embedded = EmbeddedNsqd::builder()
        .http_address("127.0.0.1:0")
        .version(&version.to_string())
        .start()?;
    let http = embedded.http_address().ok_or("it has an HTTP API")?;
    let real = RealNsqd::start::<&str>(&[])?;
    let mut connections = Vec::new();
    for address in [embedded.address().to_string(), real.address()] {
        let peer = Peer {
            address: &address,
            version,
            post: &|_| Ok(()),
        };
        connections.push(step::play(COMMANDS, &peer, "http")?);
    }
    for request in REQUESTS {
        let ours = || answer(&http.to_string(), request);
        // nsqd moves messages to channels a little later.
        let equal = wait::poll(wait::PATIENCE, || {
            let theirs = answer(&real.http_address(), request);
            (ours().ok()? == theirs.ok()?).then_some(())
        });
        if equal.is_none() {
            let (ours, theirs) = (ours()?, answer(&real.http_address(), request)?);
            return Err(format!("{request}\n  embedded {ours:?}\n  real     {theirs:?}").into());
        }
    }
    let info = |address: &str| Ok::<_, io::Error>(answer(address, "GET /info")?.1);
    let (ours, theirs) = (info(&http.to_string())?, info(&real.http_address())?);
    for field in [
        "version",
        "hostname",
        "max_heartbeat_interval",
        "max_deflate_level",
    ] {
        assert_eq!(ours[field], theirs[field], "{field}");
    }
    assert_eq!(ours["tcp_port"], embedded.address().port());
    assert_eq!(ours["http_port"], http.port());
    drop(connections);
    Ok(())
}

/// Returns the status line and the headers that matter, and the body. What differs between two
/// processes is removed from it.
fn answer(address: &str, request: &str) -> io::Result<(Vec<String>, Value)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(wait::PATIENCE))?;
    write!(stream, "{request} HTTP/1.0\r\n\r\n")?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    let matters = |line: &&str| {
        let line = line.to_ascii_lowercase();
        ["http/", "content-type", "x-nsq-content-type"]
            .iter()
            .any(|start| line.starts_with(start))
    };
    // Go answers in the version of the request, which for 1.0 is one without chunks.
    let head = head.replacen("HTTP/1.0", "HTTP/1.1", 1);
    let mut head: Vec<_> = head.lines().filter(matters).map(str::to_owned).collect();
    head.sort_unstable();
    let mut body = serde_json::from_str(body).unwrap_or_else(|_| body.into());
    normalize(&mut body);
    Ok((head, body))
}

fn normalize(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for field in ["start_time", "connect_ts", "remote_address"] {
                fields.remove(field);
            }
            fields.values_mut().for_each(normalize);
        }
        Value::Array(values) => {
            values.iter_mut().for_each(normalize);
            // nsqd lists clients in any order.
            values.sort_by_key(|value| value["client_id"].to_string());
        }
        _ => {}
    }
}
