//! Topic and channel names: parsed once, valid ever after.

use std::{convert::Infallible, fmt, str::FromStr, sync::Arc};

use super::text::one_line;

/// The longest name in bytes, the suffix included (nsqd counts it in).
const MAX_LEN: usize = 64;

/// Marks a topic or channel that nsqd deletes once its last client has gone, and that never touches the disk.
const EPHEMERAL: &str = "#ephemeral";

/// At most this many bytes of a refused name are shown.
const SHOWN: usize = 80;

macro_rules! name {
    ($(#[$doc:meta])* $Name:ident, $kind:literal) => {
        $(#[$doc])*
        ///
        /// Valid by construction, by nsqd's own rule: `^[.a-zA-Z0-9_-]+(#ephemeral)?$`, 1 to 64 bytes in all, the suffix
        /// included. Cloning shares the text and allocates nothing.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $Name(Arc<str>);

        impl $Name {
            #[doc = concat!("Parses a ", $kind, " name.")]
            ///
            /// # Errors
            ///
            /// [`NameError`] for whatever nsqd would refuse.
            pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
                let name = name.as_ref();
                match check(name) {
                    Ok(()) => Ok(Self(name.into())),
                    Err(fault) => Err(NameError::new($kind, name, fault)),
                }
            }

            /// The name as it stands on the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether the name ends in `#ephemeral`: nsqd then keeps it in memory only and deletes it once its last
            /// client has gone.
            #[must_use]
            pub fn is_ephemeral(&self) -> bool {
                self.0.ends_with(EPHEMERAL)
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
                &self.0
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($Name)).field(&self.as_str()).finish()
            }
        }
    };
}

name!(
    /// The name of a topic: a stream of messages that producers publish to.
    Topic,
    "topic"
);

name!(
    /// The name of a channel: one copy of a topic's stream, shared by the consumers subscribed to it.
    Channel,
    "channel"
);

/// A name that nsqd would refuse. Its text shows the name, what is wrong with it, and whether a topic or a channel was meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name \"{shown}\" {fault}")]
pub struct NameError {
    kind: &'static str,
    shown: String,
    fault: Fault,
}

impl NameError {
    fn new(kind: &'static str, name: &str, fault: Fault) -> Self {
        Self {
            kind,
            shown: one_line(name.chars(), SHOWN),
            fault,
        }
    }
}

/// Lets one function take a name already parsed as well as a text still to be parsed, by `TryInto<Topic, Error: Into<NameError>>`.
impl From<Infallible> for NameError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Fault {
    #[error("is empty")]
    Empty,
    #[error("has {len} bytes while {MAX_LEN} is the limit")]
    TooLong { len: usize },
    #[error("has nothing before {EPHEMERAL}")]
    OnlySuffix,
    #[error(
        "contains {character:?}, but only ASCII letters, digits, '.', '_', '-' and a final {EPHEMERAL} are allowed"
    )]
    Character { character: char },
}

