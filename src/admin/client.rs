//! Requests to one server.

use std::{fmt, sync::Arc, time::Duration};

use hyper::Method;
use serde::Deserialize;

use crate::{
    config::{ConnectionConfig, LookupConfig, LookupdAddress},
    conn::StreamOptions,
    error::{AdminError, ConfigError, LookupError},
    lookup::{Call, Response},
    protocol::{Channel, Topic, one_line},
};

/// Default time for a request: the default of `lookupd_poll_timeout`.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum length in bytes of a text of the server in an error.
const MAX_TEXT: usize = 200;

/// The HTTP port of a server.
#[derive(Clone)]
pub(super) struct Client {
    address: LookupdAddress,
    stream: StreamOptions,
    user_agent: Arc<str>,
    timeout: Duration,
}

impl Client {
    /// # Errors
    ///
    /// The TLS settings cannot be made.
    pub(super) fn new(
        address: LookupdAddress,
        connection: Option<ConnectionConfig>,
    ) -> Result<Self, ConfigError> {
        let none: [String; 0] = [];
        let config = LookupConfig::builder(none);
        let config = match connection {
            Some(connection) => config.connection(connection),
            None => config,
        };
        let config = config.build()?;
        Ok(Self {
            stream: config.stream_options(&address)?,
            user_agent: config.connection().user_agent().into(),
            timeout: TIMEOUT,
            address,
        })
    }

    pub(super) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    pub(super) async fn post(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<(), AdminError> {
        self.send(Method::POST, path, parameters).await.map(drop)
    }

    pub(super) async fn post_topic(&self, path: &str, topic: &Topic) -> Result<(), AdminError> {
        self.post(path, &[("topic", topic.as_str())]).await
    }

    pub(super) async fn post_channel(
        &self,
        path: &str,
        topic: &Topic,
        channel: &Channel,
    ) -> Result<(), AdminError> {
        let parameters = [("topic", topic.as_str()), ("channel", channel.as_str())];
        self.post(path, &parameters).await
    }

    /// Returns the body of the answer.
    pub(super) async fn get(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<u8>, AdminError> {
        self.send(Method::GET, path, parameters).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Vec<u8>, AdminError> {
        let call = Call {
            method,
            stream: self.stream.clone(),
            authority: Arc::clone(self.address.authority()),
            target: self.address.request_with(path, parameters),
            secret: None,
            user_agent: self.user_agent.as_ref().to_owned(),
            timeout: self.timeout,
        };
        let Response { head, body } = call.send(None).await.0.map_err(failed)?;
        match head.status {
            200 => Ok(body),
            status => Err(AdminError::Rejected {
                status,
                message: message(&body),
            }),
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

fn failed(error: LookupError) -> AdminError {
    match error {
        LookupError::Connection(error) => AdminError::Connection(error),
        LookupError::Timeout { after } => AdminError::Timeout { after },
        LookupError::Incomplete => AdminError::Incomplete,
        LookupError::NsqdTcpPort | LookupError::LookupdTcpPort => AdminError::TcpPort,
        LookupError::TooLarge { limit } => AdminError::TooLarge { limit },
        LookupError::NotHttp { problem } => AdminError::NotHttp { problem },
        other => AdminError::NotHttp {
            problem: other.to_string(),
        },
    }
}

/// The body of an error, in the current shape or that of old versions.
#[derive(Deserialize)]
struct Failure {
    message: Option<String>,
    status_txt: Option<String>,
}

/// Returns what the server says, if it is of NSQ: the text of another server could repeat a token
/// of the request.
fn message(body: &[u8]) -> String {
    if body.starts_with(b"NOK") {
        return one_line(String::from_utf8_lossy(body).chars(), MAX_TEXT);
    }
    let failure = serde_json::from_slice::<Failure>(body).ok();
    let code = failure.and_then(|it| it.message.or(it.status_txt));
    let is_part = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    let code = code.filter(|code| code.len() <= MAX_TEXT && code.bytes().all(is_part));
    code.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_code_of_nsq_is_shown() {
        for (body, shown) in [
            (&br#"{"message":"TOPIC_NOT_FOUND"}"#[..], "TOPIC_NOT_FOUND"),
            (
                br#"{"status_code":500,"status_txt":"INVALID_ARG_TOPIC","data":null}"#,
                "INVALID_ARG_TOPIC",
            ),
            (
                b"NOK - no space left\non device",
                "NOK - no space left\\non device",
            ),
            (br#"{"message":"no access with token=secret"}"#, ""),
            (b"<html>token=secret</html>", ""),
            (b"", ""),
        ] {
            assert_eq!(message(body), shown);
        }
    }
}
