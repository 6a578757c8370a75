//! The task of a connection of an nsqd.

use std::{net::SocketAddr, sync::mpsc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    select,
    sync::mpsc::UnboundedReceiver,
};

use super::{
    session::{Ports, Session},
    state::Open,
};

/// Size of the read buffer in bytes; that of nsqlookupd.
const BUFFER: usize = 4096;

/// Serves a connection until it is closed.
pub(super) async fn serve(
    mut stream: TcpStream,
    peer: SocketAddr,
    ports: Ports,
    open: Open,
    mut close: UnboundedReceiver<mpsc::Sender<()>>,
) {
    let session = Session::new(open.number, peer, ports);
    let done = select! {
        () = run(&mut stream, session, &open) => None,
        done = close.recv() => done,
    };
    // The order matters: close the socket, then leave the state, then complete the request.
    drop(stream);
    drop(open);
    drop((done, close));
}

async fn run(stream: &mut TcpStream, mut session: Session, open: &Open) {
    let shared = &open.shared;
    let mut buffer = vec![0; BUFFER];
    loop {
        let size = session.missing_magic().unwrap_or(BUFFER).min(BUFFER);
        let read = match buffer.get_mut(..size) {
            Some(part) => stream.read(part).await,
            None => return,
        };
        let Ok(length) = read else { return };
        shared.until_thawed().await;
        session.receive(buffer.get(..length).unwrap_or_default());
        let responses = shared.change(|state| session.advance(state, &shared.options, length == 0));
        if stream.write_all(&responses).await.is_err() || session.has_ended() {
            return;
        }
    }
}
