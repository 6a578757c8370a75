//! nsqd's `/stats`, read leniently: unknown fields are ignored, missing and unusable values are 0.

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::error::AdminError;

/// A snapshot of an nsqd. Fields are named as in its `/stats`. A field that nsqd does not send has
/// its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Stats {
    /// Version of nsqd.
    #[serde(deserialize_with = "lenient")]
    pub version: String,
    /// `OK`, or what failed, such as writing to the disk.
    #[serde(deserialize_with = "lenient")]
    pub health: String,
    /// When nsqd was started, in seconds since 1970.
    #[serde(deserialize_with = "lenient")]
    pub start_time: u64,
    /// Its topics.
    #[serde(deserialize_with = "list")]
    pub topics: Vec<TopicStats>,
}

/// A topic of [`Stats`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TopicStats {
    /// Its name.
    #[serde(deserialize_with = "lenient")]
    pub topic_name: String,
    /// Messages that wait in the topic itself: it is paused, or has no channel.
    #[serde(deserialize_with = "lenient")]
    pub depth: u64,
    /// Part of `depth` that is on disk.
    #[serde(deserialize_with = "lenient")]
    pub backend_depth: u64,
    /// Messages that were published since nsqd was started.
    #[serde(deserialize_with = "lenient")]
    pub message_count: u64,
    /// Bytes of their bodies.
    #[serde(deserialize_with = "lenient")]
    pub message_bytes: u64,
    /// Whether it is paused.
    #[serde(deserialize_with = "lenient")]
    pub paused: bool,
    /// Its channels.
    #[serde(deserialize_with = "list")]
    pub channels: Vec<ChannelStats>,
}

/// A channel of [`TopicStats`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ChannelStats {
    /// Its name.
    #[serde(deserialize_with = "lenient")]
    pub channel_name: String,
    /// Messages that wait for a consumer, without those in flight and deferred ones.
    #[serde(deserialize_with = "lenient")]
    pub depth: u64,
    /// Part of `depth` that is on disk.
    #[serde(deserialize_with = "lenient")]
    pub backend_depth: u64,
    /// Messages that were sent to a consumer and are not answered.
    #[serde(deserialize_with = "lenient")]
    pub in_flight_count: u64,
    /// Messages that were deferred, and whose delay has not passed.
    #[serde(deserialize_with = "lenient")]
    pub deferred_count: u64,
    /// Messages that it has got since nsqd was started.
    #[serde(deserialize_with = "lenient")]
    pub message_count: u64,
    /// Messages that consumers have requeued.
    #[serde(deserialize_with = "lenient")]
    pub requeue_count: u64,
    /// Messages that were not answered within `msg_timeout`.
    #[serde(deserialize_with = "lenient")]
    pub timeout_count: u64,
    /// Connected consumers.
    #[serde(deserialize_with = "lenient")]
    pub client_count: u64,
    /// Whether it is paused.
    #[serde(deserialize_with = "lenient")]
    pub paused: bool,
}

impl Stats {
    /// Reads a body of `/stats`.
    pub(super) fn parse(body: &[u8]) -> Result<Self, AdminError> {
        /// The shape of versions before 1.0.
        #[derive(Deserialize)]
        struct Wrapped {
            data: Option<Stats>,
        }
        let invalid = |error: serde_json::Error| AdminError::Body {
            // serde_json's text may quote the body.
            problem: format!(
                "invalid JSON at line {}, column {}",
                error.line(),
                error.column()
            ),
        };
        let wrapped: Wrapped = serde_json::from_slice(body).map_err(invalid)?;
        match wrapped.data {
            Some(stats) => Ok(stats),
            None => serde_json::from_slice(body).map_err(invalid),
        }
    }
}

/// Reads a value; one of another type is the default.
fn lenient<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Default,
{
    let value = Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Reads a list; `null` is an empty one.
fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_missing_and_invalid_fields_are_tolerated() {
        let body = br#"{"version":"9.0","new":{"a":[1]},"health":7,"topics":[
            {"topic_name":"t","depth":3,"paused":true,"e2e":{"count":0},"channels":[
                {"channel_name":"c","depth":-1,"in_flight_count":2,"client_count":4,
                 "clients":null}]},
            {"topic_name":"u","channels":null}]}"#;
        let stats = Stats::parse(body).unwrap();
        assert_eq!((stats.version.as_str(), stats.health.as_str()), ("9.0", ""));
        let [t, u] = &stats.topics[..] else {
            panic!("{stats:?}")
        };
        assert_eq!((t.depth, t.paused, t.message_count), (3, true, 0));
        let channel = &t.channels[0];
        assert_eq!(
            (channel.depth, channel.in_flight_count, channel.client_count),
            (0, 2, 4)
        );
        assert_eq!((u.topic_name.as_str(), u.channels.len()), ("u", 0));
    }

    #[test]
    fn shape_of_old_versions_is_read() {
        let body =
            br#"{"status_code":200,"data":{"version":"0.2.30","topics":[{"topic_name":"t"}]}}"#;
        assert_eq!(Stats::parse(body).unwrap().topics[0].topic_name, "t");
        assert_eq!(
            Stats::parse(br#"{"topics":null}"#).unwrap(),
            Stats::default()
        );
    }

    #[test]
    fn other_body_is_an_error() {
        for body in [
            &b""[..],
            b"OK",
            b"[]x",
            br#"{"topics":[7]}"#,
            br#"{"topics":"t"}"#,
        ] {
            let error = Stats::parse(body).unwrap_err();
            assert!(matches!(error, AdminError::Body { .. }), "{error}");
        }
    }
}
