//! `embedded_nsqlookupd`: the embedded nsqlookupd as a program, with which any nsqd can register
//! and which any NSQ client can query.
//!
//! ```text
//! cargo run --example embedded_nsqlookupd -- --http-address 127.0.0.1:4161
//! embedded_nsqlookupd -http-address=127.0.0.1:0 -node orders=127.0.0.1:4150 -fault chunks=1
//! ```
//!
//! * The flags are those of nsqlookupd, spelled as in Go (`-tcp-address`) or with two dashes.
//! * The first line on standard output is the address of the TCP protocol, for nsqds; the second is
//!   that of the HTTP API, for clients. Port 0 selects a free port.
//! * `--node` and `--fault` are not flags of nsqlookupd: they register a node by hand and disturb
//!   all answers.
//! * SIGTERM and Ctrl-C terminate it with exit code 0.

#[path = "shared/arguments.rs"]
mod arguments;
#[path = "shared/signal.rs"]
mod signal;

use std::{
    io,
    process::{self, ExitCode},
    time::Duration,
};

use actix_nsq::embedded::{EmbeddedLookupd, LookupdFaults, LookupdNode};
use clap::Parser;
use humantime::parse_duration;

/// An nsqlookupd for tests, which can be made to fail.
#[derive(Debug, Parser)]
#[command(name = "embedded_nsqlookupd", version)]
struct Flags {
    /// Address to listen on for nsqds
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4160")]
    tcp_address: String,

    /// Address to listen on for HTTP clients
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4161")]
    http_address: String,

    /// Address that is announced to nsqds [default: the IP address of HTTP]
    #[arg(long, value_name = "HOST")]
    broadcast_address: Option<String>,

    /// Time after which an nsqd that sent no PING is not listed
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    inactive_producer_timeout: Duration,

    /// Time after which a tombstone has no effect
    #[arg(long, value_name = "DURATION", default_value = "45s", value_parser = parse_duration)]
    tombstone_lifetime: Duration,

    /// Registers a node for a topic (may be given multiple times)
    #[arg(long, value_name = "TOPIC=HOST:PORT", value_parser = node)]
    node: Vec<(String, LookupdNode)>,

    /// Disturbs all answers: delay=DURATION, chunks=BYTES, cut=BYTES, pad=BYTES, status=CODE,
    /// close, silent (may be given multiple times)
    #[arg(long, value_name = "FAULT", value_parser = fault)]
    fault: Vec<Fault>,
}

#[derive(Clone, Copy, Debug)]
enum Fault {
    Delay(Duration),
    Chunks(usize),
    Cut(usize),
    Pad(usize),
    Status(u16),
    Close,
    Silent,
}

fn main() -> ExitCode {
    match run(arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embedded_nsqlookupd: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(flags: Flags) -> io::Result<()> {
    // Before the address is printed: its reader may send a signal at once.
    let terminated = signal::terminated(|| process::exit(1))?;
    let lookupd = start(&flags)?;
    println!("{}", lookupd.tcp_address());
    println!("{}", lookupd.http_address());
    terminated.await;
    Ok(())
}

fn start(flags: &Flags) -> io::Result<EmbeddedLookupd> {
    let mut builder = EmbeddedLookupd::builder()
        .tcp_address(go_address(&flags.tcp_address))
        .http_address(go_address(&flags.http_address))
        .inactive_producer_timeout(flags.inactive_producer_timeout)
        .tombstone_lifetime(flags.tombstone_lifetime);
    if let Some(address) = &flags.broadcast_address {
        builder = builder.broadcast_address(address);
    }
    let lookupd = builder.start()?;
    for (topic, node) in &flags.node {
        lookupd.register(topic, node);
    }
    for fault in &flags.fault {
        fault.apply(lookupd.faults());
    }
    Ok(lookupd)
}

impl Fault {
    fn apply(self, faults: LookupdFaults<'_>) {
        match self {
            Self::Delay(delay) => faults.delay(delay),
            Self::Chunks(bytes) => faults.in_chunks_of(bytes),
            Self::Cut(bytes) => faults.cut_body(bytes),
            Self::Pad(bytes) => faults.pad(bytes),
            Self::Status(status) => faults.respond(status, "{}"),
            Self::Close => faults.close(),
            Self::Silent => faults.never_answer(),
        }
    }
}

/// Returns an address as Rust writes it: in Go, `:4160` means all interfaces.
fn go_address(address: &str) -> String {
    let host = if address.starts_with(':') {
        "0.0.0.0"
    } else {
        ""
    };
    format!("{host}{address}")
}

fn node(text: &str) -> Result<(String, LookupdNode), &'static str> {
    let invalid = "must be TOPIC=HOST:PORT";
    let (topic, address) = text.split_once('=').ok_or(invalid)?;
    let (host, port) = address.rsplit_once(':').ok_or(invalid)?;
    let port = port.parse().map_err(|_| invalid)?;
    Ok((topic.to_owned(), LookupdNode::new(host, port)))
}

fn fault(text: &str) -> Result<Fault, String> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let number = || value.parse().map_err(|_| format!("{name} needs a number"));
    Ok(match name {
        "delay" => Fault::Delay(parse_duration(value).map_err(|error| error.to_string())?),
        "chunks" => Fault::Chunks(number()?),
        "cut" => Fault::Cut(number()?),
        "pad" => Fault::Pad(number()?),
        "status" => Fault::Status(value.parse().map_err(|_| "status needs a number")?),
        "close" => Fault::Close,
        "silent" => Fault::Silent,
        _ => return Err("unknown fault; see --help".to_owned()),
    })
}
