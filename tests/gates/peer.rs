//! What the peers of the gates share: a listener, and the commands of each connection.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use crate::support::command::{Command, read};

/// nsqd's response to a command.
pub const OK: &[u8] = b"\0\0\0\x06\0\0\0\0OK";

/// Serves the connections to a free port until the process ends. Returns its address.
pub fn start(
    serve: impl Fn(TcpStream) -> io::Result<()> + Clone + Send + 'static,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let serve = serve.clone();
            // The measurement fails if the client does.
            thread::spawn(move || drop(serve(client)));
        }
    });
    Ok(address)
}

/// The commands of one connection.
pub struct Commands {
    buffer: Vec<u8>,
    chunk: Vec<u8>,
}

impl Commands {
    /// Reads the magic, which comes first.
    pub fn start(client: &mut TcpStream) -> io::Result<Self> {
        client.set_nodelay(true)?;
        client.read_exact(&mut [0; b"  V2".len()])?;
        Ok(Self {
            buffer: Vec::new(),
            chunk: vec![0; 1 << 16],
        })
    }

    /// The commands that one read completes; `None` at the end.
    pub fn read(&mut self, client: &mut TcpStream) -> io::Result<Option<Vec<Command>>> {
        let count = client.read(&mut self.chunk)?;
        if count == 0 {
            return Ok(None);
        }
        self.buffer.extend(&self.chunk[..count]);
        let (mut at, mut commands) = (0, Vec::new());
        while let Some(command) = read(&self.buffer, at)
            && let Some(end) = command.end
        {
            at = end;
            commands.push(command);
        }
        self.buffer.drain(..at);
        Ok(Some(commands))
    }
}
