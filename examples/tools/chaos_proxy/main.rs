//! `chaos_proxy`: a bad network before your nsqd, to see what your application makes of it.
//!
//! ```text
//! cargo run --example chaos_proxy -- --upstream 127.0.0.1:4150 --listen 127.0.0.1:4250 --faults latency=20ms,jitter=5ms
//! chaos_proxy --upstream 127.0.0.1:4150 --faults cut-every=5s,end=rst
//! chaos_proxy --upstream 127.0.0.1:4150 --faults slice=1..7,corrupt-down=1000,times=1 --seed 42
//! ```
//!
//! * Publish to the address that it prints instead of nsqd's; any NSQ client will do, and any other TCP server.
//! * `--help` tells every fault there is. Those that name a direction concern what the client sends (`-up`), or what it is
//!   sent (`-down`).
//! * It prints its seed: the same seed does the same again.
//! * SIGTERM and Ctrl-C end it, with exit code 0, and it says what has passed.

// The proxy that the tests of this crate use.
#[path = "../../../tests/support/chaos/mod.rs"]
mod chaos;

#[path = "../shared/signal.rs"]
mod signal;

use std::{io, process::ExitCode};

use chaos::{ChaosProxy, Faults};
use clap::Parser;

/// A TCP proxy that delays, throttles, slices, corrupts, stalls and cuts what passes through it.
#[derive(Debug, Parser)]
#[command(name = "chaos_proxy", version, after_help = FAULTS)]
struct Flags {
    /// Address to listen on; port 0 is a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,

    /// Address of the server, which may come and go
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:4150", value_parser = address)]
    upstream: String,

    /// What to do to the connections
    #[arg(long, value_name = "FAULT,...", default_value = "none")]
    faults: Faults,

    /// What chance depends on; without it, it is another each time
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

const FAULTS: &str = "\
Faults of one way; with -up of what the client sends, with -down of what it is sent, else of both:
  latency=20ms        everything arrives so much later
  jitter=5ms          give or take so much; the order stays
  bandwidth=100kB/s   no more than that passes (B/s, kB/s, MB/s)
  slice=1..7          it arrives in pieces of so many bytes
  stall=5000          so many bytes pass, and then no more; the connection stays open
  cut=1234            so many bytes pass, and then the connection ends
  corrupt=77          the byte behind so many others arrives as another one
Faults of a connection:
  end=rst             one that is cut is reset, and not finished (fin)
  cut-every=5s        it ends when it is that old
  times=1             only so many are stalled, cut and corrupted: the first ones
  black-hole          it opens, and nothing passes
  refuse              it is reset at once";

/// Whether the name resolves is seen at each connection, for the server may come and go.
fn address(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            Ok(text.to_owned())
        }
        _ => Err("takes a host and a port of 1 to 65535, such as 127.0.0.1:4150".to_owned()),
    }
}

fn main() -> ExitCode {
    match run(Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos_proxy: {error}");
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(flags: Flags) -> io::Result<()> {
    // Before the address is told: whoever reads it may send a signal at once.
    let end = signal::asked_to_end()?;
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
    end.await?;
    let passed = proxy.counts();
    println!(
        "{} connections, {} bytes up, {} bytes down",
        passed.connections, passed.up, passed.down
    );
    Ok(())
}
