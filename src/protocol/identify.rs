//! What client and nsqd tell each other before anything is published: the JSON of IDENTIFY and AUTH.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The body of `IDENTIFY`: who this client is, and what it would like.
///
/// ```text
///  IDENTIFY\n | u32 length | {"client_id":"a","hostname":"b","feature_negotiation":true, ...}
/// ```
///
/// What is `None` is not sent, and nsqd uses its own default. A value out of range is answered by a fatal `E_BAD_BODY`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Identify {
    /// A short name for this client, shown in nsqd's `/stats`; nsqd's default is the peer's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The host this client runs on, shown in `/stats`; nsqd's default is the peer's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Program and version, shown in `/stats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The region this client stands in; unknown to nsqd 1.3.0, which ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_region: Option<String>,
    /// The zone this client stands in; unknown to nsqd 1.3.0, which ignores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_zone: Option<String>,
    /// Whether nsqd shall answer with an [`IdentifyResponse`] and negotiate; else it answers a bare `OK` and upgrades nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_negotiation: Option<bool>,
    /// Milliseconds between heartbeats: 1000 to 60000, 0 for nsqd's default (30000), -1 for none (which forbids `SUB`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval: Option<i64>,
    /// Bytes nsqd collects before it writes messages: 64 to 65536, 0 for its default (16384), -1 for no buffer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_buffer_size: Option<i64>,
    /// Milliseconds a message may rest in that buffer: 25 to 30000, 0 for nsqd's default (250). With -1 nothing flushes by time:
    /// a lone message waits for the next heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_buffer_timeout: Option<i64>,
    /// Asks for TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_v1: Option<bool>,
    /// Asks for snappy compression; together with `deflate` it is a fatal `E_IDENTIFY_FAILED`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snappy: Option<bool>,
    /// Asks for deflate compression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deflate: Option<bool>,
    /// How hard to deflate; nsqd cuts it to its maximum (6 by default) and takes 6 for anything below 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deflate_level: Option<i64>,
    /// Percentage of messages to deliver, 0 (all of them) to 99. The others are consumed unseen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<i64>,
    /// Milliseconds until nsqd takes back a message neither finished nor touched: 1000 to nsqd's maximum (900000 by default),
    /// 0 for its default (60000).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg_timeout: Option<i64>,
}

impl Identify {
    /// The JSON to send.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and numbers always have a JSON form. Were it otherwise, nsqd would refuse the empty body.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The names alone: a second IDENTIFY that asks for nothing, so that nsqd answers `OK` and changes nothing.
    ///
    /// Anything more is dangerous on a live connection: upgrade flags upgrade again, a buffer size makes nsqd write beneath TLS
    /// and compression, a heartbeat interval moves its dead-line. Names left out are blanked in `/stats`, so none is.
    #[must_use]
    pub fn names_only(&self) -> Self {
        Self {
            client_id: self.client_id.clone(),
            hostname: self.hostname.clone(),
            user_agent: self.user_agent.clone(),
            topology_region: self.topology_region.clone(),
            topology_zone: self.topology_zone.clone(),
            ..Self::default()
        }
    }
}

