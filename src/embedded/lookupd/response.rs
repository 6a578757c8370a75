//! An answer to an HTTP request, and its bytes.

use super::fault_state::AnswerFaults;
use crate::embedded::http::{Invalid, Request, reason};

/// Size in bytes above which Go's server sends a body in chunks.
const BUFFER: usize = 2048;

const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";
const NSQ_TYPE: (&str, &str) = ("X-Nsq-Content-Type", "nsq; version=1.0");

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    pub(super) fn empty(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    pub(super) fn text(text: &str) -> Self {
        let answer = Self::empty(200).with_header("Content-Type", TEXT);
        answer.with_body(text.as_bytes().to_vec())
    }

    pub(super) fn json(status: u16, json: String) -> Self {
        let answer = Self::empty(status).with_header("Content-Type", JSON);
        answer.with_nsq_type().with_body(json.into_bytes())
    }

    pub(super) fn error(status: u16, text: &str) -> Self {
        Self::json(status, format!("{{\"message\":\"{text}\"}}"))
    }

    /// Returns an answer in the format of old versions.
    pub(super) fn wrapped(status: u16, text: &str, data: &str) -> Self {
        let json =
            format!("{{\"status_code\":{status},\"status_txt\":\"{text}\",\"data\":{data}}}");
        let answer = Self::empty(status).with_header("Content-Type", JSON);
        answer.with_body(json.into_bytes())
    }

    pub(super) fn redirect(status: u16, location: &str, with_body: bool) -> Self {
        let answer = Self::empty(status).with_header("Location", location);
        if !with_body {
            return answer;
        }
        let answer = answer.with_header("Content-Type", "text/html; charset=utf-8");
        let shown = location.replace('&', "&amp;");
        let body = format!("<a href=\"{shown}\">{}</a>.\n\n", reason(status));
        answer.with_body(body.into_bytes())
    }

    /// Returns an answer of choice.
    pub(super) fn custom(status: u16, body: Vec<u8>) -> Self {
        let answer = Self::empty(status).with_header("Content-Type", JSON);
        answer.with_nsq_type().with_body(body)
    }

    pub(super) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn with_nsq_type(self) -> Self {
        let (name, value) = NSQ_TYPE;
        self.with_header(name, value)
    }

    fn with_body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// Appends spaces, which change nothing in JSON.
    pub(super) fn pad(&mut self, spaces: usize) {
        self.body
            .resize(self.body.len().saturating_add(spaces), b' ');
    }
}

/// A response as it is written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Output {
    /// Each is written on its own.
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) keep_alive: bool,
}

