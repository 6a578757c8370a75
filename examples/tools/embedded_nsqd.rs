//! `embedded_nsqd`: the embedded nsqd as a program, to which any NSQ client can publish and
//! subscribe.
//!
//! ```text
//! cargo run --example embedded_nsqd -- --tcp-address 127.0.0.1:4150
//! embedded_nsqd -tcp-address=127.0.0.1:0 -msg-timeout 2s -max-rdy-count 100
//! ```
//!
//! * The flags are those of nsqd, spelled as in Go (`-tcp-address`) or with two dashes.
//! * The first line on standard output is the address on which it listens; port 0 selects a free
//!   port. With `-http-address`, the second line is that of the HTTP API: `/ping`, `/info`,
//!   `/stats`. `-lookupd-tcp-address` selects a free port for HTTP, if there is none.
//! * `-data-path` and `-mem-queue-size` have no effect, because all messages are in memory.
//! * The flags for TLS, snappy and deflate exist if the program was built with these features.
//! * `--auth-secret` is not a flag of nsqd: a client with this secret is authorized for everything,
//!   any other client for nothing.
//! * SIGTERM and Ctrl-C terminate it with exit code 0.
//!
//! It is for tests and demonstrations: it keeps all messages in memory until it exits, also the
//! finished ones.

#[path = "shared/arguments.rs"]
mod arguments;
#[path = "shared/signal.rs"]
mod signal;

use std::{
    io,
    path::PathBuf,
    process::{self, ExitCode},
    time::Duration,
};

use actix_nsq::embedded::{EmbeddedNsqd, EmbeddedNsqdBuilder, Grant};
#[cfg(feature = "tls")]
use actix_nsq::{TlsVersion, embedded::TlsClientAuthPolicy};
use clap::Parser;
use humantime::parse_duration;

/// An nsqd for tests: all in memory.
#[derive(Debug, Parser)]
#[command(name = "embedded_nsqd", version)]
struct Flags {
    /// Address to listen on for TCP clients
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4150")]
    tcp_address: String,

    /// Address to listen on for HTTP clients [default: no HTTP]
    #[arg(long, value_name = "HOST:PORT")]
    http_address: Option<String>,

    /// No effect: all messages are in memory
    #[arg(long, value_name = "DIRECTORY")]
    data_path: Option<PathBuf>,

    /// No effect: all messages are in memory
    #[arg(long, value_name = "N")]
    mem_queue_size: Option<u64>,

    /// nsqlookupd to register with (may be given multiple times)
    #[arg(long, value_name = "HOST:PORT")]
    lookupd_tcp_address: Vec<String>,

    /// Address that is registered with nsqlookupd [default: the IP address of TCP]
    #[arg(long, value_name = "HOST")]
    broadcast_address: Option<String>,

    /// TCP port that is registered with nsqlookupd [default: the port of TCP]
    #[arg(long, value_name = "PORT")]
    broadcast_tcp_port: Option<u16>,

    /// Maximum size of a single message in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1024 * 1024)]
    max_msg_size: usize,

    /// Maximum size of a single command body in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 5 * 1024 * 1024)]
    max_body_size: usize,

    /// Maximum delay of a REQ or a DPUB
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = parse_duration)]
    max_req_timeout: Duration,

    /// Time after which a message without a response is requeued
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
    msg_timeout: Duration,

    /// Maximum msg_timeout that a client may negotiate
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = parse_duration)]
    max_msg_timeout: Duration,

    /// Maximum heartbeat interval that a client may negotiate
    #[arg(long, value_name = "DURATION", default_value = "1m", value_parser = parse_duration)]
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

    /// Accept snappy if a client requests it
    #[cfg(feature = "snappy")]
    #[arg(
        long,
        default_value = "true",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true
    )]
    snappy: bool,

    /// Accept deflate if a client requests it
    #[cfg(feature = "deflate")]
    #[arg(
        long,
        default_value = "true",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true
    )]
    deflate: bool,

    /// Maximum deflate level that a client may negotiate
    #[cfg(feature = "deflate")]
    #[arg(long, value_name = "1-9", default_value_t = 6)]
    max_deflate_level: u32,
}

#[cfg(feature = "tls")]
#[derive(Debug, clap::Args)]
struct TlsFlags {
    /// Certificate chain (PEM)
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// Private key (PEM)
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Certificate authority of the clients (PEM)
    #[arg(long, value_name = "FILE")]
    tls_root_ca_file: Option<PathBuf>,

    /// Client certificates: 'require' or 'require-verify'
    #[arg(long, value_name = "POLICY", value_parser = client_auth_policy)]
    tls_client_auth_policy: Option<TlsClientAuthPolicy>,

    /// Reject clients without TLS
    #[arg(
        long,
        default_value = "false",
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true
    )]
    tls_required: bool,

    /// Minimum TLS version: 'tls1.2' or 'tls1.3'
    #[arg(long, value_name = "VERSION", default_value = "tls1.2", value_parser = tls_version)]
    tls_min_version: TlsVersion,
}

fn main() -> ExitCode {
    match run(arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("embedded_nsqd: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(flags: Flags) -> io::Result<()> {
    // Before the address is printed: its reader may send a signal at once.
    let terminated = signal::terminated(|| process::exit(1))?;
    let nsqd = start(&flags)?;
    println!("{}", nsqd.address());
    if let Some(address) = nsqd.http_address() {
        println!("{address}");
    }
    terminated.await;
    Ok(())
}

fn start(flags: &Flags) -> io::Result<EmbeddedNsqd> {
    let ignored = [
        ("--data-path", flags.data_path.is_some()),
        ("--mem-queue-size", flags.mem_queue_size.is_some()),
    ];
    for (flag, _) in ignored.iter().filter(|(_, is_given)| *is_given) {
        eprintln!("embedded_nsqd: {flag} has no effect: all messages are in memory");
    }
    let mut builder = EmbeddedNsqd::builder();
    if let Some(address) = &flags.http_address {
        builder = builder.http_address(go_address(address));
    }
    for address in &flags.lookupd_tcp_address {
        builder = builder.lookupd(address);
    }
    if let Some(address) = &flags.broadcast_address {
        builder = builder.broadcast_address(address);
    }
    if let Some(port) = flags.broadcast_tcp_port {
        builder = builder.broadcast_tcp_port(port);
    }
    let builder = builder
        .address(go_address(&flags.tcp_address))
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

/// Returns an address as Rust writes it: in Go, `:4150` means all interfaces.
fn go_address(address: &str) -> String {
    let host = if address.starts_with(':') {
        "0.0.0.0"
    } else {
        ""
    };
    format!("{host}{address}")
}

fn with_auth(builder: EmbeddedNsqdBuilder, secret: Option<String>) -> EmbeddedNsqdBuilder {
    let Some(secret) = secret else { return builder };
    builder.auth(move |request| {
        Ok(if request.secret() == secret.as_bytes() {
            Grant::everything("authorized")
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
        _ => Err("must be 'require' or 'require-verify'"),
    }
}

#[cfg(feature = "tls")]
fn tls_version(text: &str) -> Result<TlsVersion, &'static str> {
    match text {
        "tls1.2" => Ok(TlsVersion::Tls12),
        "tls1.3" => Ok(TlsVersion::Tls13),
        _ => Err("must be 'tls1.2' or 'tls1.3'"),
    }
}
