//! The address of an nsqlookupd: `host:port`, or a URL. Pure.

use std::{fmt, sync::Arc};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    conn::{Endpoint, canonical_address},
    protocol::Topic,
};

/// The last segment of the path of a query for a topic, and the whole path if there is none.
const LOOKUP: &str = "lookup";

/// Maximum length in bytes. nsqlookupd and proxies accept more; a log line would not be readable.
const MAX_LENGTH: usize = 2_048;

/// What a topic contains of characters that need no encoding in a query.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// The address of an nsqlookupd, validated.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LookupdAddress {
    is_https: bool,
    /// Host and port.
    authority: Arc<str>,
    /// Begins with a slash, or is empty.
    path: String,
    /// What follows the question mark; it may contain a secret.
    query: String,
    /// What logs and events show: without the query.
    shown: Arc<str>,
}

impl LookupdAddress {
    /// Parses `host:port` or `http(s)://host:port[/path][?query]`.
    ///
    /// # Errors
    ///
    /// Describes the problem.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if text.len() > MAX_LENGTH {
            return Err("longer than 2048 bytes");
        }
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let is_https = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => false,
            _ if scheme.eq_ignore_ascii_case("https") => true,
            _ => return Err("the scheme must be http or https"),
        };
        if rest.contains('#') {
            return Err("a fragment is not supported; write %23 for a # in the path or query");
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        if authority.contains('@') {
            return Err(
                "user and password are not supported; use lookupd_authorization, or a \
                        token in the query",
            );
        }
        let is_valid = |text: &str| {
            let is_valid = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
            text.bytes().all(is_valid)
        };
        if !is_valid(path) || !is_valid(query) {
            return Err("invalid character in the path or query; encode it, such as %20");
        }
        let authority: Arc<str> = match Endpoint::parse(authority) {
            Ok(endpoint) => canonical_address(&endpoint).into(),
            Err("no port") => return Err("no port; that of nsqlookupd is usually 4161"),
            Err(problem) => return Err(problem),
        };
        let path = if path == "/" { "" } else { path };
        Ok(Self {
            shown: match (is_https, path, query) {
                (false, "", "") => Arc::clone(&authority),
                _ => {
                    let query = if query.is_empty() { "" } else { "?***" };
                    format!("{scheme}://{authority}{path}{query}").into()
                }
            },
            is_https,
            authority,
            path: path.into(),
            query: query.into(),
        })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.is_https
    }

    /// Returns `host:port`.
    pub(crate) fn authority(&self) -> &Arc<str> {
        &self.authority
    }

    /// Returns what logs and events show.
    pub(crate) fn shown(&self) -> &Arc<str> {
        &self.shown
    }

    /// Returns path and query of the request for the nsqds of a topic. The path is kept, as go-nsq
    /// does; without one it is `/lookup`.
    pub(crate) fn topic_request(&self, topic: &Topic) -> String {
        let path = match self.path.as_str() {
            "" => "/lookup",
            path => path,
        };
        let and = if self.query.is_empty() { "" } else { "&" };
        let topic = utf8_percent_encode(topic.as_str(), IN_QUERY);
        format!("{path}?{}{and}topic={topic}", self.query)
    }

    /// Returns path and query of another request, such as `nodes`. It takes the place of a last
    /// segment `lookup`, and follows any other path.
    pub(crate) fn request(&self, name: &str) -> String {
        let path = self.path.strip_suffix('/').unwrap_or(&self.path);
        let base = match path.rsplit_once('/') {
            Some((base, LOOKUP)) => base,
            _ => path,
        };
        let mark = if self.query.is_empty() { "" } else { "?" };
        format!("{base}/{name}{mark}{}", self.query)
    }

    /// Returns path and query of a request with parameters, as [`request`](Self::request).
    pub(crate) fn request_with(&self, name: &str, parameters: &[(&str, &str)]) -> String {
        let mut target = self.request(name);
        let mut mark = if self.query.is_empty() { '?' } else { '&' };
        for (name, value) in parameters {
            let value = utf8_percent_encode(value, IN_QUERY);
            target.push_str(&format!("{mark}{name}={value}"));
            mark = '&';
        }
        target
    }
}

