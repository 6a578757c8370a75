//! The channels of a new topic: nsqd asks nsqlookupds before it starts the topic.

use std::{io, time::Duration};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

/// nsqd's `--http-client-connect-timeout`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Maximum size of a response in bytes; nsqd has none.
const MAX_RESPONSE: u64 = 16 * 1024 * 1024;

/// Queries all addresses at the same time. Returns the union of all channels, sorted.
pub(super) async fn query(addresses: Vec<String>, topic: &str, limit: Duration) -> Vec<String> {
    let mut queries = JoinSet::new();
    for address in addresses {
        let topic = topic.to_owned();
        queries.spawn(async move {
            let answer = timeout(limit, query_one(&address, &topic)).await;
            let answer = answer.unwrap_or_else(|elapsed| Err(elapsed.into()));
            answer.unwrap_or_else(|error| {
                log::warn!("embedded nsqd: no channels of topic {topic} from {address}: {error}");
                Vec::new()
            })
        });
    }
    let mut channels = queries.join_all().await.concat();
    channels.sort();
    channels.dedup();
    channels
}

async fn query_one(address: &str, topic: &str) -> io::Result<Vec<String>> {
    let mut stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
    let topic = utf8_percent_encode(topic, NON_ALPHANUMERIC);
    let request = format!(
        "GET /channels?topic={topic} HTTP/1.1\r\nHost: {address}\r\n\
         Accept: application/vnd.nsq; version=1.0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.take(MAX_RESPONSE).read_to_end(&mut response).await?;
    read_channels(&response).ok_or_else(|| {
        let line = response.split(|byte| *byte == b'\r').next();
        let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
        io::Error::new(io::ErrorKind::InvalidData, line)
    })
}

fn read_channels(response: &[u8]) -> Option<Vec<String>> {
    let response = String::from_utf8_lossy(response);
    let (head, body) = response.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?;
    if status != "200" {
        return None;
    }
    let is_chunked = head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked");
    let json = if is_chunked {
        without_chunks(body)?
    } else {
        body.to_owned()
    };
    let json: Value = serde_json::from_str(&json).ok()?;
    let channels = json.get("channels").and_then(Value::as_array);
    let names = channels.into_iter().flatten();
    Some(names.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// Joins the chunks of a body. Names of channels are ASCII, so that a chunk is text.
fn without_chunks(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, behind) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(behind.get(..size)?);
        rest = behind.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_read_from_whole_and_chunked_bodies() {
        let whole = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n{\"channels\":[\"a\",\"b\"]}";
        assert_eq!(read_channels(whole).unwrap(), ["a", "b"]);
        let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                        e\r\n{\"channels\":[\"\r\n4\r\na\"]}\r\n0\r\n\r\n";
        assert_eq!(read_channels(chunked).unwrap(), ["a"]);
        for bad in [
            "",
            "HTTP/1.1 404 Not Found\r\n\r\n{\"channels\":[\"a\"]}",
            "HTTP/1.1 200 OK\r\n\r\n{\"channels\":[",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{}\r\n0\r\n\r\n",
        ] {
            assert_eq!(read_channels(bad.as_bytes()), None, "{bad}");
        }
    }
}
