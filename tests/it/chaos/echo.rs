//! A server that echoes, and reports what it received.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use crate::support::{chaos::ChaosProxy, wait::PATIENCE};

/// Serves connections until the process ends.
pub(super) struct Echo {
    address: SocketAddr,
    ended: mpsc::Receiver<Received>,
}

/// What was received until EOF or a reset.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) bytes: Vec<u8>,
    pub(super) reset: bool,
}

impl Received {
    pub(super) fn eof(bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        Self {
            bytes,
            reset: false,
        }
    }

    fn reset(bytes: &[u8]) -> Self {
        let bytes = bytes.to_vec();
        Self { bytes, reset: true }
    }
}

impl Echo {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, ended) = mpsc::channel();
        thread::spawn(move || {
            for connection in listener.incoming() {
                let (connection, sender) = (connection.unwrap(), sender.clone());
                thread::spawn(move || sender.send(echo(connection)));
            }
        });
        Self { address, ended }
    }

    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// What the connection received that ended next.
    pub(super) fn received(&self) -> Received {
        self.ended
            .recv_timeout(PATIENCE)
            .expect("a connection ends")
    }
}

fn echo(mut connection: TcpStream) -> Received {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match connection.read(&mut buffer) {
            Ok(0) => return Received::eof(&bytes),
            Ok(read) => {
                bytes.extend(&buffer[..read]);
                // A reset is reported once, to a read or a write.
                match connection.write_all(&buffer[..read]) {
                    Err(error) if is_reset(&error) => return Received::reset(&bytes),
                    _ => {}
                }
            }
            Err(error) if is_reset(&error) => return Received::reset(&bytes),
            Err(error) => panic!("neither EOF nor a reset: {error}"),
        }
    }
}

fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

pub(super) fn client(proxy: &ChaosProxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Reads until EOF or a reset.
#[track_caller]
pub(super) fn until_eof(client: &mut TcpStream) -> Received {
    let mut bytes = Vec::new();
    match client.read_to_end(&mut bytes) {
        Ok(_) => Received::eof(&bytes),
        Err(error) if is_reset(&error) => Received::reset(&bytes),
        Err(error) => panic!("neither EOF nor a reset: {error}"),
    }
}

pub(super) fn random_bytes(count: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(count as u64);
    (0..count).map(|_| rng.u8(..)).collect()
}
