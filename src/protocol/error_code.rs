//! What an error frame says: nsqd's code, and its text.

use std::{fmt, sync::Arc};

use super::text::one_line;

/// At most this many bytes of an error frame's text are kept.
const MAX_TEXT: usize = 512;

/// The one table: variant, token on the wire, meaning.
macro_rules! error_codes {
    ($($Code:ident = $token:literal, $doc:literal;)*) => {
        /// The first word of an error frame.
        ///
        /// nsqd follows it with a description for humans; only the code is fit for decisions.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(#[doc = concat!("`", $token, "`: ", $doc)] $Code,)*
            /// Any other token: a newer nsqd, or not an nsqd at all.
            Unknown,
        }

        impl ErrorCode {
            /// The token as nsqd writes it; `E_UNKNOWN` stands for [`ErrorCode::Unknown`].
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$Code => $token,)*
                    Self::Unknown => "E_UNKNOWN",
                }
            }

            /// The code of a token; case matters, as it does to nsqd.
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
    Invalid = "E_INVALID", "unknown command, wrong state, a parameter missing or out of range, TLS required.";
    BadTopic = "E_BAD_TOPIC", "the topic's name is not valid.";
    BadChannel = "E_BAD_CHANNEL", "the channel's name is not valid.";
    BadBody = "E_BAD_BODY", "the body of IDENTIFY, AUTH or MPUB has a bad size, form or value.";
    BadMessage = "E_BAD_MESSAGE", "a message is empty, too big, or did not arrive in time.";
    PubFailed = "E_PUB_FAILED", "PUB was not stored: topic being deleted, nsqd going down, or disk trouble.";
    MpubFailed = "E_MPUB_FAILED", "MPUB failed; a first part of the batch may be stored.";
    DpubFailed = "E_DPUB_FAILED", "DPUB was not stored: topic being deleted, nsqd going down, or disk trouble.";
    SubFailed = "E_SUB_FAILED", "topic or channel being deleted, or too many consumers on the channel.";
    IdentifyFailed = "E_IDENTIFY_FAILED", "IDENTIFY asked for what cannot be had, or the upgrade to TLS or compression failed.";
    AuthFirst = "E_AUTH_FIRST", "AUTH is required before this command.";
    AuthFailed = "E_AUTH_FAILED", "nsqd could not reach its auth server.";
    AuthDisabled = "E_AUTH_DISABLED", "AUTH was sent to an nsqd that does not ask for it.";
    AuthError = "E_AUTH_ERROR", "nsqd could not give its answer to AUTH.";
    Unauthorized = "E_UNAUTHORIZED", "no grant, or none for this topic or channel.";
    BadProtocol = "E_BAD_PROTOCOL", "the magic was not `  V2`.";
    FinFailed = "E_FIN_FAILED", "FIN named a message that is not in flight on this connection.";
    ReqFailed = "E_REQ_FAILED", "REQ named a message that is not in flight on this connection.";
    TouchFailed = "E_TOUCH_FAILED", "TOUCH named a message that is not in flight on this connection.";
}

impl ErrorCode {
    /// Whether nsqd closes the connection after this error. It does after all but three; an unknown code counts as fatal.
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

/// The content of an error frame: nsqd's verdict in its own words.
///
/// Cloning is cheap: one verdict answers many publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerError {
    code: ErrorCode,
    text: Arc<str>,
}

impl ServerError {
    /// Reads the data of an error frame.
    ///
    /// ```text
    ///  E _ B A D _ T O P I C | 20 | P U B   t o p i c   n a m e ...
    ///  code: first word only | sp | description (may be absent)
    /// ```
    ///
    /// Takes any bytes. The text is the whole data on one line: control characters escaped, invalid UTF-8 replaced, cut to
    /// 512 bytes (an ellipsis marks the cut).
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

    /// The code: what to decide by.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Code and description, on one line of at most 512 bytes: what to show.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The limit that the text names, if it does: `... too big 1025 > 1024`.
    ///
    /// nsqd tells its `max_msg_size` and `max_body_size` nowhere else on this connection.
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

    /// Whether nsqd runs with `--tls-required`, and refuses whatever comes outside of TLS: what was refused is not to blame.
    #[must_use]
    pub fn is_tls_required(&self) -> bool {
        self.code == ErrorCode::Invalid && self.text.ends_with("(TLS required)")
    }

