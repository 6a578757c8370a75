//! The JSON of IDENTIFY and AUTH: what client and nsqd negotiate when they connect.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The body of `IDENTIFY`: describes the client and requests features.
///
/// ```text
///  IDENTIFY\n | u32 length | {"client_id":"a","hostname":"b","feature_negotiation":true, ...}
/// ```
///
/// Fields that are `None` are not sent; nsqd then uses its default. nsqd rejects a value out of
/// range with `E_BAD_BODY` and closes the connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Identify {
    /// A short name of the client, shown in nsqd's `/stats`. nsqd's default is the peer address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The host of the client, shown in `/stats`. nsqd's default is the peer address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Program and version, shown in `/stats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// The region of the client; ignored by nsqd up to 1.3.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_region: Option<String>,
    /// The zone of the client; ignored by nsqd up to 1.3.0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub topology_zone: Option<String>,
    /// Requests an [`IdentifyResponse`]. Otherwise nsqd answers `OK` and grants no feature.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feature_negotiation: Option<bool>,
    /// Milliseconds between heartbeats: 1000 to 60000, 0 for nsqd's default (30000), -1 for none
    /// (then `SUB` is rejected).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat_interval: Option<i64>,
    /// Size in bytes of nsqd's buffer for messages: 64 to 65536, 0 for its default (16384), -1 for
    /// no buffer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_buffer_size: Option<i64>,
    /// Maximum time in milliseconds that a message stays in that buffer: 25 to 30000, 0 for nsqd's
    /// default (250), -1 for no limit: a single message then waits for the next heartbeat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_buffer_timeout: Option<i64>,
    /// Requests TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_v1: Option<bool>,
    /// Requests snappy compression. nsqd rejects it together with `deflate`
    /// (`E_IDENTIFY_FAILED`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snappy: Option<bool>,
    /// Requests deflate compression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deflate: Option<bool>,
    /// The deflate level. nsqd reduces it to its maximum (default 6) and replaces values below 1 by
    /// 6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deflate_level: Option<i64>,
    /// Percentage of the channel's messages to deliver: 1 to 99, 0 for all. The other messages are
    /// discarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample_rate: Option<i64>,
    /// Milliseconds after which nsqd requeues a message that was neither finished nor touched: 1000
    /// to nsqd's maximum (default 900000), 0 for its default (60000).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msg_timeout: Option<i64>,
}

impl Identify {
    /// Returns the JSON to send.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // Strings and numbers can always be serialized. nsqd would reject an empty body.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Returns a copy with the names only. Sent as a second IDENTIFY it requests nothing, so that
    /// nsqd answers `OK` and changes nothing.
    ///
    /// All other fields would change an established connection: feature flags upgrade it again, a
    /// buffer size makes nsqd write below TLS and compression, and a heartbeat interval changes
    /// its read deadline. Omitted names would be cleared in `/stats`, so all are included.
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

/// The response to `IDENTIFY`: the negotiated features and limits.
///
/// Fields that an older nsqd does not send have the values of [`IdentifyResponse::legacy`]; unknown
/// fields of a newer one are ignored. nsqd's `max_msg_size` and `max_body_size` are not among them:
/// clients learn them only from an error response (see
/// [`ServerError::named_limit`](super::ServerError::named_limit)).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct IdentifyResponse {
    /// The maximum count of `RDY`; 2500 if nsqd does not send it.
    pub max_rdy_count: u64,
    /// nsqd's version, for example `1.3.0`; empty if nsqd does not send it.
    pub version: String,
    /// The maximum time in milliseconds by which `TOUCH` can extend a message timeout; 0 if nsqd
    /// does not send it.
    pub max_msg_timeout: i64,
    /// The message timeout of this connection in milliseconds; 0 if nsqd does not send it.
    pub msg_timeout: i64,
    /// Whether the connection is upgraded to TLS next. nsqd without a certificate sends `false` and
    /// continues in clear text, even if TLS was requested.
    pub tls_v1: bool,
    /// Whether the connection is upgraded to snappy next (after TLS).
    pub snappy: bool,
    /// Whether the connection is upgraded to deflate next (after TLS).
    pub deflate: bool,
    /// The deflate level of this connection.
    pub deflate_level: i64,
    /// The maximum deflate level of this nsqd.
    pub max_deflate_level: i64,
    /// Percentage of the channel's messages that are delivered; 0 means all.
    pub sample_rate: i64,
    /// Whether `AUTH` must follow, after the upgrades. If not, it must not be sent: nsqd answers
    /// `E_AUTH_DISABLED` and closes the connection.
    pub auth_required: bool,
    /// Size in bytes of nsqd's buffer for messages; 0 if nsqd does not send it.
    pub output_buffer_size: i64,
    /// Maximum time in milliseconds that a message stays in that buffer; 0 if nsqd does not send
    /// it.
    pub output_buffer_timeout: i64,
    /// The region of nsqd; empty if nsqd (up to 1.3.0) does not send it.
    pub topology_region: String,
    /// The zone of nsqd; empty if nsqd (up to 1.3.0) does not send it.
    pub topology_zone: String,
}

