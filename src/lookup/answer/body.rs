//! The JSON of nsqlookupd, read leniently: one invalid node does not spoil the others.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};

/// Maximum number of nodes that are used of one answer. More would be more connections than a
/// process should open.
pub(crate) const MAX_NODES: usize = 1_000;

/// Maximum number of names that are used of a list.
const MAX_NAMES: usize = 100_000;

/// The body of a response, in the current shape or, in `data`, in that of old versions.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Body {
    #[serde(deserialize_with = "some")]
    pub(super) producers: Option<Producers>,
    #[serde(deserialize_with = "some")]
    pub(super) topics: Option<Names>,
    pub(super) data: Option<Box<Body>>,
    #[serde(deserialize_with = "status")]
    pub(super) status_code: Option<u16>,
    status_txt: Field,
    message: Field,
}

impl Body {
    pub(super) fn into_message(self) -> Option<String> {
        let text = |field: Field| match field {
            Field::Text(text) => Some(text),
            Field::Number(_) | Field::Other(_) => None,
        };
        text(self.message).or_else(|| text(self.status_txt))
    }
}

/// Reads a list that is there; `null` is an empty one.
fn some<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

fn status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u16>, D::Error> {
    Ok(Field::deserialize(deserializer)?.port())
}

/// A value of any type.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Field {
    Number(i64),
    Text(String),
    Other(IgnoredAny),
}

impl Default for Field {
    fn default() -> Self {
        Self::Other(IgnoredAny)
    }
}

impl Field {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::Other(_) => None,
        }
    }

    /// A number that can be a port.
    pub(super) fn port(&self) -> Option<u16> {
        match self {
            Self::Number(number) => u16::try_from(*number).ok().filter(|port| *port > 0),
            Self::Text(_) | Self::Other(_) => None,
        }
    }

    /// The value for a log line, not shortened.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
            Self::Other(_) => "?".into(),
        }
    }
}

/// A node, not validated.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawNode {
    pub(super) broadcast_address: Field,
    /// What versions before 0.2.25 have beside it, or instead.
    pub(super) address: Field,
    pub(super) tcp_port: Field,
    pub(super) http_port: Field,
    pub(super) hostname: Field,
    pub(super) version: Field,
    pub(super) remote_address: Field,
    pub(super) topics: Names,
    #[serde(deserialize_with = "tombstones")]
    pub(super) tombstones: Vec<bool>,
}

fn tombstones<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<bool>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of nodes, of which the first [`MAX_NODES`] are kept.
#[derive(Debug, Default)]
pub(super) struct Producers {
    pub(super) entries: Vec<RawNode>,
    /// Number of those that are not kept.
    pub(super) omitted: usize,
}

impl<'de> Deserialize<'de> for Producers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// An entry of any shape.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Entry {
            Node(Box<RawNode>),
            Other(IgnoredAny),
        }

        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Producers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of nodes")
            }

            fn visit_unit<E>(self) -> Result<Producers, E> {
                Ok(Producers::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Producers, A::Error> {
                let mut producers = Producers::default();
                while producers.entries.len() < MAX_NODES {
                    match list.next_element()? {
                        Some(Entry::Node(node)) => producers.entries.push(*node),
                        Some(Entry::Other(_)) => producers.entries.push(RawNode::default()),
                        None => return Ok(producers),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {
                    producers.omitted += 1;
                }
                Ok(producers)
            }
        }

        deserializer.deserialize_any(List)
    }
}

/// A list of names. Entries that are no text are empty.
#[derive(Debug, Default)]
pub(super) struct Names(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names")
            }

            fn visit_unit<E>(self) -> Result<Names, E> {
                Ok(Names::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element::<Field>()? {
                    if names.len() < MAX_NAMES {
                        names.push(name.text().unwrap_or_default().to_owned());
                    }
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_any(List)
    }
}
