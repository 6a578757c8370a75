//! A peer that says everything back, and tells what it heard.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use crate::support::{chaos::ChaosProxy, wait::PATIENCE};

/// A server of many connections.
pub(super) struct Echo {
    address: SocketAddr,
    open: Arc<AtomicBool>,
    listening: Option<thread::JoinHandle<()>>,
    tell: mpsc::Sender<Heard>,
    told: mpsc::Receiver<Heard>,
}

/// What somebody has read until the end, and whether that was a reset.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) bytes: Vec<u8>,
    pub(super) reset: bool,
}

impl Heard {
    pub(super) fn end(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            reset: false,
        }
    }

    pub(super) fn reset(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            reset: true,
        }
    }
}

impl Echo {
    pub(super) fn start() -> Self {
        let (tell, told) = mpsc::channel();
        let mut echo = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            open: Arc::default(),
            listening: None,
            tell,
            told,
        };
        echo.open();
        echo
    }

    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// What the connection heard that ended next.
    pub(super) fn heard(&self) -> Heard {
        self.told.recv_timeout(PATIENCE).expect("a connection ends")
    }

    /// Listens, on the same port each time.
    pub(super) fn open(&mut self) {
        let listener = TcpListener::bind(self.address).unwrap();
        self.address = listener.local_addr().unwrap();
        let open = Arc::clone(&self.open);
        let tell = self.tell.clone();
        open.store(true, Ordering::SeqCst);
        self.listening = Some(thread::spawn(move || {
            for connection in listener.incoming() {
                if !open.load(Ordering::SeqCst) {
                    return;
                }
                let (connection, tell) = (connection.unwrap(), tell.clone());
                thread::spawn(move || tell.send(say_back(connection)));
            }
        }));
    }

    /// Listens no longer; what is open stays so.
    pub(super) fn close(&mut self) {
        self.open.store(false, Ordering::SeqCst);
        // It sees that it is to end when somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            listening.join().unwrap();
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reads on when nobody listens any more.
fn say_back(mut connection: TcpStream) -> Heard {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match connection.read(&mut buffer) {
            Ok(0) => return Heard::end(&bytes),
            Ok(read) => {
                bytes.extend(&buffer[..read]);
                // A reset is told once, to whoever asks first.
                match connection.write_all(&buffer[..read]) {
                    Err(e) if is_reset(&e) => return Heard::reset(&bytes),
                    _ => {}
                }
            }
            Err(e) if is_reset(&e) => return Heard::reset(&bytes),
            Err(e) => panic!("neither an end nor a reset: {e}"),
        }
    }
}

fn is_reset(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

pub(super) fn client(proxy: &ChaosProxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client
}

/// What else the client reads, until its connection has ended.
#[track_caller]
pub(super) fn ends(client: &mut TcpStream) -> Heard {
    let mut bytes = Vec::new();
    match client.read_to_end(&mut bytes) {
        Ok(_) => Heard::end(&bytes),
        Err(e) if is_reset(&e) => Heard::reset(&bytes),
        Err(e) => panic!("the connection does not end: {e}"),
    }
}

/// So many bytes of which no two parts are alike.
pub(super) fn bytes(count: usize) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(count as u64);
    (0..count).map(|_| rng.u8(..)).collect()
}
