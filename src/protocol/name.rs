//! Topic and channel names, validated on construction.

use std::{
    cmp::Ordering,
    convert::Infallible,
    fmt,
    hash::{Hash, Hasher},
    ptr,
    str::FromStr,
    sync::Arc,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::text::one_line;

/// Maximum length of a name in bytes, including the suffix: nsqd's limit.
const MAX_LEN: usize = 64;

/// Suffix of a topic or channel that nsqd keeps in memory only and deletes after its last client
/// has disconnected.
const EPHEMERAL: &str = "#ephemeral";

/// Maximum length in bytes of an invalid name in an error text. Longer than any valid name, so
/// that a name which is slightly too long is shown completely.
const MAX_SHOWN: usize = 80;

/// The text of a valid name. A clone allocates nothing.
#[derive(Clone)]
enum Name {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Name {
    fn as_str(&self) -> &str {
        match self {
            Self::Static(name) => name,
            Self::Shared(name) => name,
        }
    }
}

impl PartialEq for Name {
    /// Compares the addresses first: names are usually clones of each other.
    fn eq(&self, other: &Self) -> bool {
        let (name, other) = (self.as_str(), other.as_str());
        ptr::eq(name, other) || name == other
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $Name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Name(Name);

        impl $Name {
            #[doc = concat!("Validates a ", $kind, " name.")]
            ///
            /// # Errors
            ///
            /// [`NameError`] if nsqd would reject the name.
            pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
                let name = name.as_ref();
                match check(name) {
                    Ok(()) => Ok(Self(Name::Shared(name.into()))),
                    Err(problem) => Err(NameError::new($kind, name, problem)),
                }
            }

            #[doc = concat!("Makes a ", $kind, " name of a literal, without an allocation.")]
            ///
            /// Used in a `const` or `static`, an invalid literal is a compile error.
            ///
            /// # Panics
            ///
            /// If nsqd would reject the name. For names that are not literals use
            /// [`new`](Self::new).
            #[must_use]
            #[track_caller]
            pub const fn from_static(name: &'static str) -> Self {
                match check(name) {
                    Ok(()) => Self(Name::Static(name)),
                    Err(Problem::Empty) => panic!(concat!($kind, " name is empty")),
                    Err(Problem::TooLong) => panic!(concat!($kind, " name exceeds 64 bytes")),
                    Err(Problem::OnlySuffix) => {
                        panic!(concat!($kind, " name has no characters before #ephemeral"))
                    }
                    Err(Problem::Character { .. }) => {
                        panic!(concat!($kind, " name contains an invalid character"))
                    }
                }
            }

            /// Returns the name as sent to nsqd.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            #[doc = concat!("Returns whether nsqd keeps the ", $kind, " in memory only and")]
            /// deletes it after its last client has disconnected: the name ends in `#ephemeral`.
            #[must_use]
            pub fn is_ephemeral(&self) -> bool {
                self.as_str().ends_with(EPHEMERAL)
            }
        }

        impl FromStr for $Name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<&str> for $Name {
            type Error = NameError;

            fn try_from(name: &str) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<&String> for $Name {
            type Error = NameError;

            fn try_from(name: &String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $Name {
            type Error = NameError;

            fn try_from(name: String) -> Result<Self, NameError> {
                Self::new(name)
            }
        }

        impl From<&$Name> for $Name {
            fn from(name: &$Name) -> Self {
                name.clone()
            }
        }

        impl AsRef<str> for $Name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($Name)).field(&self.as_str()).finish()
            }
        }

        /// Serializes the name as a string.
        impl Serialize for $Name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        /// Validates the string like [`new`](Self::new).
        impl<'de> Deserialize<'de> for $Name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let name = String::deserialize(deserializer)?;
                Self::new(name).map_err(de::Error::custom)
            }
        }
    };
}

name!(
    /// The name of a topic, the stream of messages that producers publish to.
    ///
    /// The name is validated on construction by nsqd's rule `^[.a-zA-Z0-9_-]+(#ephemeral)?$`,
    /// 1 to 64 bytes including the suffix. A clone shares the text and allocates nothing.
    ///
    /// ```
    /// use actix_nsq::Topic;
    ///
    /// // A literal: an invalid one does not compile.
    /// const LITERAL: Topic = Topic::from_static("orders");
    ///
    /// // A name that is known at run time only.
    /// let parsed = Topic::new(format!("{LITERAL}#ephemeral"))?;
    /// assert!(parsed.is_ephemeral());
    ///
    /// let error = Topic::new("").unwrap_err();
    /// assert_eq!(error.to_string(), r#"topic name "" is empty"#);
    /// # Ok::<(), actix_nsq::NameError>(())
    /// ```
    Topic,
    "topic"
);

