//! The content of an error frame: nsqd's code and text.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

use super::text::one_line;

/// Maximum length in bytes of the text that is kept of an error frame. nsqd's texts are shorter.
const MAX_TEXT: usize = 512;

/// Defines [`ErrorCode`] from one table: variant, token on the wire, meaning.
macro_rules! error_codes {
    ($($Code:ident = $token:literal, $doc:literal;)*) => {
        /// The first word of an error response.
        ///
        /// nsqd appends a description for humans, which may change; decide by the code. It is
        /// serialized as its token, such as `"E_BAD_TOPIC"`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = concat!("`", $token, "`: ", $doc)] $Code,)*
            /// Any other token, for example of a newer nsqd.
            Unknown,
        }

        impl ErrorCode {
            /// Returns the token as nsqd writes it, and `E_UNKNOWN` for [`ErrorCode::Unknown`].
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Code => $token,)*
                    Self::Unknown => "E_UNKNOWN",
                }
            }

            /// Returns the code of a token. Case matters.
            #[must_use]
            pub fn from_token(token: &[u8]) -> Self {
                $(if token == $token.as_bytes() {
                    return Self::$Code;
                })*
                Self::Unknown
            }
        }
    };
}

error_codes! {
    Invalid = "E_INVALID", "invalid command, state or parameter, or TLS required.";
    BadTopic = "E_BAD_TOPIC", "the topic name is invalid.";
    BadChannel = "E_BAD_CHANNEL", "the channel name is invalid.";
    BadBody = "E_BAD_BODY", "the body of IDENTIFY, AUTH or MPUB is invalid.";
    BadMessage = "E_BAD_MESSAGE", "a message is empty, too large, or did not arrive in time.";
    PubFailed = "E_PUB_FAILED", "not stored: topic being deleted, shutdown, or disk error.";
    MpubFailed = "E_MPUB_FAILED", "the first messages of the batch may be stored.";
    DpubFailed = "E_DPUB_FAILED", "not stored: topic being deleted, shutdown, or disk error.";
    SubFailed = "E_SUB_FAILED", "topic or channel being deleted, or too many consumers.";
    IdentifyFailed = "E_IDENTIFY_FAILED", "incompatible features, or a failed upgrade.";
    AuthFirst = "E_AUTH_FIRST", "AUTH is required before this command.";
    AuthFailed = "E_AUTH_FAILED", "the request to the auth server failed.";
    AuthDisabled = "E_AUTH_DISABLED", "AUTH was sent to an nsqd that has no auth server.";
    AuthError = "E_AUTH_ERROR", "nsqd could not encode its response to AUTH.";
    Unauthorized = "E_UNAUTHORIZED", "no permission for this topic or channel, or none at all.";
    BadProtocol = "E_BAD_PROTOCOL", "the magic was not `  V2`.";
    FinFailed = "E_FIN_FAILED", "the message is not in flight on this connection.";
    ReqFailed = "E_REQ_FAILED", "the message is not in flight on this connection.";
    TouchFailed = "E_TOUCH_FAILED", "the message is not in flight on this connection.";
}

impl ErrorCode {
    /// Returns whether nsqd closes the connection after this error. It does, except after
    /// `E_FIN_FAILED`, `E_REQ_FAILED` and `E_TOUCH_FAILED`; unknown codes count as fatal.
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        !matches!(self, Self::FinFailed | Self::ReqFailed | Self::TouchFailed)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Serializes the token.
impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The content of an error frame: nsqd's code and text.
///
/// A clone is cheap, since one error response may fail many publishes. It is serialized as its
/// text, and shown as that; if there is none, `Display` says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    code: ErrorCode,
    text: Arc<str>,
}

impl ServerError {
    /// Parses the data of an error frame. Any bytes are accepted.
    ///
    /// ```text
    ///  E _ B A D _ T O P I C | 20 | P U B   t o p i c   n a m e ...
    ///  code: first word only | sp | description (may be absent)
    /// ```
    ///
    /// The text is the data on one line, at most 512 bytes: control characters are escaped, invalid
    /// UTF-8 is replaced, and an ellipsis marks omitted text.
    #[must_use]
    pub fn parse(data: &[u8]) -> Self {
        let token = data.split(u8::is_ascii_whitespace).next();
        let characters = data.utf8_chunks().flat_map(|chunk| {
            let broken = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
            chunk.valid().chars().chain(broken)
        });
        Self {
            code: ErrorCode::from_token(token.unwrap_or_default()),
            text: one_line(characters, MAX_TEXT).into(),
        }
    }

    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Returns code and description as sent by nsqd, on one line of at most 512 bytes.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns the size and the limit in a text like `... too big 1025 > 1024`; `None` for other
    /// texts.
    ///
    /// nsqd reports its `max_msg_size` and `max_body_size` to clients in no other way.
    #[must_use]
    pub fn named_limit(&self) -> Option<NamedLimit> {
        let (_, numbers) = self.text.split_once("too big ")?;
        let (size, limit) = numbers.split_once(" > ")?;
        let limit = limit.split(|c: char| !c.is_ascii_digit()).next()?;
        Some(NamedLimit {
            size: size.parse().ok()?,
            limit: limit.parse().ok()?,
        })
    }

