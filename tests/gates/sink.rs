//! A peer whose pace depends on counts alone, and not on how fast anyone is: what is measured against it is the same each time.
//!
//! nsqd answers a command as soon as it has read it. Which commands are in flight at once, and so how many publishes share one,
//! is then a matter of microseconds. The sink answers only when all its callers' publishes are there, and all of them with one
//! write: each round is one pile, one write and one read, on every machine and under every tool.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";

/// A sink on a port of its own, which serves any number of connections until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    pub address: SocketAddr,
}

impl Sink {
    /// A sink that answers whenever so many publishes wait for it.
    pub fn start(round: usize) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A client that goes away is none of its business: whoever measures sees how it ended.
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