/// nsqd's answer to `IDENTIFY`: what was negotiated.
///
/// Fields an older nsqd does not send have the values of [`IdentifyResponse::legacy`]; what a newer one sends in addition is
/// ignored. nsqd tells its `max_msg_size` and `max_body_size` neither here nor anywhere else on this connection, until it
/// refuses something (see [`ServerError::named_limit`](super::ServerError::named_limit)).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct IdentifyResponse {
    /// The largest count `RDY` may have; 2500 if nsqd does not say.
    pub max_rdy_count: u64,
    /// nsqd's version, for instance `1.3.0`; empty if it does not say.
    pub version: String,
    /// The longest that a message can be kept by `TOUCH`, in milliseconds; 0 if nsqd does not say.
    pub max_msg_timeout: i64,
    /// The message time-out in force on this connection, in milliseconds; 0 if nsqd does not say.
    pub msg_timeout: i64,
    /// Whether TLS comes next. `false` although it was asked for means that nsqd has no certificate and carries on in clear
    /// text.
    pub tls_v1: bool,
    /// Whether snappy comes next (after TLS).
    pub snappy: bool,
    /// Whether deflate comes next (after TLS).
    pub deflate: bool,
    /// The deflate level in force.
    pub deflate_level: i64,
    /// The highest deflate level nsqd takes.
    pub max_deflate_level: i64,
    /// Percentage of messages delivered; 0 means all.
    pub sample_rate: i64,
    /// Whether `AUTH` has to follow, after the upgrades. If not, it must not be sent: `E_AUTH_DISABLED` is fatal.
    pub auth_required: bool,
    /// Bytes nsqd collects before it writes messages; 0 if it does not say.
    pub output_buffer_size: i64,
    /// Milliseconds a message may rest in that buffer; 0 if nsqd does not say.
    pub output_buffer_timeout: i64,
    /// The region nsqd stands in; empty up to nsqd 1.3.0 and if it does not say.
    pub topology_region: String,
    /// The zone nsqd stands in; empty up to nsqd 1.3.0 and if it does not say.
    pub topology_zone: String,
}

impl IdentifyResponse {
    /// Reads the JSON of the response.
    ///
    /// # Errors
    ///
    /// What `serde_json` finds wrong with it.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        parse_object(json)
    }

    /// What a bare `OK` means: an nsqd too old to negotiate, or not asked to. Nothing was granted, and `max_rdy_count` is 2500,
    /// nsqd's default from the beginning.
    #[must_use]
    pub fn legacy() -> Self {
        Self {
            max_rdy_count: 2500,
            version: String::new(),
            max_msg_timeout: 0,
            msg_timeout: 0,
            tls_v1: false,
            snappy: false,
            deflate: false,
            deflate_level: 0,
            max_deflate_level: 0,
            sample_rate: 0,
            auth_required: false,
            output_buffer_size: 0,
            output_buffer_timeout: 0,
            topology_region: String::new(),
            topology_zone: String::new(),
        }
    }
}

impl Default for IdentifyResponse {
    fn default() -> Self {
        Self::legacy()
    }
}

/// nsqd's answer to `AUTH`: whom it took this client for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AuthResponse {
    /// The identity that the auth server gave.
    pub identity: String,
    /// Where to read about that identity; may be empty.
    pub identity_url: String,
    /// How many grants it holds.
    pub permission_count: i64,
}

impl AuthResponse {
    /// Reads the JSON of the response.
    ///
    /// # Errors
    ///
    /// What `serde_json` finds wrong with it.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        parse_object(json)
    }
}

