//! `embedded_nsqd`: the embedded nsqd alone, as a program that any NSQ client can publish to and consume from.
//!
//! ```text
//! cargo run --example embedded_nsqd -- --tcp-address 127.0.0.1:4150
//! embedded_nsqd -tcp-address=127.0.0.1:0 -msg-timeout 2s -max-rdy-count 100
//! ```
//!
//! * Its flags are nsqd's own, in the spelling of Go (`-tcp-address`) and the usual one (`--tcp-address`).
//! * The first line on standard output is the address it listens on; port 0 is a free one.
//! * SIGTERM and Ctrl-C end it, with exit code 0.
//!
//! It is for tests and demonstrations: it keeps everything in memory, also what has been consumed, and forgets it at
//! the end.

#[path = "shared/signal.rs"]
mod signal;

use std::{io, process::ExitCode, time::Duration};

use actix_nsq::embedded::EmbeddedNsqd;
use clap::{CommandFactory, Parser};

/// An nsqd for tests: all in memory, no HTTP, no TLS, no compression, no AUTH.
#[derive(Debug, Parser)]
#[command(name = "embedded_nsqd", version)]
struct Flags {
    /// Address to listen on for TCP clients
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4150")]
    tcp_address: String,

    /// Maximum size of a single message in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    max_msg_size: usize,

    /// Maximum size of a single command body
    #[arg(long, value_name = "BYTES", default_value_t = 5 * 1024 * 1024)]
    max_body_size: usize,

    /// Maximum delay of a REQ or a DPUB
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    max_req_timeout: Duration,

    /// Default duration to wait before auto-requeuing a message
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    msg_timeout: Duration,

    /// Maximum duration before a message will timeout
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    max_msg_timeout: Duration,

    /// Maximum client configurable duration of time between client heartbeats
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = humantime::parse_duration)]
    max_heartbeat_interval: Duration,

    /// Maximum RDY count for a client
    #[arg(long, value_name = "N", default_value_t = 2500)]
    max_rdy_count: usize,
}

fn main() -> ExitCode {
    let flags = Flags::parse_from(std::env::args().map(double_dash));
    match run(flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embedded_nsqd: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(flags: Flags) -> io::Result<()> {
    // Before the address is told: whoever reads it may send a signal at once.
    let end = signal::asked_to_end()?;
    let nsqd = start(&flags)?;
    println!("{}", nsqd.address());
    end.await
}

fn start(flags: &Flags) -> io::Result<EmbeddedNsqd> {
    // Go's way to say every interface.
    let every = flags.tcp_address.starts_with(':').then_some("0.0.0.0");
    EmbeddedNsqd::builder()
        .address(format!("{}{}", every.unwrap_or(""), flags.tcp_address))
        .max_msg_size(flags.max_msg_size)
        .max_body_size(flags.max_body_size)
        .max_req_timeout(flags.max_req_timeout)
        .msg_timeout(flags.msg_timeout)
        .max_msg_timeout(flags.max_msg_timeout)
        .max_heartbeat_interval(flags.max_heartbeat_interval)
        .max_rdy_count(flags.max_rdy_count)
        .start()
}

/// Gives a flag in Go's spelling its second dash.
fn double_dash(argument: String) -> String {
    let name = argument.strip_prefix('-').unwrap_or_default();
    let name = name.split_once('=').map_or(name, |(name, _)| name);
    let command = Flags::command();
    let mut known = command.get_arguments().filter_map(|flag| flag.get_long());
    if ["help", "version"].contains(&name) || known.any(|known| known == name) {
        format!("-{argument}")
    } else {
        argument
    }
}
