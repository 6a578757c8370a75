//! A peer whose responses depend on counts, not on speed, so that each run costs the same.
//!
//! nsqd responds to each command at once, so that timing decides how many publishes share a
//! command. The sink responds when the publishes of all callers have arrived, with one write: each
//! round is one write and one read on every machine and with every tool.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::support::command::{Verb, read};

const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";

/// A sink on a free port. It serves connections until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    pub address: SocketAddr,
}

impl Sink {
    /// Starts a sink that responds when `round` publishes have arrived.
    pub fn start(round: usize) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // The measurement fails if the client does.
                thread::spawn(move || drop(serve(client, round)));
            }
        });
        Ok(Self { address })
    }
}

fn serve(mut client: TcpStream, round: usize) -> io::Result<()> {
    client.set_nodelay(true)?;
    client.read_exact(&mut [0; b"  V2".len()])?;
    let (mut buffer, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
    let (mut publishes, mut answers) = (0, Vec::new());
    loop {
        let count = client.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        buffer.extend(&chunk[..count]);
        let mut at = 0;
        while let Some(command) = read(&buffer, at)
            && let Some(end) = command.end
        {
            at = end;
            if command.verb == Verb::Identify {
                client.write_all(OK)?;
                continue;
            }
            publishes += command.bodies.len();
            answers.extend(OK);
            if publishes >= round {
                client.write_all(&answers)?;
                (publishes, answers) = (0, Vec::new());
            }
        }
        buffer.drain(..at);
    }
}