name!(
    /// The name of a channel: each channel of a topic receives a copy of every message, and
    /// distributes the messages among its consumers.
    ///
    /// The name is validated on construction by nsqd's rule `^[.a-zA-Z0-9_-]+(#ephemeral)?$`,
    /// 1 to 64 bytes including the suffix. A clone shares the text and allocates nothing.
    ///
    /// ```
    /// use actix_nsq::Channel;
    ///
    /// // A literal: an invalid one does not compile.
    /// const LITERAL: Channel = Channel::from_static("invoices");
    ///
    /// // A name that is known at run time only.
    /// let parsed = Channel::new(format!("{LITERAL}#ephemeral"))?;
    /// assert!(parsed.is_ephemeral());
    ///
    /// let error = Channel::new("").unwrap_err();
    /// assert_eq!(error.to_string(), r#"channel name "" is empty"#);
    /// # Ok::<(), actix_nsq::NameError>(())
    /// ```
    Channel,
    "channel"
);

/// The error for a name that nsqd would reject. Its text contains the name (at most 80 bytes of
/// it, on one line), whether it names a topic or a channel, and the problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct NameError {
    /// In a box of this size, a `Result` is as small as the name.
    text: Box<str>,
}

impl NameError {
    fn new(kind: &str, name: &str, problem: Problem) -> Self {
        let shown = one_line(name.chars(), MAX_SHOWN);
        let problem = match problem {
            Problem::Empty => "is empty".to_owned(),
            Problem::TooLong => format!("of {} bytes exceeds {MAX_LEN} bytes", name.len()),
            Problem::OnlySuffix => format!("has no characters before {EPHEMERAL}"),
            Problem::Character { at } => {
                let character = name.get(at..).and_then(|rest| rest.chars().next());
                let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
                format!(
                    "contains {character:?}: allowed are ASCII letters, digits, '.', '_', '-' and \
                     a final {EPHEMERAL}"
                )
            }
        };
        Self {
            text: format!("{kind} name \"{shown}\" {problem}").into(),
        }
    }
}

/// Allows a bound `TryInto<Topic, Error: Into<NameError>>` to accept a `Topic` as well as a `&str`.
impl From<Infallible> for NameError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Why nsqd would reject a name.
enum Problem {
    Empty,
    TooLong,
    OnlySuffix,
    /// `at` is the offset of the first invalid character in bytes.
    Character {
        at: usize,
    },
}

const fn check(name: &str) -> Result<(), Problem> {
    let name = name.as_bytes();
    if name.is_empty() {
        return Err(Problem::Empty);
    }
    if name.len() > MAX_LEN {
        return Err(Problem::TooLong);
    }
    let stem = match name.split_last_chunk() {
        Some((stem, b"#ephemeral")) => stem,
        _ => name,
    };
    if stem.is_empty() {
        return Err(Problem::OnlySuffix);
    }
    let mut rest = stem;
    while let [byte, after @ ..] = rest {
        if !is_allowed(*byte) {
            let at = stem.len() - rest.len();
            return Err(Problem::Character { at });
        }
        rest = after;
    }
    Ok(())
}

