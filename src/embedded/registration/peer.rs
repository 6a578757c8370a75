//! A connection to an nsqlookupd, with nsqd's timeouts.

use std::{io, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// nsqd's timeout for a connect, a read and a write.
const TIMEOUT: Duration = Duration::from_secs(1);

/// An nsqlookupd. It is connected by the next command after each failure.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: String,
    stream: Option<TcpStream>,
}

impl Peer {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            stream: None,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.stream.is_some()
    }

    /// Connects and sends IDENTIFY with this JSON. Returns nsqlookupd's HTTP address; `None` if it
    /// announces none.
    pub(super) async fn connect(
        &mut self,
        identify: &str,
        max_response: i64,
    ) -> io::Result<Option<String>> {
        let stream = timeout(TIMEOUT, TcpStream::connect(&self.address)).await??;
        self.stream = Some(stream);
        let size = u32::try_from(identify.len()).unwrap_or(u32::MAX);
        let command = [
            b"  V1IDENTIFY\n",
            &size.to_be_bytes()[..],
            identify.as_bytes(),
        ];
        let response = self.command(&command.concat(), max_response).await?;
        let Ok(json) = serde_json::from_slice::<Value>(&response) else {
            self.stream = None;
            let text = String::from_utf8_lossy(&response).into_owned();
            return Err(io::Error::other(text));
        };
        let host = json.get("broadcast_address").and_then(Value::as_str);
        let port = json.get("http_port").and_then(Value::as_u64).unwrap_or(0);
        let host = host.filter(|host| !host.is_empty());
        Ok(host.map(|host| match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        }))
    }

    /// Sends a command and returns the response. A failure ends the connection.
    pub(super) async fn command(
        &mut self,
        command: &[u8],
        max_response: i64,
    ) -> io::Result<Vec<u8>> {
        let Some(stream) = &mut self.stream else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let response = exchange(stream, command, max_response).await;
        if response.is_err() {
            self.stream = None;
        }
        response
    }
}

async fn exchange(
    stream: &mut TcpStream,
    command: &[u8],
    max_response: i64,
) -> io::Result<Vec<u8>> {
    timeout(TIMEOUT, stream.write_all(command)).await??;
    let mut size = [0; 4];
    timeout(TIMEOUT, stream.read_exact(&mut size)).await??;
    let size = i32::from_be_bytes(size);
    if size < 0 || i64::from(size) > max_response {
        let text = format!("response of {size} bytes exceeds max_body_size ({max_response})");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut response = vec![0; usize::try_from(size).unwrap_or_default()];
    timeout(TIMEOUT, stream.read_exact(&mut response)).await??;
    Ok(response)
}