    /// Returns whether nsqd runs with `--tls-required` and rejected a command that was sent without
    /// TLS. The rejected command itself may be valid.
    #[must_use]
    pub fn is_tls_required(&self) -> bool {
        self.code == ErrorCode::Invalid && self.text.ends_with("(TLS required)")
    }

    /// Returns whether nsqd timed out while it read the rest of a body. Nothing was stored, and the
    /// rejected command itself may be valid.
    ///
    /// nsqd allows two heartbeat intervals for a command and its body, even if bytes arrive
    /// steadily. The text depends on the position: within a message
    /// `E_BAD_MESSAGE ... failed to read message body`, at a count or length of an MPUB
    /// `E_BAD_BODY MPUB failed to read message count` or
    /// `E_BAD_MESSAGE MPUB failed to read message(7) body size`.
    #[must_use]
    pub fn is_slow_upload(&self) -> bool {
        matches!(self.code, ErrorCode::BadMessage | ErrorCode::BadBody)
            && self.text.contains(" failed to read ")
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match &*self.text {
            "" => "error response without a text",
            text => text,
        })
    }
}

impl std::error::Error for ServerError {}

/// Serializes the text.
impl Serialize for ServerError {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

/// A size that nsqd rejected and the limit it named, see [`ServerError::named_limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NamedLimit {
    /// The rejected size in bytes.
    pub size: u64,
    /// The largest size in bytes that nsqd accepts.
    pub limit: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKENS: [(&str, ErrorCode); 19] = [
        ("E_INVALID", ErrorCode::Invalid),
        ("E_BAD_TOPIC", ErrorCode::BadTopic),
        ("E_BAD_CHANNEL", ErrorCode::BadChannel),
        ("E_BAD_BODY", ErrorCode::BadBody),
        ("E_BAD_MESSAGE", ErrorCode::BadMessage),
        ("E_PUB_FAILED", ErrorCode::PubFailed),
        ("E_MPUB_FAILED", ErrorCode::MpubFailed),
        ("E_DPUB_FAILED", ErrorCode::DpubFailed),
        ("E_SUB_FAILED", ErrorCode::SubFailed),
        ("E_IDENTIFY_FAILED", ErrorCode::IdentifyFailed),
        ("E_AUTH_FIRST", ErrorCode::AuthFirst),
        ("E_AUTH_FAILED", ErrorCode::AuthFailed),
        ("E_AUTH_DISABLED", ErrorCode::AuthDisabled),
        ("E_AUTH_ERROR", ErrorCode::AuthError),
        ("E_UNAUTHORIZED", ErrorCode::Unauthorized),
        ("E_BAD_PROTOCOL", ErrorCode::BadProtocol),
        ("E_FIN_FAILED", ErrorCode::FinFailed),
        ("E_REQ_FAILED", ErrorCode::ReqFailed),
        ("E_TOUCH_FAILED", ErrorCode::TouchFailed),
    ];

    /// checklist: 16
    #[test]
    fn every_code_is_recognized_by_its_token() {
        for (token, code) in TOKENS {
            assert_eq!(ErrorCode::from_token(token.as_bytes()), code);
            assert_eq!(code.as_str(), token);
            assert_eq!(code.to_string(), token);
            assert_eq!(serde_json::to_value(code).unwrap(), token);
        }
        for other in ["", "E_", "E_BAD", "E_BAD_TOPICS", "e_invalid", "E_UNKNOWN"] {
            assert_eq!(ErrorCode::from_token(other.as_bytes()), ErrorCode::Unknown);
        }
        assert_eq!(ErrorCode::Unknown.as_str(), "E_UNKNOWN");
    }

    /// checklist: 16
    #[test]
    fn all_but_three_codes_are_fatal() {
        let survived = ["E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"];
        for (token, code) in TOKENS {
            assert_eq!(code.is_fatal(), !survived.contains(&token), "{token}");
        }
        assert!(ErrorCode::Unknown.is_fatal());
    }