const fn is_allowed(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn assert_accepted(name: &'static str) {
        assert_eq!(Topic::new(name).unwrap().as_str(), name);
        assert_eq!(Channel::new(name).unwrap().as_str(), name);
        assert_eq!(Topic::from_static(name), Topic::new(name).unwrap());
    }

    #[track_caller]
    fn assert_rejected(name: &str, text: &str) {
        let error = Topic::new(name).unwrap_err();
        assert_eq!(error.to_string(), format!("topic name {text}"));
        let error = Channel::new(name).unwrap_err();
        assert_eq!(error.to_string(), format!("channel name {text}"));
    }

    #[test]
    fn valid_names_are_accepted() {
        assert_accepted("a");
        assert_accepted("orders");
        assert_accepted("Orders.2024_eu-west");
        assert_accepted("...");
        assert_accepted("-");
        assert_accepted("x#ephemeral");
        assert_accepted("0123456789012345678901234567890123456789012345678901234567890123");
        assert_accepted("012345678901234567890123456789012345678901234567890123#ephemeral");
    }

    /// fault: P26
    #[test]
    fn invalid_names_are_rejected_with_the_reason() {
        let allowed = "allowed are ASCII letters, digits, '.', '_', '-' and a final #ephemeral";
        assert_rejected("", r#""" is empty"#);
        assert_rejected("a b", &format!(r#""a b" contains ' ': {allowed}"#));
        assert_rejected("a\n", &format!(r#""a\n" contains '\n': {allowed}"#));
        assert_rejected("a\0", &format!(r#""a\0" contains '\0': {allowed}"#));
        assert_rejected("grüße", &format!(r#""grüße" contains 'ü': {allowed}"#));
        assert_rejected("x#eph", &format!(r#""x#eph" contains '#': {allowed}"#));
        assert_rejected(
            "x#ephemeral\n",
            &format!(r##""x#ephemeral\n" contains '#': {allowed}"##),
        );
        assert_rejected(
            "x#ephemeral#ephemeral",
            &format!(r##""x#ephemeral#ephemeral" contains '#': {allowed}"##),
        );
        assert_rejected(
            "#ephemeral",
            r##""#ephemeral" has no characters before #ephemeral"##,
        );
        for long in ["a".repeat(65), "a".repeat(55) + "#ephemeral"] {
            assert_rejected(&long, &format!(r#""{long}" of 65 bytes exceeds 64 bytes"#));
        }
    }

    #[test]
    fn error_text_shows_80_bytes_of_a_long_name() {
        let error = Topic::new("a".repeat(1_000_000)).unwrap_err().to_string();
        let shown = "a".repeat(77) + "…";
        assert_eq!(
            error,
            format!("topic name \"{shown}\" of 1000000 bytes exceeds 64 bytes")
        );
    }

    #[test]
    fn suffix_makes_a_name_ephemeral() {
        assert!(Topic::new("x#ephemeral").unwrap().is_ephemeral());
        assert!(!Topic::new("x-ephemeral").unwrap().is_ephemeral());
    }

    #[test]
    fn names_print_compare_and_convert_like_their_text() {
        let topic: Topic = "b".parse().unwrap();
        assert_eq!(format!("{topic:?}"), r#"Topic("b")"#);
        assert_eq!(format!("{topic:>3}|"), "  b|");
        let channel = Channel::new("c").unwrap();
        assert_eq!(format!("{channel:?}"), r#"Channel("c")"#);
        assert_eq!(Topic::try_from("b"), Ok(topic.clone()));
        assert_eq!(Topic::try_from("b".to_owned()), Ok(topic.clone()));
        assert_eq!(Topic::from(&topic), topic);
        assert_eq!(topic.as_ref(), "b");
        assert!(Topic::from_static("a") < topic);
        assert!(HashSet::from([topic]).contains(&Topic::from_static("b")));
    }

    #[test]
    fn clones_and_literals_share_their_text() {
        static LITERAL: Topic = Topic::from_static("orders");
        for topic in [LITERAL.clone(), Topic::new("orders").unwrap()] {
            assert!(ptr::eq(topic.as_str(), topic.clone().as_str()));
        }
    }

    #[test]
    #[should_panic(expected = "channel name contains an invalid character")]
    fn from_static_panics_for_an_invalid_name() {
        let _ = Channel::from_static("not valid");
    }

    #[test]
    fn names_are_serialized_as_strings() {
        let topic = Topic::from_static("orders");
        assert_eq!(serde_json::to_string(&topic).unwrap(), r#""orders""#);
        assert_eq!(serde_json::from_str::<Topic>(r#""orders""#).unwrap(), topic);
        let error = serde_json::from_str::<Topic>(r#""a b""#).unwrap_err();
        assert!(error.to_string().contains("contains ' '"), "{error}");
    }

    #[test]
    fn try_into_accepts_names_and_texts() {
        fn parse<T: TryInto<Topic, Error: Into<NameError>>>(topic: T) -> Result<Topic, NameError> {
            topic.try_into().map_err(Into::into)
        }
        let (topic, text) = (Topic::from_static("orders"), "orders".to_owned());
        assert_eq!(parse(&topic), Ok(topic.clone()));
        assert_eq!(parse("orders"), Ok(topic.clone()));
        assert_eq!(parse(&text), Ok(topic.clone()));
        assert_eq!(parse(text), Ok(topic.clone()));
        assert_eq!(parse(topic.clone()), Ok(topic));
        assert!(parse("not valid").is_err());
    }

    /// A second implementation of nsqd's rule.
    fn nsqd_accepts(name: &str) -> bool {
        const ALPHABET: &[u8] =
            b".-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let bytes = name.as_bytes();
        let stem = bytes.iter().take_while(|b| ALPHABET.contains(b)).count();
        let tail = &bytes[stem..];
        stem > 0 && bytes.len() <= 64 && (tail == b"" || tail == b"#ephemeral")
    }

    proptest! {
        /// contract: 5
        /// fault: P26
        #[test]
        fn any_name_is_accepted_exactly_if_nsqd_accepts_it(
            name in prop_oneof![
                "[.a-zA-Z0-9_-]{0,66}(#ephemeral)?",
                "[.a-zA-Z0-9_-]{0,5}(#ephemeral|#eph|\n|#| |é|\0|[[:ascii:]])?\
                 [a-z]{0,2}(#ephemeral)?\n?",
                ".{0,70}",
            ]
        ) {
            prop_assert_eq!(Topic::new(&name).is_ok(), nsqd_accepts(&name));
            prop_assert_eq!(Channel::new(&name).is_ok(), nsqd_accepts(&name));
        }
    }
}