fn check(name: &str) -> Result<(), Fault> {
    if name.is_empty() {
        return Err(Fault::Empty);
    }
    if name.len() > MAX_LEN {
        return Err(Fault::TooLong { len: name.len() });
    }
    let stem = name.strip_suffix(EPHEMERAL).unwrap_or(name);
    if stem.is_empty() {
        return Err(Fault::OnlySuffix);
    }
    match stem.chars().find(|&c| !is_allowed(c)) {
        Some(character) => Err(Fault::Character { character }),
        None => Ok(()),
    }
}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn accepted(name: &str) {
        assert_eq!(Topic::new(name).map(|t| t.to_string()).as_deref(), Ok(name));
        assert_eq!(
            Channel::new(name).map(|c| c.to_string()).as_deref(),
            Ok(name)
        );
    }

    #[track_caller]
    fn refused(name: &str, text: &str) {
        let error = Topic::new(name).unwrap_err();
        assert_eq!(error.to_string(), format!("topic name {text}"));
        let error = Channel::new(name).unwrap_err();
        assert_eq!(error.to_string(), format!("channel name {text}"));
    }

    #[test]
    fn names_that_nsqd_takes_are_accepted() {
        accepted("a");
        accepted("orders");
        accepted("Orders.2024_eu-west");
        accepted("...");
        accepted("-");
        accepted("x#ephemeral");
        accepted(&"a".repeat(64));
        accepted(&format!("{}#ephemeral", "a".repeat(54)));
    }

    /// fault: P26
    #[test]
    fn names_that_nsqd_refuses_are_refused_with_the_reason() {
        let only =
            "but only ASCII letters, digits, '.', '_', '-' and a final #ephemeral are allowed";
        refused("", r#""" is empty"#);
        refused("a b", &format!(r#""a b" contains ' ', {only}"#));
        refused("a\n", &format!(r#""a\n" contains '\n', {only}"#));
        refused("a\0", &format!(r#""a\0" contains '\0', {only}"#));
        refused("grüße", &format!(r#""grüße" contains 'ü', {only}"#));
        refused("x#eph", &format!(r#""x#eph" contains '#', {only}"#));
        refused(
            "x#ephemeral\n",
            &format!(r##""x#ephemeral\n" contains '#', {only}"##),
        );
        refused(
            "x#ephemeral#ephemeral",
            &format!(r##""x#ephemeral#ephemeral" contains '#', {only}"##),
        );
        refused(
            "#ephemeral",
            r##""#ephemeral" has nothing before #ephemeral"##,
        );
        let long = "a".repeat(65);
        refused(
            &long,
            &format!(r#""{long}" has 65 bytes while 64 is the limit"#),
        );
        let long = format!("{}#ephemeral", "a".repeat(55));
        refused(
            &long,
            &format!(r#""{long}" has 65 bytes while 64 is the limit"#),
        );
    }

    #[test]
    fn a_very_long_name_is_shown_in_part() {
        let error = Topic::new("a".repeat(1_000_000)).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "topic name \"{}…\" has 1000000 bytes while 64 is the limit",
                "a".repeat(77)
            )
        );
    }

    #[test]
    fn only_the_suffix_makes_a_name_ephemeral() {
        assert!(Topic::new("x#ephemeral").unwrap().is_ephemeral());
        assert!(!Topic::new("x-ephemeral").unwrap().is_ephemeral());
    }

    #[test]
    fn names_print_compare_and_convert_like_their_text() {
        let topic: Topic = "b".parse().unwrap();
        assert_eq!(format!("{topic:?}"), r#"Topic("b")"#);
        assert_eq!(format!("{topic:>3}|"), "  b|");
        assert_eq!(
            format!("{:?}", Channel::new("c").unwrap()),
            r#"Channel("c")"#
        );
        assert_eq!(Topic::try_from("b"), Ok(topic.clone()));
        assert_eq!(Topic::try_from("b".to_owned()), Ok(topic.clone()));
        assert_eq!(Topic::from(&topic), topic);
        assert_eq!(topic.as_ref(), "b");
        assert!(Topic::new("a").unwrap() < topic);
        assert!(HashSet::from([topic.clone()]).contains(&topic));
    }

    #[test]
    fn a_clone_shares_the_text() {
        let topic = Topic::new("orders").unwrap();
        assert!(std::ptr::eq(topic.as_str(), topic.clone().as_str()));
    }

    #[test]
    fn one_function_can_take_names_and_texts() {
        fn parse<T: TryInto<Topic, Error: Into<NameError>>>(topic: T) -> Result<Topic, NameError> {
            topic.try_into().map_err(Into::into)
        }
        let topic = Topic::new("orders").unwrap();
        assert_eq!(parse(&topic), Ok(topic.clone()));
        assert_eq!(parse("orders"), Ok(topic.clone()));
        assert_eq!(parse(topic.clone()), Ok(topic));
        assert!(parse("no good").is_err());
    }

    /// nsqd's rule once more, as a machine that reads byte by byte.
    fn nsqd_accepts(name: &str) -> bool {
        const ALPHABET: &[u8] =
            b".-_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let bytes = name.as_bytes();
        let stem = bytes.iter().take_while(|b| ALPHABET.contains(b)).count();
        let tail = &bytes[stem..];
        stem > 0 && bytes.len() <= 64 && (tail == b"" || tail == b"#ephemeral")
    }

    proptest! {
        /// fault: P26
        #[test]
        fn a_name_is_accepted_exactly_if_nsqd_accepts_it(
            name in prop_oneof![
                "[.a-zA-Z0-9_-]{0,66}(#ephemeral)?",
                "[.a-zA-Z0-9_-]{0,5}(#ephemeral|#eph|\n|#| |é|\0|[[:ascii:]])?[a-z]{0,2}(#ephemeral)?\n?",
                ".{0,70}",
            ]
        ) {
            prop_assert_eq!(Topic::new(&name).is_ok(), nsqd_accepts(&name));
            prop_assert_eq!(Channel::new(&name).is_ok(), nsqd_accepts(&name));
        }
    }
}
