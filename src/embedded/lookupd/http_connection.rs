//! The task of a connection to the HTTP port.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    select,
    sync::mpsc::UnboundedReceiver,
    time::sleep,
};

use super::{
    answer::answer,
    fault_state::{AnswerFaults, Replacement},
    response::{Answer, Output},
    state::{Open, Query},
};
use crate::embedded::http::{Request, read_request};

/// Serves a connection until it is closed.
pub(super) async fn serve(
    mut stream: TcpStream,
    open: Open,
    mut close: UnboundedReceiver<mpsc::Sender<()>>,
) {
    let done = select! {
        () = run(&mut stream, &open) => None,
        done = close.recv() => done,
    };
    // The order matters: close the socket, then leave the state, then complete the request.
    drop(stream);
    drop(open);
    drop((done, close));
}

async fn run(stream: &mut TcpStream, open: &Open) {
    let shared = &open.shared;
    let mut input = Vec::new();
    while let Some(request) = read_request(stream, &mut input).await {
        let output = match request {
            Ok(request) => {
                let faults = shared.change(|state| {
                    state.record_query(query(&request, open.number));
                    state.faults.take(&request.path)
                });
                if faults.delay > Duration::ZERO {
                    sleep(faults.delay).await;
                }
                shared.until_thawed().await;
                match respond(&request, &faults, open) {
                    Some(output) => output,
                    None => return silent(stream).await,
                }
            }
            // Where the next request begins is not known.
            Err(invalid) => {
                shared.until_thawed().await;
                Output::invalid(invalid)
            }
        };
        for piece in &output.pieces {
            if stream.write_all(piece).await.is_err() {
                return;
            }
        }
        if !output.keep_alive {
            // Fails if the client has closed the connection.
            let _ = stream.shutdown().await;
            return;
        }
    }
}

fn query(request: &Request, connection: u64) -> Query {
    Query {
        method: request.method.clone(),
        path: request.path.clone(),
        target: request.target.clone(),
        headers: request.headers.clone(),
        connection,
        received: Instant::now(),
    }
}

/// Returns what to write; `None`: nothing, and the connection stays open.
fn respond(request: &Request, faults: &AnswerFaults, open: &Open) -> Option<Output> {
    let shared = &open.shared;
    let replacement = faults.replacement.clone();
    let mut answer = match replacement {
        None => shared.change(|state| answer(request, state, &shared.options)),
        Some(Replacement::Answer { status, body }) => Answer::custom(status, body),
        Some(Replacement::Redirect(location)) => Answer::redirect(302, &location, true),
        Some(Replacement::Raw(bytes)) => {
            return Some(Output {
                pieces: vec![bytes],
                keep_alive: false,
            });
        }
        Some(Replacement::Close) => return Some(Output::default()),
        Some(Replacement::Silence) => return None,
    };
    answer.pad(faults.pad);
    Some(Output::new(&answer, request, faults))
}

/// Reads until the client closes the connection.
async fn silent(stream: &mut TcpStream) {
    let mut ignored = [0; 1024];
    while stream.read(&mut ignored).await.is_ok_and(|read| read > 0) {}
}