    /// Whether nsqd gave up waiting for the rest of a body: the upload was slow, what it carried is not to blame, and
    /// nothing was stored.
    ///
    /// nsqd allows two heartbeat intervals for a command and its body, however steadily the bytes flow. Where exactly time
    /// ran out decides the words: within a message `E_BAD_MESSAGE ... failed to read message body`, at one of MPUB's
    /// counts and lengths `E_BAD_BODY MPUB failed to read message count` or
    /// `E_BAD_MESSAGE MPUB failed to read message(7) body size`.
    #[must_use]
    pub fn is_slow_upload(&self) -> bool {
        matches!(self.code, ErrorCode::BadMessage | ErrorCode::BadBody)
            && self.text.contains(" failed to read ")
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl std::error::Error for ServerError {}

/// What nsqd's text says about a size it refused, see [`ServerError::named_limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NamedLimit {
    /// The refused size in bytes.
    pub size: u64,
    /// The largest size in bytes that nsqd takes.
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
    fn every_code_is_known_by_its_token() {
        for (token, code) in TOKENS {
            assert_eq!(ErrorCode::from_token(token.as_bytes()), code);
            assert_eq!(code.as_str(), token);
            assert_eq!(code.to_string(), token);
        }
        for stranger in ["", "E_", "E_BAD", "E_BAD_TOPICS", "e_invalid", "E_UNKNOWN"] {
            assert_eq!(
                ErrorCode::from_token(stranger.as_bytes()),
                ErrorCode::Unknown
            );
        }
        assert_eq!(ErrorCode::Unknown.as_str(), "E_UNKNOWN");
    }

    /// checklist: 16
    #[test]
    fn all_but_three_codes_are_fatal() {
        let mild = ["E_FIN_FAILED", "E_REQ_FAILED", "E_TOUCH_FAILED"];
        for (token, code) in TOKENS {
            assert_eq!(code.is_fatal(), !mild.contains(&token), "{token}");
        }
        assert!(ErrorCode::Unknown.is_fatal());
    }

    /// fault: P20
    /// checklist: 16
    #[test]
    fn only_the_first_word_makes_the_code() {
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
            assert_eq!(error.to_string(), data);
        }
    }

    /// checklist: 16
    #[test]
    fn the_text_stays_on_one_line_and_within_512_bytes() {
        let error = ServerError::parse(b"E_INVALID a\nb\xff\xfe \x1b[31m");
        assert_eq!(error.text(), "E_INVALID a\\nb\u{fffd}\u{fffd} \\u{1b}[31m");
        let whole = "x".repeat(512);
        assert_eq!(ServerError::parse(whole.as_bytes()).text(), whole);
        let cut = format!("{}…", "x".repeat(509));
        assert_eq!(ServerError::parse(&[b'x'; 513]).text(), cut);
    }

    #[track_caller]
    fn names(text: &str, expected: Option<(u64, u64)>) {
        let limit = ServerError::parse(text.as_bytes()).named_limit();
        assert_eq!(limit.map(|l| (l.size, l.limit)), expected);
    }

    /// checklist: 16
    #[test]
    fn the_limit_is_read_from_the_text() {
        names(
            "E_BAD_MESSAGE MPUB message too big 1025 > 1024",
            Some((1025, 1024)),
        );
        names(
            "E_BAD_MESSAGE PUB message too big 2000 > 1000",
            Some((2000, 1000)),
        );
        names(
            "E_BAD_MESSAGE DPUB message too big 2000 > 1000",
            Some((2000, 1000)),
        );
        names(
            "E_BAD_BODY MPUB body too big 20001 > 20000",
            Some((20001, 20000)),
        );
        names("E_BAD_BODY body too big 5 > 4, sorry", Some((5, 4)));
        names("E_BAD_MESSAGE PUB message too big 2000", None);
        names("E_BAD_MESSAGE PUB message too big -1 > 1000", None);
        names("E_BAD_MESSAGE PUB message too big 2000 > ", None);
        names(
            "E_BAD_MESSAGE PUB message too big 99999999999999999999 > 1",
            None,
        );
        names("E_BAD_MESSAGE PUB invalid message body size 0", None);
    }

    /// checklist: 16
    #[test]
    fn a_slow_upload_is_told_from_a_bad_message() {
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
        /// fault: P20
        /// checklist: 16
        #[test]
        fn any_bytes_make_one_short_line(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let error = ServerError::parse(&data);
            prop_assert!(error.text().len() <= 512);
            prop_assert!(!error.text().contains(char::is_control));
            let _ = (error.named_limit(), error.is_slow_upload());
        }
    }
}
