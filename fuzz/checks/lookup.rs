//! Checks queries to nsqlookupd with any bytes as the response: they end in time, with valid nodes
//! or an error in one line.

use std::{
    collections::BTreeSet,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use actix_nsq::{
    ConnectFuture, ConnectTarget, ConnectionConfig, Connector, LookupConfig, Topic, Transport,
    lookup::{self, LookupError, Node},
};
use serde::de::IgnoredAny;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    task::spawn_local,
    time::Instant,
};

use super::{
    input::Input,
    world::{in_virtual_time, ms},
};

const TIMEOUT: std::time::Duration = ms(3_000);

/// A connector with one connection.
#[derive(Debug)]
struct Once(Mutex<Option<DuplexStream>>);

impl Connector for Once {
    fn connect(&self, _: &ConnectTarget) -> ConnectFuture {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        Box::pin(async move {
            let stream = stream.ok_or(io::Error::from(io::ErrorKind::ConnectionRefused))?;
            Ok(Transport::new(stream))
        })
    }
}

/// The input: a byte with the query, the status and whether the rest is a whole response or only
/// its body; a byte with the size of the pieces; and the rest.
pub fn lookup(data: &[u8]) {
    let mut input = Input::new(data);
    let flags = input.byte();
    let piece = match input.byte() {
        0 => usize::MAX,
        length => length.into(),
    };
    let body = input.rest();
    let is_body = flags & 1 != 0;
    let status = [200, 404, 500, 200][usize::from(flags >> 1 & 3)];
    let has_header = flags & 8 != 0;
    let response = if is_body {
        let nsq = ["", "X-NSQ-Content-Type: nsq; version=1.0\r\n"][usize::from(has_header)];
        let length = body.len();
        let head = format!("HTTP/1.1 {status} X\r\n{nsq}Content-Length: {length}\r\n\r\n");
        [head.as_bytes(), body].concat()
    } else {
        body.to_vec()
    };
    let stays_open = flags & 16 != 0;
    let is_topic = flags & 32 != 0;
    // Values that are not used may be anything, such as a text that is not UTF-8.
    let is_json = serde_json::from_slice::<IgnoredAny>(body).is_ok();
    let is_broken = is_body && status == 200 && !is_json;
    in_virtual_time(async move |_| {
        let nodes = query(response, piece, stays_open, is_topic).await;
        assert!(!is_broken || nodes.is_err(), "{nodes:?}");
        match nodes {
            Ok(nodes) => check(&nodes),
            Err(error) => {
                let text = error.to_string();
                assert!(
                    text.len() < 900 && !text.contains(char::is_control),
                    "{text:?}"
                );
            }
        }
    });
}

async fn query(
    response: Vec<u8>,
    piece: usize,
    stays_open: bool,
    is_topic: bool,
) -> Result<Vec<Node>, LookupError> {
    let (client, mut server) = tokio::io::duplex(64 << 10);
    let serving = spawn_local(async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            if server.read_buf(&mut request).await.unwrap_or(0) == 0 {
                return;
            }
        }
        for piece in response.chunks(piece) {
            if server.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if stays_open {
            let _ = server.read_u8().await;
        }
    });
    let connection = ConnectionConfig::builder().connector(Once(Mutex::new(Some(client))));
    let config = LookupConfig::builder(["lookupd:4161"])
        .connection(connection.build().expect("valid options"))
        .lookupd_poll_timeout(TIMEOUT)
        .build()
        .expect("a valid address");
    let began = Instant::now();
    let nodes = if is_topic {
        lookup::lookup(&config, &Topic::from_static("t")).await
    } else {
        lookup::nodes(&config).await
    };
    assert!(began.elapsed() <= TIMEOUT + ms(1), "{:?}", began.elapsed());
    drop(config);
    serving.await.expect("the server does not panic");
    nodes
}

fn check(nodes: &[Node]) {
    assert!(nodes.len() <= 1_000);
    let addresses: BTreeSet<_> = nodes.iter().map(|node| Arc::clone(&node.address)).collect();
    assert_eq!(addresses.len(), nodes.len(), "an address is there twice");
    for node in nodes {
        let (host, port) = node.address.rsplit_once(':').expect("a port");
        assert_eq!(port.parse(), Ok(node.tcp_port));
        assert!(node.tcp_port > 0 && !host.is_empty());
        let is_ip = node.address.parse::<SocketAddr>().is_ok();
        assert!(is_ip || host.contains('%') || !host.contains([':', '[', '/', '@', ' ']));
        for text in [
            &node.broadcast_address,
            &node.hostname,
            &node.version,
            &node.remote_address,
        ] {
            assert!(
                text.len() <= 255 && !text.contains(char::is_control),
                "{text:?}"
            );
        }
    }
}
