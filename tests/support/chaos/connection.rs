//! One connection through a chaos proxy, from the client's coming to the end of both its sides.

use std::{
    future, io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, mpsc},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    join,
    net::{TcpSocket, TcpStream, lookup_host},
    pin, select,
    sync::{broadcast, watch},
    time::{sleep, timeout},
};

use super::{
    faults::{Direction, End, Faults},
    pipe::{Accident, Outcome, Pipe},
    tally::Tally,
};

/// How long a side whose connection was finished may take to go away itself, before it is made to.
const FAREWELL: Duration = Duration::from_secs(5);

/// The order to end now. It is carried out when the sender in it is gone.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    pub(super) how: End,
    pub(super) done: mpsc::Sender<()>,
}

/// What a connection is given when it is opened.
#[derive(Debug)]
pub(super) struct Terms {
    pub(super) upstream: Arc<str>,
    pub(super) from: Option<IpAddr>,
    /// As they were then, and as they are.
    pub(super) then: Faults,
    pub(super) now: watch::Receiver<Faults>,
    /// Whether it is one of those that something befalls.
    pub(super) is_struck: bool,
    pub(super) tally: Arc<Tally>,
    pub(super) seed: u64,
}

pub(super) async fn serve(mut client: TcpStream, terms: Terms, mut cuts: broadcast::Receiver<Cut>) {
    if terms.then.refuse {
        return reset(client);
    }
    let mut server = select! {
        dialled = dial(&terms.upstream, terms.from) => match dialled {
            Ok(server) => server,
            // What a client is told that nobody listens to.
            Err(_) => return reset(client),
        },
        _order = cuts.recv() => return reset(client),
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);

    // Held until the sockets have ended: who cuts waits for it.
    let mut order = None;
    let how = select! {
        how = pass(&mut client, &mut server, &terms) => how,
        () = grows_old(terms.then.cut_every) => Some(terms.then.end),
        cut = cuts.recv() => cut.ok().map(|cut| order.insert(cut).how),
    };
    drop(cuts);
    match how {
        None => drop((client, server)),
        Some(End::Rst) => {
            reset(client);
            reset(server);
        }
        Some(End::Fin) => {
            let _ = client.shutdown().await;
            let _ = server.shutdown().await;
            drop(order);
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

async fn grows_old(age: Option<Duration>) {
    match age {
        Some(age) => sleep(age).await,
        None => future::pending().await,
    }
}

/// Passes on whatever comes, both ways; how the connection is to be ended, or `None` when its sides have ended it.
async fn pass(client: &mut TcpStream, server: &mut TcpStream, terms: &Terms) -> Option<End> {
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let pipe = |halves, direction| {
        let way = terms.then.way(direction);
        let accident = Accident {
            cut: way.cut.filter(|_| terms.is_struck),
            corrupt: way.corrupt.filter(|_| terms.is_struck),
            stalls: terms.is_struck,
        };
        let seed = terms.seed ^ u64::from(direction == Direction::Down);
        let tally = Arc::clone(&terms.tally);
        Pipe::new(halves, direction, terms.now.clone(), accident, tally, seed)
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
            // The other way may go on.
            Outcome::Fin | Outcome::Deaf => {}
            Outcome::Reset => return Some(End::Rst),
            Outcome::Cut => return Some(terms.then.end),
        }
    }
    None
}

/// Waits until both sides have taken the end: closed with anything unread, a socket resets, and what was passed on could be
/// lost.
async fn finish(mut client: TcpStream, mut server: TcpStream) {
    let both = async { join!(read_to_end(&mut client), read_to_end(&mut server)) };
    let _ = timeout(FAREWELL, both).await;
}

async fn read_to_end(stream: &mut TcpStream) {
    let mut unread = [0; 4096];
    while !matches!(stream.read(&mut unread).await, Ok(0) | Err(_)) {}
}

/// Ends a connection with a RST, whatever is on its way.
fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}
