//! `chaos_proxy`: a faulty network between an application and nsqd, to test the application.
//!
//! ```text
//! cargo run --example chaos_proxy -- --upstream 127.0.0.1:4150 --faults latency=20ms,jitter=5ms
//! chaos_proxy --upstream 127.0.0.1:4150 --listen 127.0.0.1:4250 --faults cut-every=5s,end=rst
//! chaos_proxy --upstream 127.0.0.1:4150 --faults slice=1..7,corrupt-down=1000,times=1 --seed 42
//! ```
//!
//! * Connect the client to the address that it prints. It forwards any protocol over TCP.
//! * `--help` lists all faults. The suffix `-up` selects the bytes that the client sends, `-down`
//!   those that it receives.
//! * It prints its seed. The same seed repeats the same faults.
//! * SIGTERM and Ctrl-C terminate it with exit code 0. It then prints how much it has forwarded.

// The proxy that the tests of this crate use.
#[path = "../../../tests/support/chaos/mod.rs"]
mod chaos;

#[path = "../shared/arguments.rs"]
mod arguments;
#[path = "../shared/signal.rs"]
mod signal;

use std::{
    io,
    process::{self, ExitCode},
};

use chaos::{ChaosProxy, Faults};
use clap::Parser;

/// A TCP proxy that delays, throttles, slices, corrupts, stalls and cuts what passes through it.
#[derive(Debug, Parser)]
#[command(name = "chaos_proxy", version, after_help = FAULTS)]
struct Flags {
    /// Address to listen on; port 0 selects a free port
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,

    /// Address of the server; it need not be running yet
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4150", value_parser = address)]
    upstream: String,

    /// Faults to apply to the connections
    #[arg(long, value_name = "FAULT,...", default_value = "none")]
    faults: Faults,

    /// Seed of the random numbers [default: random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

const FAULTS: &str = "\
Faults of both directions; with -up only of the bytes from the client, with -down of those to it:
  latency=20ms        delays all bytes
  jitter=5ms          varies the latency by up to this much; the order is kept
  bandwidth=100kB/s   limits the throughput (B/s, kB/s, MB/s)
  slice=1..7          forwards in pieces of this many bytes
  stall=5000          forwards this many bytes and then none; the connection stays open
  cut=1234            forwards this many bytes and then closes the connection
  corrupt=77          changes the byte after this many bytes
Faults of a connection:
  end=rst             closes with a reset instead of fin
  cut-every=5s        closes each connection at this age
  times=1             stalls, cuts and corrupts only the first N connections
  black-hole          accepts connections and forwards nothing
  refuse              resets new connections at once";

/// Checks the form only; the name is resolved for each connection.
fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("must be a host and a port from 1 to 65535, such as 127.0.0.1:4150".to_owned()),
    }
}

fn main() -> ExitCode {
    match run(arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos_proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(flags: Flags) -> io::Result<()> {
    // Before the address is printed: its reader may send a signal at once.
    let terminated = signal::terminated(|| process::exit(1))?;
    let seed = flags.seed.unwrap_or_else(chaos::seed);
    let Flags {
        listen,
        upstream,
        faults,
        ..
    } = flags;
    let proxy = ChaosProxy::start_at(&listen, &upstream, faults.clone(), seed)
        .map_err(|e| io::Error::new(e.kind(), format!("--listen {listen}: {e}")))?;
    println!("{}", proxy.address());
    println!("--upstream {upstream} --faults {faults} --seed {seed}");
    terminated.await;
    let forwarded = proxy.counts();
    println!(
        "{} connections, {} bytes up, {} bytes down",
        forwarded.connections, forwarded.up, forwarded.down
    );
    Ok(())
}
