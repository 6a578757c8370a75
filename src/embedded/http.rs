//! A small HTTP/1.1 server: reads requests, of which the body is skipped, and writes responses.

use std::{future::Future, time::Duration};

use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Maximum size of the request line and the headers in bytes: those of any client are smaller.
const MAX_HEAD: usize = 16 * 1024;

/// Maximum size of a body in bytes. It is read only to find the next request.
const MAX_BODY: usize = 1024 * 1024;

/// Time for a request to arrive, or for a response to be accepted: no client needs longer on
/// purpose.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A request whose head is complete.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) method: String,
    /// The second word of the first line.
    pub(super) target: String,
    /// Decoded, without the query.
    pub(super) path: String,
    query: Vec<(String, String)>,
    /// In the order of the request, with trimmed values.
    pub(super) headers: Vec<(String, String)>,
    pub(super) is_1_1: bool,
    pub(super) keep_alive: bool,
    body: usize,
}

/// Why a request is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Invalid {
    pub(super) status: u16,
    /// What Go's server says beyond the text of the status.
    pub(super) detail: &'static str,
}

const NO_HOST: Invalid = Invalid {
    status: 400,
    detail: "missing required Host header",
};

impl From<u16> for Invalid {
    fn from(status: u16) -> Self {
        let detail = match status {
            505 => "unsupported protocol version",
            _ => "",
        };
        Self { status, detail }
    }
}

impl Request {
    /// Returns a parameter of the query; empty if it is missing.
    pub(super) fn parameter(&self, name: &str) -> &str {
        self.given_parameter(name).unwrap_or_default()
    }

    /// Returns a parameter of the query, if it is there.
    pub(super) fn given_parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(its_name, _)| its_name == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Reads a head.
    pub(super) fn parse(head: &[u8]) -> Result<Self, Invalid> {
        let head = std::str::from_utf8(head).map_err(|_| 400_u16)?;
        let (line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
        let (method, target, is_1_1) = read_line(line)?;
        let (path, query) = read_target(target).ok_or(400_u16)?;
        let mut request = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            path,
            query,
            headers: Vec::new(),
            is_1_1,
            keep_alive: is_1_1,
            body: 0,
        };
        let mut has_host = false;
        for header in headers.split("\r\n").filter(|header| !header.is_empty()) {
            let (name, value) = header.split_once(':').ok_or(400_u16)?;
            if name.is_empty() || name.contains([' ', '\t']) {
                return Err(400.into());
            }
            let value = value.trim();
            request.headers.push((name.to_owned(), value.to_owned()));
            match name.to_ascii_lowercase().as_str() {
                "host" if has_host => return Err(400.into()),
                "host" => has_host = true,
                "content-length" => request.body = value.parse().map_err(|_| 400_u16)?,
                "transfer-encoding" => return Err(501.into()),
                "connection" if value.eq_ignore_ascii_case("close") => request.keep_alive = false,
                "connection" if value.eq_ignore_ascii_case("keep-alive") => {
                    request.keep_alive = true;
                }
                _ => {}
            }
        }
        match request.body {
            0..=MAX_BODY if has_host || !is_1_1 => Ok(request),
            0..=MAX_BODY => Err(NO_HOST),
            _ => Err(413.into()),
        }
    }
}

/// Splits `/path?name=value&name=value`, which a proxy may precede with a scheme and a host.
fn read_target(target: &str) -> Option<(String, Vec<(String, String)>)> {
    let target = match target.strip_prefix("http://") {
        Some(rest) => rest.find('/').and_then(|slash| rest.get(slash..))?,
        None => target,
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_decode_str(&text).decode_utf8_lossy().into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(name), decoded(value))
    });
    let path = path.starts_with('/').then_some(path)?;
    let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
    Some((path, query.collect()))
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Response {
    status: u16,
    headers: &'static str,
    body: String,
}

const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\n";
const JSON: &str = "Content-Type: application/json; charset=utf-8\r\n\
                    X-Nsq-Content-Type: nsq; version=1.0\r\n";

impl Response {
    pub(super) fn text(text: &str) -> Self {
        Self {
            status: 200,
            headers: TEXT,
            body: text.to_owned(),
        }
    }

    pub(super) fn json(value: &serde_json::Value) -> Self {
        Self {
            status: 200,
            headers: JSON,
            body: value.to_string(),
        }
    }

    /// Returns the response to a request that has changed something.
    pub(super) fn done() -> Self {
        Self {
            status: 200,
            headers: "X-Nsq-Content-Type: nsq; version=1.0\r\n",
            body: String::new(),
        }
    }

    /// Returns an error with this code of nsqd.
    pub(super) fn failure(status: u16, code: &str) -> Self {
        Self {
            status,
            ..Self::json(&serde_json::json!({ "message": code }))
        }
    }

    /// Returns an error with NSQ's text for this status.
    pub(super) fn error(status: u16) -> Self {
        let text = reason(status).replace(' ', "_").to_ascii_uppercase();
        Self::failure(status, &text)
    }

    fn encode(&self, keep_alive: bool, with_body: bool) -> Vec<u8> {
        let Self {
            status,
            headers,
            body,
        } = self;
        let (reason, length) = (reason(*status), body.len());
        let connection = if keep_alive {
            ""
        } else {
            "Connection: close\r\n"
        };
        let body = if with_body { body } else { "" };
        format!(
            "HTTP/1.1 {status} {reason}\r\n{headers}Content-Length: {length}\r\n{connection}\r\n\
             {body}"
        )
        .into_bytes()
    }
}

