//! `embedded_nsqd`: the embedded nsqd alone, as a program that any NSQ client can publish to and consume from.
//!
//! ```text
//! cargo run --example embedded_nsqd -- --tcp-address 127.0.0.1:4150
//! embedded_nsqd -tcp-address=127.0.0.1:0 -msg-timeout 2s -max-rdy-count 100
//! ```
//!
//! * Its flags are nsqd's own, in the spelling of Go (`-tcp-address`) and the usual one (`--tcp-address`).
//! * The first line on standard output is the address it listens on; port 0 is a free one.
//! * TLS, snappy and deflate are there when the program was built with the features of these names.
//! * `--auth-secret` is the one flag that nsqd does not have: who shows that secret may do everything, and nobody else anything.
//! * SIGTERM and Ctrl-C end it, with exit code 0.
//!
//! It is for tests and demonstrations: it keeps everything in memory, also what has been consumed, and forgets it at
//! the end.

#[path = "shared/signal.rs"]
mod signal;

use std::{io, process::ExitCode, time::Duration};

#[cfg(feature = "tls")]
use std::path::PathBuf;

use actix_nsq::embedded::{EmbeddedNsqd, EmbeddedNsqdBuilder, Grant};
#[cfg(feature = "tls")]
use actix_nsq::{TlsVersion, embedded::TlsClientAuthPolicy};
use clap::{CommandFactory, Parser};

/// An nsqd for tests: all in memory, no HTTP.
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

    /// Require AUTH with this secret
    #[arg(long, value_name = "SECRET")]
    auth_secret: Option<String>,

    #[cfg(feature = "tls")]
    #[command(flatten)]
    tls: TlsFlags,

    /// Enable snappy feature negotiation
    #[cfg(feature = "snappy")]
    #[arg(long, default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    snappy: bool,

    /// Enable deflate feature negotiation
    #[cfg(feature = "deflate")]
    #[arg(long, default_value = "true", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    deflate: bool,

    /// Maximum deflate compression level a client can negotiate
    #[cfg(feature = "deflate")]
    #[arg(long, value_name = "1-9", default_value_t = 6)]
    max_deflate_level: u32,
}

#[cfg(feature = "tls")]
#[derive(Debug, clap::Args)]
struct TlsFlags {
    /// Path to certificate file
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// Path to key file
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Path to certificate authority file
    #[arg(long, value_name = "FILE")]
    tls_root_ca_file: Option<PathBuf>,

    /// Client certificate auth policy: 'require' or 'require-verify'
    #[arg(long, value_name = "POLICY", value_parser = client_auth_policy)]
    tls_client_auth_policy: Option<TlsClientAuthPolicy>,

    /// Require TLS for client connections
    #[arg(long, default_value = "false", default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    tls_required: bool,

    /// Minimum TLS version acceptable: 'tls1.2' or 'tls1.3'
    #[arg(long, value_name = "VERSION", default_value = "tls1.2", value_parser = tls_version)]
    tls_min_version: TlsVersion,
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
    let builder = EmbeddedNsqd::builder()
        .address(format!("{}{}", every.unwrap_or(""), flags.tcp_address))
        .max_msg_size(flags.max_msg_size)
        .max_body_size(flags.max_body_size)
        .max_req_timeout(flags.max_req_timeout)
        .msg_timeout(flags.msg_timeout)
        .max_msg_timeout(flags.max_msg_timeout)
        .max_heartbeat_interval(flags.max_heartbeat_interval)
        .max_rdy_count(flags.max_rdy_count);
    #[cfg(feature = "tls")]
    let builder = with_tls(builder, &flags.tls);
    #[cfg(feature = "snappy")]
    let builder = builder.snappy(flags.snappy);
    #[cfg(feature = "deflate")]
    let builder = builder
        .deflate(flags.deflate)
        .max_deflate_level(flags.max_deflate_level);
    with_auth(builder, flags.auth_secret.clone()).start()
}

fn with_auth(builder: EmbeddedNsqdBuilder, secret: Option<String>) -> EmbeddedNsqdBuilder {
    let Some(secret) = secret else { return builder };
    builder.auth(move |asked| {
        let knows_it = asked.secret() == secret.as_bytes();
        Ok(if knows_it {
            Grant::everything("friend")
        } else {
            Grant::nothing()
        })
    })
}

#[cfg(feature = "tls")]
fn with_tls(mut builder: EmbeddedNsqdBuilder, flags: &TlsFlags) -> EmbeddedNsqdBuilder {
    if let Some(file) = &flags.tls_cert {
        builder = builder.tls_cert(file);
    }
    if let Some(file) = &flags.tls_key {
        builder = builder.tls_key(file);
    }
    if let Some(file) = &flags.tls_root_ca_file {
        builder = builder.tls_root_ca_file(file);
    }
    if let Some(policy) = flags.tls_client_auth_policy {
        builder = builder.tls_client_auth_policy(policy);
    }
    builder
        .tls_required(flags.tls_required)
        .tls_min_version(flags.tls_min_version)
}

#[cfg(feature = "tls")]
fn client_auth_policy(text: &str) -> Result<TlsClientAuthPolicy, &'static str> {
    match text {
        "require" => Ok(TlsClientAuthPolicy::Require),
        "require-verify" => Ok(TlsClientAuthPolicy::RequireVerify),
        _ => Err("neither 'require' nor 'require-verify'"),
    }
}

#[cfg(feature = "tls")]
fn tls_version(text: &str) -> Result<TlsVersion, &'static str> {
    match text {
        "tls1.2" => Ok(TlsVersion::Tls12),
        "tls1.3" => Ok(TlsVersion::Tls13),
        _ => Err("neither 'tls1.2' nor 'tls1.3'"),
    }
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