impl Output {
    /// Encodes an answer to a request, with the faults that concern its bytes.
    pub(super) fn new(answer: &Answer, request: &Request, faults: &AnswerFaults) -> Self {
        let Answer {
            status,
            headers,
            body,
        } = answer;
        let chunked = request.is_1_1 && (body.len() > BUFFER || faults.chunks.is_some());
        // A client of HTTP/1.0 finds the end of a large body by the end of the connection.
        let without_length = !request.is_1_1 && body.len() > BUFFER;
        let keep_alive = request.keep_alive && !without_length;
        let version = if request.is_1_1 { "1.1" } else { "1.0" };
        let mut head = format!("HTTP/{version} {status} {}\r\n", reason(*status));
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        match (request.is_1_1, keep_alive) {
            (true, false) => head.push_str("Connection: close\r\n"),
            (false, true) => head.push_str("Connection: keep-alive\r\n"),
            _ => {}
        }
        if chunked {
            head.push_str("Transfer-Encoding: chunked\r\n");
        } else if !without_length {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut output = Self {
            pieces: vec![head.into_bytes()],
            keep_alive,
        };
        if request.method != "HEAD" {
            output.add_body(body, chunked, faults);
        }
        if let Some(length) = faults.cut_response {
            output.cut(length);
        }
        if faults.chunks.is_none() {
            output.pieces = vec![output.pieces.concat()];
        }
        output
    }

    /// Encodes the answer to a request that cannot be read, as Go's server does.
    pub(super) fn invalid(Invalid { status, detail }: Invalid) -> Self {
        let separator = if detail.is_empty() { "" } else { ": " };
        let text = format!("{status} {}{separator}{detail}", reason(status));
        let head = format!("Content-Type: {TEXT}\r\nConnection: close\r\n");
        Self {
            pieces: vec![format!("HTTP/1.1 {text}\r\n{head}\r\n{text}").into_bytes()],
            keep_alive: false,
        }
    }

    fn add_body(&mut self, body: &[u8], chunked: bool, faults: &AnswerFaults) {
        let kept = faults.cut_body.unwrap_or(body.len()).min(body.len());
        let sent = body.get(..kept).unwrap_or(body);
        let size = faults.chunks.unwrap_or(body.len()).max(1);
        for part in sent.chunks(size) {
            if chunked {
                // The length of a chunk that is cut is that of the whole chunk.
                let announced = if faults.chunks.is_some() {
                    part.len()
                } else {
                    body.len()
                };
                let head = format!("{announced:x}\r\n").into_bytes();
                self.pieces.push([&head, part, b"\r\n"].concat());
            } else {
                self.pieces.push(part.to_vec());
            }
        }
        if faults.cut_body.is_some() {
            self.keep_alive = false;
            // Without the end of the last chunk.
            if chunked && let Some(last) = self.pieces.last_mut() {
                last.truncate(last.len().saturating_sub(2));
            }
        } else if chunked {
            self.pieces.push(b"0\r\n\r\n".to_vec());
        }
    }

    /// Drops what is behind the first bytes.
    fn cut(&mut self, length: usize) {
        let mut left = length;
        for piece in &mut self.pieces {
            piece.truncate(left);
            left -= piece.len();
        }
        self.keep_alive = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &Answer, head: &str, faults: &AnswerFaults) -> (Vec<String>, bool) {
        let request = Request::parse(head.as_bytes()).unwrap();
        let output = Output::new(answer, &request, faults);
        let pieces = output.pieces.iter();
        let pieces = pieces.map(|piece| String::from_utf8_lossy(piece).into_owned());
        (pieces.collect(), output.keep_alive)
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: h";

    #[test]
    fn body_above_2048_bytes_is_chunked() {
        for (length, is_chunked) in [(2048, false), (2049, true)] {
            let answer = Answer::custom(200, vec![b'x'; length]);
            let (pieces, keep_alive) = text(&answer, GET, &AnswerFaults::default());
            assert_eq!(pieces[0].contains("chunked"), is_chunked);
            assert_eq!(pieces[0].ends_with("x\r\n0\r\n\r\n"), is_chunked);
            assert_eq!(pieces[0].contains("\r\n801\r\nx"), is_chunked);
            assert!(keep_alive);
            let old = "GET / HTTP/1.0\r\nConnection: keep-alive";
            let (pieces, keep_alive) = text(&answer, old, &AnswerFaults::default());
            assert_eq!(pieces[0].contains("Content-Length"), !is_chunked);
            assert!(pieces[0].ends_with('x'));
            assert_eq!(keep_alive, !is_chunked);
        }
    }

    #[test]
    fn faults_split_and_cut_the_bytes() {
        let answer = Answer::custom(200, b"abc".to_vec());
        let bytes = AnswerFaults {
            chunks: Some(1),
            ..AnswerFaults::default()
        };
        let (pieces, keep_alive) = text(&answer, GET, &bytes);
        let chunks = ["1\r\na\r\n", "1\r\nb\r\n", "1\r\nc\r\n", "0\r\n\r\n"];
        assert_eq!(pieces[1..], chunks);
        assert!(keep_alive);
        let half = AnswerFaults {
            cut_body: Some(2),
            ..AnswerFaults::default()
        };
        let (pieces, keep_alive) = text(&answer, GET, &half);
        assert!(pieces[0].ends_with("Content-Length: 3\r\n\r\nab"));
        assert!(!keep_alive);
        let head = AnswerFaults {
            cut_response: Some(9),
            ..AnswerFaults::default()
        };
        assert_eq!(text(&answer, GET, &head).0, ["HTTP/1.1 "]);
    }
}
