//! HTTP requests without a body, over the connector and the TLS of this crate.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Method, Request, Uri,
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::{self, SendRequest},
    header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, LOCATION, USER_AGENT},
    rt::{Read, ReadBufCursor, Write},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};

use super::answer::Head;
use crate::{
    conn::{AuthSecret, StreamOptions, Transport, open_stream},
    error::{ConnectionError, LookupError},
};

/// Maximum size of a body in bytes: 24,000 nodes.
pub(crate) const MAX_BODY: usize = 4 << 20;

/// Maximum size in bytes of hyper's read buffer, and so of status line and headers.
const MAX_BUFFER: usize = 64 << 10;

/// Maximum number of bytes per read.
const READ_SIZE: usize = 8 << 10;

/// Number of bytes from which a server that does not speak HTTP is recognised.
const FIRST_BYTES: usize = 32;

/// The versions 0.2.29 to 0.3.8 answer in the current shape if they get this.
const ACCEPTED: &str = "application/vnd.nsq; version=1.0";

/// A request.
#[derive(Clone)]
pub(crate) struct Call {
    /// GET or POST.
    pub(crate) method: Method,
    pub(crate) stream: StreamOptions,
    /// Host and port.
    pub(crate) authority: Arc<str>,
    /// Path and query.
    pub(crate) target: String,
    /// The secret to send.
    pub(crate) secret: Option<AuthSecret>,
    pub(crate) user_agent: String,
    /// For the whole request, from connecting to the end of the body.
    pub(crate) timeout: Duration,
}

/// A response, complete.
pub(crate) struct Response {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

/// A connection that is kept for the next request. It makes progress only during requests.
pub(crate) struct Kept {
    sender: SendRequest<Empty>,
    /// `None` when it has ended: its half of the channel to `sender` is dropped then.
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>>>>>,
    first_bytes: Rc<RefCell<Vec<u8>>>,
}

impl Call {
    /// Sends the request, on the connection `kept` if it is still usable. Returns the connection if
    /// it can be used again.
    ///
    /// Cancel safe: dropping the future closes the connection.
    pub(crate) async fn send(
        &self,
        kept: Option<Kept>,
    ) -> (Result<Response, LookupError>, Option<Kept>) {
        match timeout(self.timeout, self.send_unlimited(kept)).await {
            Ok(Ok((response, kept))) => (Ok(response), kept),
            Ok(Err(error)) => (Err(error), None),
            Err(_) => {
                let after = self.timeout;
                (Err(LookupError::Timeout { after }), None)
            }
        }
    }

