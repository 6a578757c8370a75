//! A peer whose responses depend on counts, not on speed, so that each run costs the same.
//!
//! nsqd responds to each command at once, so that timing decides how many publishes share a
//! command. The sink responds when the publishes of all callers have arrived, with one write: each
//! round is one write and one read on every machine and with every tool.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

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
    let mut reader = BufReader::with_capacity(1 << 20, client.try_clone()?);
    reader.read_exact(&mut [0; b"  V2".len()])?;
    let (mut publishes, mut answers) = (0, Vec::new());
    loop {
        let line = line(&mut reader)?;
        match line.split(|byte| *byte == b' ').next() {
            Some(b"IDENTIFY") => {
                body(&mut reader)?;
                client.write_all(OK)?;
                continue;
            }
            Some(b"PUB") => {
                body(&mut reader)?;
                publishes += 1;
            }
            Some(b"MPUB") => {
                let messages = body(&mut reader)?;
                let count = messages.first_chunk().ok_or(io::ErrorKind::InvalidData)?;
                publishes += u32::from_be_bytes(*count) as usize;
            }
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        answers.extend(OK);
        if publishes >= round {
            client.write_all(&answers)?;
            (publishes, answers) = (0, Vec::new());
        }
    }
}

fn line(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        reader.read_exact(&mut byte)?;
        match byte {
            [b'\n'] => return Ok(line),
            [byte] => line.push(byte),
        }
    }
}

fn body(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    reader.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    reader.read_exact(&mut body)?;
    Ok(body)
}
