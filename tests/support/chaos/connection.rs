//! One connection through a proxy, until both its sides have ended.

use std::{
    future, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    join,
    net::{TcpSocket, TcpStream, lookup_host},
    pin, select,
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    faults::{Direction, End, Faults},
    pipe::{Accident, Outcome, Pipe},
    tally::Tally,
};

/// Time for a peer to close a connection that was finished.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection gets when it is opened.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) upstream: Arc<str>,
    pub(super) from: Option<IpAddr>,
    /// The faults at the opening, and the current ones.
    pub(super) initial: Faults,
    pub(super) current: watch::Receiver<Faults>,
    /// Whether it is one of the `times` connections that are stalled, cut and corrupted.
    pub(super) is_struck: bool,
    pub(super) tally: Arc<Tally>,
    pub(super) seed: u64,
}

pub(super) async fn serve(mut client: TcpStream, terms: Terms) {
    if terms.initial.refuse {
        return reset(client);
    }
    let Ok(mut server) = dial(&terms.upstream, terms.from).await else {
        return reset(client);
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);

    let end = select! {
        end = pass(&mut client, &mut server, &terms) => end,
        () = expire(terms.initial.cut_every) => Some(terms.initial.end),
    };
    match end {
        None => drop((client, server)),
        Some(End::Rst) => {
            reset(client);
            reset(server);
        }
        Some(End::Fin) => {
            let _ = client.shutdown().await;
            let _ = server.shutdown().await;
            finish(client, server).await;
        }
    }
    // Counted as open until here.
    drop(terms);
}

async fn dial(upstream: &str, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(from) = from else {
        return TcpStream::connect(upstream).await;
    };
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from, 0))?;
    let upstream = lookup_host(upstream).await?.next();
    let upstream = upstream.ok_or(io::ErrorKind::AddrNotAvailable)?;
    socket.connect(upstream).await
}

async fn expire(age: Option<Duration>) {
    match age {
        Some(age) => sleep(age).await,
        None => future::pending().await,
    }
}

/// Passes bytes both ways. Returns how to end the connection, or `None` if its peers ended it.
async fn pass(client: &mut TcpStream, server: &mut TcpStream, terms: &Terms) -> Option<End> {
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let pipe = |halves, direction| {
        let way = terms.initial.way(direction);
        let accident = Accident {
            cut: way.cut.filter(|_| terms.is_struck),
            corrupt: way.corrupt.filter(|_| terms.is_struck),
            stalls: terms.is_struck,
        };
        let seed = terms.seed ^ u64::from(direction == Direction::Down);
        let tally = Arc::clone(&terms.tally);
        Pipe::new(
            halves,
            direction,
            terms.current.clone(),
            accident,
            tally,
            seed,
        )
    };
    let up = pipe((client_read, server_write), Direction::Up).run();
    let down = pipe((server_read, client_write), Direction::Down).run();
    pin!(up, down);
    let (mut up_runs, mut down_runs) = (true, true);
    while up_runs || down_runs {
        let outcome = select! {
            outcome = &mut up, if up_runs => {
                up_runs = false;
                outcome
            }
            outcome = &mut down, if down_runs => {
                down_runs = false;
                outcome
            }
        };
        match outcome {
            // The other direction continues.
            Outcome::Fin | Outcome::Closed => {}
            Outcome::Reset => return Some(End::Rst),
            Outcome::Cut => return Some(terms.initial.end),
        }
    }
    None
}

/// Waits until both peers have closed: closing a socket with unread bytes would reset it, and
/// bytes that were passed could be lost.
async fn finish(mut client: TcpStream, mut server: TcpStream) {
    let both = async { join!(read_to_end(&mut client), read_to_end(&mut server)) };
    let _ = timeout(CLOSE_TIMEOUT, both).await;
}

async fn read_to_end(stream: &mut TcpStream) {
    let mut unread = [0; 4096];
    while !matches!(stream.read(&mut unread).await, Ok(0) | Err(_)) {}
}

/// Closes with a RST.
fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