    async fn send_unlimited(
        &self,
        kept: Option<Kept>,
    ) -> Result<(Response, Option<Kept>), LookupError> {
        let authorization = self.authorization().await?;
        if let Some(mut kept) = kept {
            let request = self.request(authorization.clone())?;
            match kept.send(request).await {
                // The server has closed the connection meanwhile. Only a GET uses it, which can be
                // repeated.
                Err(LookupError::Incomplete | LookupError::Connection(_)) => {}
                sent => return Ok((sent?, kept.if_usable())),
            }
        }
        let transport = open_stream(&self.stream).await?;
        let mut connection = Kept::new(transport).await?;
        let response = connection.send(self.request(authorization)?).await?;
        Ok((response, connection.if_usable()))
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, LookupError> {
        let failed = |problem: String| LookupError::Secret { problem };
        let Some(secret) = &self.secret else {
            return Ok(None);
        };
        let secret = secret.load().await;
        let secret =
            secret.map_err(|error| failed(format!("auth_secret_provider failed: {error}")))?;
        if secret.is_empty() {
            return Err(failed("there is no auth_secret".into()));
        }
        let mut text = b"Bearer ".to_vec();
        text.extend(secret.expose());
        let mut value = HeaderValue::from_bytes(&text)
            .map_err(|_| failed("the secret cannot be sent in a header".into()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn request(&self, authorization: Option<HeaderValue>) -> Result<Request<Empty>, LookupError> {
        // The address was validated, so these texts are.
        let invalid = |_| LookupError::NotHttp {
            problem: "the request is invalid".into(),
        };
        let target: Uri = self.target.parse().map_err(|_| LookupError::NotHttp {
            problem: "the path of the address is invalid".into(),
        })?;
        let user_agent = HeaderValue::from_str(&self.user_agent)
            .unwrap_or_else(|_| HeaderValue::from_static("actix-nsq"));
        let mut request = Request::builder()
            .method(self.method.clone())
            .uri(target)
            .header(HOST, &*self.authority)
            .header(USER_AGENT, user_agent)
            .header(ACCEPT, ACCEPTED)
            .body(Empty)
            .map_err(invalid)?;
        if let Some(authorization) = authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        Ok(request)
    }
}

impl Kept {
    async fn new(transport: Transport) -> Result<Self, LookupError> {
        let first_bytes = Rc::<RefCell<_>>::default();
        let stream = Stream {
            transport,
            first_bytes: Rc::clone(&first_bytes),
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_BUFFER);
        let (sender, connection) = builder
            .handshake(stream)
            .await
            .map_err(|error| failed(&error))?;
        Ok(Self {
            sender,
            connection: Some(Box::pin(connection)),
            first_bytes,
        })
    }

    async fn send(&mut self, request: Request<Empty>) -> Result<Response, LookupError> {
        let Self {
            sender,
            connection,
            first_bytes,
        } = self;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let (parts, body) = response.into_parts();
            Ok((parts, read(body).await?))
        };
        let mut exchange = pin!(exchange);
        let done = poll_fn(|cx| {
            // Both get the task's waker, so each is polled again when it can make progress.
            if let Some(running) = connection
                && running.as_mut().poll(cx).is_ready()
            {
                *connection = None;
            }
            exchange.as_mut().poll(cx)
        });
        let result: hyper::Result<_> = done.await;
        let (parts, body) = result.map_err(|error| {
            wrong_server(&first_bytes.borrow()).unwrap_or_else(|| failed(&error))
        })?;
        let body = body.ok_or(LookupError::TooLarge { limit: MAX_BODY })?;
        let location = parts.headers.get(LOCATION);
        let location = location.and_then(|value| value.to_str().ok());
        Ok(Response {
            head: Head {
                status: parts.status.as_u16(),
                has_nsq_type: parts.headers.contains_key("x-nsq-content-type"),
                location: location.map(str::to_owned),
            },
            body,
        })
    }

    /// Returns the connection unless the server closes it.
    fn if_usable(self) -> Option<Self> {
        (self.connection.is_some() && !self.sender.is_closed()).then_some(self)
    }
}

/// Reads a body; `None` if it is too large.
async fn read(body: Incoming) -> hyper::Result<Option<Vec<u8>>> {
    let mut body = pin!(body);
    let mut read = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            if data.len() > MAX_BODY - read.len() {
                return Ok(None);
            }
            read.extend_from_slice(&data);
        }
    }
    Ok(Some(read))
}

fn failed(error: &hyper::Error) -> LookupError {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return LookupError::Incomplete;
    }
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            if cause.kind() == io::ErrorKind::UnexpectedEof {
                return LookupError::Incomplete;
            }
            let cause = io::Error::new(cause.kind(), cause.to_string());
            return LookupError::Connection(ConnectionError::Io(Arc::new(cause)));
        }
        source = cause.source();
    }
    LookupError::NotHttp {
        problem: error.to_string(),
    }
}

/// Recognises a server that does not speak HTTP by the first bytes that it sent, which may be only
/// the length of its answer.
fn wrong_server(first: &[u8]) -> Option<LookupError> {
    const LOOKUPD: &[u8] = b"\0\0\0\x0eE_BAD_PROTOCOL";
    /// An error frame.
    const NSQD: &[u8] = b"\0\0\0\x12\0\0\0\x01E_BAD_PROTOCOL";
    let is =
        |answer: &[u8]| first.starts_with(answer) || first.len() >= 4 && answer.starts_with(first);
    if is(NSQD) {
        Some(LookupError::NsqdTcpPort)
    } else if is(LOOKUPD) {
        Some(LookupError::LookupdTcpPort)
    } else {
        None
    }
}

/// The body of a request.
struct Empty;

impl Body for Empty {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(0)
    }
}

/// A transport as hyper reads and writes it.
struct Stream {
    transport: Transport,
    first_bytes: Rc<RefCell<Vec<u8>>>,
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ_SIZE];
        let size = buf.remaining().min(READ_SIZE);
        let mut read = ReadBuf::new(bytes.get_mut(..size).unwrap_or_default());
        ready!(Pin::new(&mut self.transport).poll_read(cx, &mut read))?;
        buf.put_slice(read.filled());
        let mut first = self.first_bytes.borrow_mut();
        let more = FIRST_BYTES.saturating_sub(first.len());
        first.extend(read.filled().iter().take(more));
        Poll::Ready(Ok(()))
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_port_is_recognised_by_its_first_bytes() {
        for part in [4, 8, 22] {
            let answer = b"\0\0\0\x12\0\0\0\x01E_BAD_PROTOCOL";
            let nsqd = wrong_server(&answer[..part]);
            assert!(matches!(nsqd, Some(LookupError::NsqdTcpPort)), "{part}");
        }
        let nsqd = wrong_server(b"\0\0\0\x12\0\0\0\x01E_BAD_PROTOCOL");
        assert!(matches!(nsqd, Some(LookupError::NsqdTcpPort)));
        let lookupd = wrong_server(b"\0\0\0\x0eE_BAD_PROTOCOL");
        assert!(matches!(lookupd, Some(LookupError::LookupdTcpPort)));
        for other in [&b""[..], b"\0\0", b"HTTP/1.1 200 OK", b"SSH-2.0-OpenSSH"] {
            assert!(wrong_server(other).is_none());
        }
    }
}