/// Reads in two steps, since a struct could be read from an array too.
fn parse_object<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    let object: serde_json::Map<_, _> = serde_json::from_slice(json)?;
    serde_json::from_value(object.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Identify {
        Identify {
            client_id: Some("a".into()),
            hostname: Some("a.example".into()),
            user_agent: Some("actix-nsq/\"x\"".into()),
            topology_region: Some("eu".into()),
            topology_zone: Some("eu-1".into()),
            feature_negotiation: Some(true),
            heartbeat_interval: Some(-1),
            output_buffer_size: Some(16384),
            output_buffer_timeout: Some(250),
            tls_v1: Some(true),
            snappy: Some(false),
            deflate: Some(true),
            deflate_level: Some(6),
            sample_rate: Some(99),
            msg_timeout: Some(60000),
        }
    }

    #[test]
    fn identify_has_nsqds_keys_in_order() {
        assert_eq!(
            String::from_utf8(full().to_json()).unwrap(),
            concat!(
                r#"{"client_id":"a","hostname":"a.example","user_agent":"actix-nsq/\"x\"","#,
                r#""topology_region":"eu","topology_zone":"eu-1","feature_negotiation":true,"#,
                r#""heartbeat_interval":-1,"output_buffer_size":16384,"output_buffer_timeout":250,"#,
                r#""tls_v1":true,"snappy":false,"deflate":true,"deflate_level":6,"sample_rate":99,"#,
                r#""msg_timeout":60000}"#
            )
        );
    }

    #[test]
    fn what_is_not_set_is_not_sent() {
        assert_eq!(Identify::default().to_json(), b"{}");
        let some = Identify {
            hostname: Some("h".into()),
            feature_negotiation: Some(false),
            ..Identify::default()
        };
        assert_eq!(
            some.to_json(),
            br#"{"hostname":"h","feature_negotiation":false}"#
        );
    }

    #[test]
    fn the_names_alone_ask_for_nothing() {
        let names = full().names_only().to_json();
        assert_eq!(
            String::from_utf8(names).unwrap(),
            concat!(
                r#"{"client_id":"a","hostname":"a.example","user_agent":"actix-nsq/\"x\"","#,
                r#""topology_region":"eu","topology_zone":"eu-1"}"#
            )
        );
    }

    #[test]
    fn the_response_of_nsqd_1_3_0_is_understood() {
        let json = br#"{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":0,"max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250}"#;
        assert_eq!(
            IdentifyResponse::parse(json).unwrap(),
            IdentifyResponse {
                max_rdy_count: 2500,
                version: "1.3.0".into(),
                max_msg_timeout: 900_000,
                msg_timeout: 60_000,
                max_deflate_level: 6,
                output_buffer_size: 16384,
                output_buffer_timeout: 250,
                ..IdentifyResponse::legacy()
            }
        );
    }

    #[test]
    fn every_field_of_the_response_is_read_from_its_own_key() {
        let json = br#"{"max_rdy_count":1,"version":"2","max_msg_timeout":3,"msg_timeout":4,"tls_v1":true,"snappy":true,"deflate":true,"deflate_level":5,"max_deflate_level":6,"sample_rate":7,"auth_required":true,"output_buffer_size":-1,"output_buffer_timeout":8,"topology_region":"9","topology_zone":"10"}"#;
        assert_eq!(
            IdentifyResponse::parse(json).unwrap(),
            IdentifyResponse {
                max_rdy_count: 1,
                version: "2".into(),
                max_msg_timeout: 3,
                msg_timeout: 4,
                tls_v1: true,
                snappy: true,
                deflate: true,
                deflate_level: 5,
                max_deflate_level: 6,
                sample_rate: 7,
                auth_required: true,
                output_buffer_size: -1,
                output_buffer_timeout: 8,
                topology_region: "9".into(),
                topology_zone: "10".into(),
            }
        );
    }

    #[test]
    fn older_and_newer_servers_are_understood() {
        assert_eq!(
            IdentifyResponse::parse(b"{}").unwrap(),
            IdentifyResponse::legacy()
        );
        assert_eq!(IdentifyResponse::legacy().max_rdy_count, 2500);
        let newer = IdentifyResponse::parse(
            br#"{"topology_zone":"z","tomorrow":{"is":[1,null]},"auth_required":true}"#,
        )
        .unwrap();
        assert_eq!(newer.topology_zone, "z");
        assert!(newer.auth_required);
    }

    #[test]
    fn what_is_no_response_is_an_error() {
        for json in ["", "OK", "{", "7", r#"{"max_rdy_count":"many"}"#] {
            assert!(IdentifyResponse::parse(json.as_bytes()).is_err(), "{json}");
        }
        for json in ["OK", "[]", "7"] {
            assert!(AuthResponse::parse(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn the_auth_response_is_understood() {
        let json = br#"{"identity":"a","identity_url":"http://a","permission_count":2,"new":0}"#;
        assert_eq!(
            AuthResponse::parse(json).unwrap(),
            AuthResponse {
                identity: "a".into(),
                identity_url: "http://a".into(),
                permission_count: 2,
            }
        );
        assert_eq!(AuthResponse::parse(b"{}").unwrap(), AuthResponse::default());
    }
}