/// Returns the text of a status, as Go writes it.
pub(super) fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Request Entity Too Large",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Bad Request",
    }
}

/// Serves a connection until the client closes it or is silent for too long.
pub(super) async fn serve<F>(mut stream: TcpStream, answer: impl Fn(Request) -> F)
where
    F: Future<Output = Response>,
{
    let mut input = Vec::new();
    loop {
        let request = match timeout(TIMEOUT, read_request(&mut stream, &mut input)).await {
            Ok(Some(request)) => request,
            Ok(None) | Err(_) => return,
        };
        let (response, keep_alive, with_body) = match request {
            Ok(request) => {
                let (keep_alive, with_body) = (request.keep_alive, request.method != "HEAD");
                (answer(request).await, keep_alive, with_body)
            }
            // Where the next request begins is not known.
            Err(invalid) => (Response::error(invalid.status), false, true),
        };
        let output = response.encode(keep_alive, with_body);
        let written = timeout(TIMEOUT, stream.write_all(&output)).await;
        if !keep_alive || !matches!(written, Ok(Ok(()))) {
            // Fails if the client has closed the connection.
            let _ = stream.shutdown().await;
            return;
        }
    }
}

/// Reads the first line of a request: its method, its target, and whether it is of HTTP/1.1.
fn read_line(line: &str) -> Result<(&str, &str, bool), u16> {
    let [method, target, version] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(400);
    };
    match version {
        "HTTP/1.1" => Ok((method, target, true)),
        "HTTP/1.0" => Ok((method, target, false)),
        _ if version.starts_with("HTTP/") => Err(505),
        _ => Err(400),
    }
}

/// The status if the first line is there and cannot be that of a request: a client of nsqd's TCP
/// port waits for a response to it, and sends no more.
fn rejection(input: &[u8]) -> Option<u16> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(input.get(..end)?).map(|line| line.trim_end_matches('\r'));
    match line {
        Ok(line) => read_line(line).err(),
        Err(_) => Some(400),
    }
}

/// Reads a request with its body, which is dropped. Returns `None` at the end of the input.
pub(super) async fn read_request(
    stream: &mut TcpStream,
    input: &mut Vec<u8>,
) -> Option<Result<Request, Invalid>> {
    let head = loop {
        if let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let rest = input.split_off(end + 4);
            let mut head = std::mem::replace(input, rest);
            head.truncate(end);
            break head;
        }
        if let Some(status) = rejection(input) {
            return Some(Err(status.into()));
        }
        if input.len() > MAX_HEAD {
            return Some(Err(431.into()));
        }
        read_more(stream, input).await?;
    };
    let request = match Request::parse(&head) {
        Ok(request) => request,
        Err(invalid) => return Some(Err(invalid)),
    };
    while input.len() < request.body {
        read_more(stream, input).await?;
    }
    input.drain(..request.body);
    Some(Ok(request))
}

async fn read_more(stream: &mut TcpStream, input: &mut Vec<u8>) -> Option<()> {
    match stream.read_buf(input).await {
        Ok(0) | Err(_) => None,
        Ok(_) => Some(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(head: &str) -> Result<Request, u16> {
        Request::parse(head.as_bytes()).map_err(|invalid| invalid.status)
    }

    #[test]
    fn request_has_path_query_and_body_length() {
        let head = "POST /a%20b?topic=x%23ephemeral&empty=&flag&two=a+b HTTP/1.1\r\nHost: h\r\n\
                    Content-Length: 7";
        let request = parse(head).unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str(), request.body),
            ("POST", "/a b", 7)
        );
        for (name, value) in [
            ("topic", "x#ephemeral"),
            ("empty", ""),
            ("flag", ""),
            ("two", "a b"),
            ("missing", ""),
        ] {
            assert_eq!(request.parameter(name), value, "{name}");
        }
        assert_eq!(parse("GET http://h/ping HTTP/1.0").unwrap().path, "/ping");
    }

    #[test]
    fn version_and_header_decide_whether_the_connection_stays() {
        for (version, header, keep_alive) in [
            ("1.1", "", true),
            ("1.1", "Connection: Close", false),
            ("1.0", "", false),
            ("1.0", "connection: keep-alive", true),
        ] {
            let head = format!("GET /ping HTTP/{version}\r\nHost: h\r\n{header}");
            assert_eq!(parse(&head).unwrap().keep_alive, keep_alive, "{head}");
        }
    }

    #[test]
    fn invalid_request_has_the_status_of_its_fault() {
        for (head, status) in [
            ("", 400),
            ("GET", 400),
            ("GET  /ping HTTP/1.1\r\nHost: h", 400),
            ("GET ping HTTP/1.1\r\nHost: h", 400),
            ("GET /ping FTP/1.1\r\nHost: h", 400),
            ("GET /ping HTTP/2.0\r\nHost: h", 505),
            ("GET /ping HTTP/1.1", 400),
            ("GET /ping HTTP/1.1\r\nHost", 400),
            ("GET /ping HTTP/1.1\r\nHost : h", 400),
            ("GET /ping HTTP/1.1\r\nHost: h\r\nContent-Length: -1", 400),
            (
                "GET /ping HTTP/1.1\r\nHost: h\r\nContent-Length: 1048577",
                413,
            ),
            (
                "GET /ping HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked",
                501,
            ),
        ] {
            assert_eq!(parse(head), Err(status), "{head}");
        }
        let not_text = Request::parse(b"GET /\xff HTTP/1.1\r\nHost: h");
        assert_eq!(not_text, Err(400.into()));
    }
}