    /// fault: P20
    /// checklist: 16
    #[test]
    fn code_is_the_first_word_only() {
        for (data, code) in [
            ("E_BAD_PROTOCOL", ErrorCode::BadProtocol),
            (
                "E_BAD_TOPIC E_BAD_TOPIC MPUB topic name \"a b\" is not valid",
                ErrorCode::BadTopic,
            ),
            ("E_FIN_FAILED E_INVALID", ErrorCode::FinFailed),
            ("E_NEW E_BAD_TOPIC", ErrorCode::Unknown),
            (" E_BAD_TOPIC", ErrorCode::Unknown),
            ("", ErrorCode::Unknown),
        ] {
            let error = ServerError::parse(data.as_bytes());
            assert_eq!(error.code(), code, "{data}");
            assert_eq!(error.text(), data);
            let shown = if data.is_empty() {
                "error response without a text"
            } else {
                data
            };
            assert_eq!(error.to_string(), shown);
            assert_eq!(serde_json::to_value(&error).unwrap(), data);
        }
    }

    /// checklist: 16
    #[test]
    fn text_is_one_line_of_at_most_512_bytes() {
        let error = ServerError::parse(b"E_INVALID a\nb\xff\xfe \x1b[31m");
        assert_eq!(error.text(), "E_INVALID a\\nb\u{fffd}\u{fffd} \\u{1b}[31m");
        let whole = "x".repeat(512);
        assert_eq!(ServerError::parse(whole.as_bytes()).text(), whole);
        let cut = format!("{}…", "x".repeat(509));
        assert_eq!(ServerError::parse(&[b'x'; 513]).text(), cut);
    }

    #[track_caller]
    fn assert_limit(text: &str, expected: Option<(u64, u64)>) {
        let limit = ServerError::parse(text.as_bytes()).named_limit();
        assert_eq!(limit.map(|l| (l.size, l.limit)), expected);
    }

    /// checklist: 16
    #[test]
    fn named_limit_is_parsed_from_the_text() {
        assert_limit(
            "E_BAD_MESSAGE MPUB message too big 1025 > 1024",
            Some((1025, 1024)),
        );
        assert_limit(
            "E_BAD_MESSAGE PUB message too big 2000 > 1000",
            Some((2000, 1000)),
        );
        assert_limit(
            "E_BAD_MESSAGE DPUB message too big 2000 > 1000",
            Some((2000, 1000)),
        );
        assert_limit(
            "E_BAD_BODY MPUB body too big 20001 > 20000",
            Some((20001, 20000)),
        );
        assert_limit("E_BAD_BODY body too big 5 > 4, sorry", Some((5, 4)));
        assert_limit("E_BAD_MESSAGE PUB message too big 2000", None);
        assert_limit("E_BAD_MESSAGE PUB message too big -1 > 1000", None);
        assert_limit("E_BAD_MESSAGE PUB message too big 2000 > ", None);
        assert_limit(
            "E_BAD_MESSAGE PUB message too big 99999999999999999999 > 1",
            None,
        );
        assert_limit("E_BAD_MESSAGE PUB invalid message body size 0", None);
    }

    /// checklist: 16
    #[test]
    fn slow_upload_is_distinguished_from_an_invalid_message() {
        for (text, slow) in [
            ("E_BAD_MESSAGE PUB failed to read message body", true),
            ("E_BAD_MESSAGE PUB failed to read message body size", true),
            ("E_BAD_MESSAGE DPUB failed to read message body", true),
            ("E_BAD_MESSAGE MPUB failed to read message body", true),
            (
                "E_BAD_MESSAGE MPUB failed to read message(7) body size",
                true,
            ),
            ("E_BAD_BODY MPUB failed to read body size", true),
            ("E_BAD_BODY MPUB failed to read message count", true),
            ("E_BAD_MESSAGE PUB message too big 2000 > 1000", false),
            ("E_BAD_MESSAGE PUB invalid message body size 0", false),
            ("E_BAD_BODY IDENTIFY failed to decode JSON body", false),
            ("E_PUB_FAILED PUB failed to read the disk", false),
        ] {
            let error = ServerError::parse(text.as_bytes());
            assert_eq!(error.is_slow_upload(), slow, "{text}");
        }
    }

    proptest! {
        /// contract: 12
        /// fault: P20
        /// checklist: 16
        #[test]
        fn any_bytes_become_one_short_line(data in prop::collection::vec(any::<u8>(), 0..2000)) {
            let error = ServerError::parse(&data);
            prop_assert!(error.text().len() <= 512);
            prop_assert!(!error.text().contains(char::is_control));
            let _ = (error.named_limit(), error.is_slow_upload());
        }
    }
}
