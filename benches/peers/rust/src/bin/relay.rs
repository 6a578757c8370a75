//! A TCP relay that delays every byte: a network between a client and nsqd.
//!
//! `relay UPSTREAM DELAY_US` prints the address on which it listens, and runs until it is killed.
//! The delay is that of one direction. Each direction of a connection has a thread that reads and
//! notes the time, and a thread that sleeps until a chunk is due and writes it: a timer of tokio
//! has a resolution of 1 ms.

use std::{
    env,
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::ExitCode,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

/// Maximum number of bytes per read.
const READ_SIZE: usize = 64 << 10;

/// Maximum number of chunks that are delayed in one direction. Beyond it, nothing is read.
const MAX_CHUNKS: usize = 1024;

/// Bytes, and when they have to be written.
type Chunk = (Instant, Vec<u8>);

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let upstream = arguments.next();
    let delay = arguments.next().and_then(|text| text.parse().ok());
    let (Some(upstream), Some(delay), None) = (upstream, delay, arguments.next()) else {
        eprintln!("usage: relay UPSTREAM DELAY_US");
        return ExitCode::from(2);
    };
    match run(&upstream, Duration::from_micros(delay)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("relay: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(upstream: &str, delay: Duration) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for client in listener.incoming() {
        let (client, nsqd) = (client?, TcpStream::connect(upstream)?);
        client.set_nodelay(true)?;
        nsqd.set_nodelay(true)?;
        let back = (nsqd.try_clone()?, client.try_clone()?);
        for (from, to) in [(client, nsqd), back] {
            let (sender, chunks) = sync_channel(MAX_CHUNKS);
            thread::spawn(move || read(from, &sender, delay));
            thread::spawn(move || write(to, chunks));
        }
    }
    Ok(())
}

/// Reads until EOF or an error.
fn read(mut from: TcpStream, chunks: &SyncSender<Chunk>, delay: Duration) {
    let mut buffer = vec![0; READ_SIZE];
    while let Ok(size @ 1..) = from.read(&mut buffer) {
        let chunk = (Instant::now() + delay, buffer[..size].to_vec());
        if chunks.send(chunk).is_err() {
            break;
        }
    }
}

/// Writes each chunk when it is due, then EOF.
fn write(mut to: TcpStream, chunks: Receiver<Chunk>) {
    for (due, bytes) in chunks {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            break;
        }
    }
    // Without effect if the connection is lost.
    let _ = to.shutdown(Shutdown::Write);
}