impl fmt::Debug for LookupdAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.shown, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> LookupdAddress {
        LookupdAddress::parse(text).unwrap()
    }

    /// checklist: 85
    #[test]
    fn address_forms_give_authority_path_and_query() {
        let topic = Topic::from_static("orders");
        for (address, authority, request) in [
            ("lookupd:4161", "lookupd:4161", "/lookup?topic=orders"),
            ("LookupD:4161/", "lookupd:4161", "/lookup?topic=orders"),
            ("[::1]:4161", "[::1]:4161", "/lookup?topic=orders"),
            ("http://10.0.0.1:80", "10.0.0.1:80", "/lookup?topic=orders"),
            (
                "https://h:443/nsq/lookup?tenant=7",
                "h:443",
                "/nsq/lookup?tenant=7&topic=orders",
            ),
            ("HTTPS://h:443/proxy", "h:443", "/proxy?topic=orders"),
            ("h:1?token=a%20b", "h:1", "/lookup?token=a%20b&topic=orders"),
        ] {
            let parsed = parsed(address);
            assert_eq!(&**parsed.authority(), authority, "{address}");
            assert_eq!(parsed.topic_request(&topic), request, "{address}");
            let is_https = address.to_ascii_lowercase().starts_with("https:");
            assert_eq!(parsed.is_https(), is_https, "{address}");
        }
    }

    /// checklist: 85
    #[test]
    fn other_requests_replace_or_follow_the_path() {
        for (address, request) in [
            ("h:4161", "/nodes"),
            ("h:4161/lookup", "/nodes"),
            ("h:4161/lookup/", "/nodes"),
            ("h:4161/nsq/lookup?t=1", "/nsq/nodes?t=1"),
            ("h:4161/proxy/", "/proxy/nodes"),
        ] {
            assert_eq!(parsed(address).request("nodes"), request, "{address}");
        }
    }

    /// checklist: 86
    #[test]
    fn ephemeral_topic_is_percent_encoded() {
        let request = parsed("h:4161").topic_request(&Topic::from_static("a.b-c_d#ephemeral"));
        assert_eq!(request, "/lookup?topic=a.b-c_d%23ephemeral");
    }

    /// checklist: 85
    #[test]
    fn invalid_address_error_states_the_reason() {
        for (address, reason) in [
            ("lookupd", "no port"),
            ("https://lookupd/lookup", "no port"),
            ("lookupd:0", "port 0"),
            ("lookupd:70000", "invalid port"),
            (":4161", "no host"),
            ("", "no port"),
            ("::1:4161/lookup", "invalid host name"),
            ("unix:/run/lookupd.sock", "invalid port"),
            ("ftp://lookupd:4161", "http or https"),
            ("http://me:hunter2@lookupd:4161", "user and password"),
            ("lookupd:4161/a b", "invalid character"),
            ("lookupd:4161?a=\n", "invalid character"),
            ("lookupd:4161/lookup#x", "fragment"),
        ] {
            let problem = LookupdAddress::parse(address).unwrap_err();
            assert!(problem.contains(reason), "{address}: {problem}");
        }
        let long = format!("h:1/{}", "x".repeat(MAX_LENGTH));
        assert_eq!(LookupdAddress::parse(&long), Err("longer than 2048 bytes"));
    }

    #[test]
    fn debug_does_not_show_the_query() {
        let address = parsed("https://h:443/nsq?token=hunter2");
        assert_eq!(format!("{address:?}"), "\"https://h:443/nsq?***\"");
        assert_eq!(&**parsed("http://h:4161").shown(), "h:4161");
    }
}