impl IdentifyResponse {
    /// Parses the JSON of the response.
    ///
    /// # Errors
    ///
    /// If it is not a JSON object, or if a field has another type.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        parse_object(json)
    }

    /// Returns what a bare `OK` means: this nsqd does not negotiate, or was not requested to. No
    /// feature is granted, and `max_rdy_count` is nsqd's default of 2500.
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

/// The response to `AUTH`: the identity that the auth server returned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AuthResponse {
    /// The name of the identity; may be empty.
    pub identity: String,
    /// A URL that describes the identity; may be empty.
    pub identity_url: String,
    /// Number of permissions of the identity.
    pub permission_count: i64,
}

impl AuthResponse {
    /// Parses the JSON of the response.
    ///
    /// # Errors
    ///
    /// If it is not a JSON object, or if a field has another type.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        parse_object(json)
    }
}

/// Parses in two steps, because serde would also accept an array for a struct.
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
    fn identify_has_the_keys_of_nsqd() {
        assert_eq!(
            String::from_utf8(full().to_json()).unwrap(),
            concat!(
                r#"{"client_id":"a","hostname":"a.example","user_agent":"actix-nsq/\"x\"","#,
                r#""topology_region":"eu","topology_zone":"eu-1","feature_negotiation":true,"#,
                r#""heartbeat_interval":-1,"output_buffer_size":16384,"#,
                r#""output_buffer_timeout":250,"tls_v1":true,"snappy":false,"deflate":true,"#,
                r#""deflate_level":6,"sample_rate":99,"msg_timeout":60000}"#
            )
        );
    }

    #[test]
    fn unset_fields_are_not_sent() {
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
    fn names_only_requests_nothing() {
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
    fn response_of_nsqd_1_3_0_is_parsed() {
        let json = concat!(
            r#"{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"#,
            r#""msg_timeout":60000,"tls_v1":false,"deflate":false,"deflate_level":0,"#,
            r#""max_deflate_level":6,"snappy":false,"sample_rate":0,"auth_required":false,"#,
            r#""output_buffer_size":16384,"output_buffer_timeout":250}"#,
        );
        assert_eq!(
            IdentifyResponse::parse(json.as_bytes()).unwrap(),
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
    fn every_field_of_the_response_is_parsed_and_serialized() {
        let json = concat!(
            r#"{"max_rdy_count":1,"version":"2","max_msg_timeout":3,"msg_timeout":4,"#,
            r#""tls_v1":true,"snappy":true,"deflate":true,"deflate_level":5,"#,
            r#""max_deflate_level":6,"sample_rate":7,"auth_required":true,"#,
            r#""output_buffer_size":-1,"output_buffer_timeout":8,"topology_region":"9","#,
            r#""topology_zone":"10"}"#,
        );
        let response = IdentifyResponse::parse(json.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&response).unwrap(), json);
        assert_eq!(
            response,
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
    fn responses_of_older_and_newer_servers_are_parsed() {
        assert_eq!(
            IdentifyResponse::parse(b"{}").unwrap(),
            IdentifyResponse::legacy()
        );
        assert_eq!(IdentifyResponse::legacy().max_rdy_count, 2500);
        let newer = IdentifyResponse::parse(
            br#"{"topology_zone":"z","unknown":{"is":[1,null]},"auth_required":true}"#,
        )
        .unwrap();
        assert_eq!(newer.topology_zone, "z");
        assert!(newer.auth_required);
    }

    #[test]
    fn invalid_responses_are_rejected() {
        for json in ["", "OK", "{", "7", r#"{"max_rdy_count":"many"}"#] {
            assert!(IdentifyResponse::parse(json.as_bytes()).is_err(), "{json}");
        }
        for json in ["OK", "[]", "7"] {
            assert!(AuthResponse::parse(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn auth_response_is_parsed() {
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
