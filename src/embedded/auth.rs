//! AUTH: what the user's decision is asked, what it grants, and for how long.

use std::{
    fmt,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use super::text::go_quote;

/// What a client shows when it asks to be let in: what nsqd tells its auth server.
#[derive(Clone)]
#[non_exhaustive]
pub struct AuthRequest {
    secret: Vec<u8>,
    /// The client's address.
    pub peer: SocketAddr,
    /// Whether the connection is inside TLS.
    pub tls: bool,
    /// The common name in the client's certificate; empty where it sent none.
    pub common_name: String,
}

impl AuthRequest {
    /// The secret, as AUTH brought it.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }
}

/// Without the secret.
impl fmt::Debug for AuthRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            peer,
            tls,
            common_name,
            ..
        } = self;
        f.debug_struct("AuthRequest")
            .field("peer", peer)
            .field("tls", tls)
            .field("common_name", common_name)
            .finish_non_exhaustive()
    }
}

/// What a client may do: the answer of an auth server.
///
/// A `*` in a name stands for any text, also none: `"*"` is every topic or channel, `"orders*"` those that begin so. (An auth
/// server of nsqd's tells regular expressions.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    identity: String,
    identity_url: String,
    ttl: Duration,
    permissions: Vec<Permission>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Permission {
    Everything,
    Publish(String),
    Subscribe(String, String),
}

/// The auth server cannot be reached, or its answer makes no sense: to the client an `E_AUTH_FAILED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthServerDown;

impl Grant {
    /// A grant for the one with this name, with nothing in it yet.
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            identity_url: String::new(),
            ttl: Duration::from_secs(3600),
            permissions: Vec::new(),
        }
    }

    /// Nothing at all, which is how an auth server refuses: to the client an `E_UNAUTHORIZED`.
    pub fn nothing() -> Self {
        Self::new("")
    }

    /// Every topic and channel, to publish and to subscribe.
    pub fn everything(identity: impl Into<String>) -> Self {
        Self::new(identity).with(Permission::Everything)
    }

    /// To publish to this topic, too.
    #[must_use]
    pub fn publish(self, topic: impl Into<String>) -> Self {
        self.with(Permission::Publish(topic.into()))
    }

    /// To subscribe to this channel of this topic, too.
    #[must_use]
    pub fn subscribe(self, topic: impl Into<String>, channel: impl Into<String>) -> Self {
        self.with(Permission::Subscribe(topic.into(), channel.into()))
    }

    /// Where more is told about the one with this name. Default: nowhere.
    #[must_use]
    pub fn identity_url(mut self, url: impl Into<String>) -> Self {
        self.identity_url = url.into();
        self
    }

    /// How long it holds: the first command after that asks again. Default: one hour. As in nsqd, none at all makes no sense:
    /// `E_AUTH_FAILED`.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    fn with(mut self, permission: Permission) -> Self {
        self.permissions.push(permission);
        self
    }

    fn allows(&self, topic: &str, channel: Option<&str>) -> bool {
        let allows = |permission: &Permission| match (permission, channel) {
            (Permission::Everything, _) => true,
            (Permission::Publish(topics), None) => matches(topics, topic),
            (Permission::Subscribe(topics, channels), Some(channel)) => {
                matches(topics, topic) && matches(channels, channel)
            }
            _ => false,
        };
        self.permissions.iter().any(allows)
    }
}

/// `*` in the pattern stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, behind)) => name.strip_prefix(before).is_some_and(|rest| {
            let mut tails = rest.char_indices().map(|(at, _)| rest.split_at(at).1);
            matches(behind, "") || tails.any(|tail| matches(behind, tail))
        }),
    }
}

/// The user's decision.
#[derive(Clone)]
pub(super) struct Authorizer(Arc<Decide>);

type Decide = dyn Fn(&AuthRequest) -> Result<Grant, AuthServerDown> + Send + Sync;

impl Authorizer {
    pub(super) fn new(
        decide: impl Fn(&AuthRequest) -> Result<Grant, AuthServerDown> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(decide))
    }

    fn ask(&self, request: &AuthRequest) -> Result<Held, AuthServerDown> {
        // It has told of its panic by itself; here it is an auth server that gives no answer.
        let decided = catch_unwind(AssertUnwindSafe(|| (self.0)(request)));
        let grant = decided.unwrap_or(Err(AuthServerDown))?;
        if grant.ttl.is_zero() {
            return Err(AuthServerDown);
        }
        let until = Instant::now().checked_add(grant.ttl);
        Ok(Held { grant, until })
    }
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorizer")
    }
}

/// A grant, and its end, if it has one.
#[derive(Debug)]
struct Held {
    grant: Grant,
    until: Option<Instant>,
}

/// What a connection is allowed.
#[derive(Debug, Default)]
pub(super) struct Authorization(Option<(AuthRequest, Held)>);

impl Authorization {
    /// AUTH. The answer, or nsqd's words.
    pub(super) fn grant(
        &mut self,
        authorizer: Option<&Authorizer>,
        secret: &[u8],
        (peer, tls, common_name): (SocketAddr, bool, String),
    ) -> Result<Vec<u8>, String> {
        if self.is_granted() {
            return Err("E_INVALID AUTH already set".into());
        }
        let Some(authorizer) = authorizer else {
            return Err("E_AUTH_DISABLED AUTH disabled".into());
        };
        let request = AuthRequest {
            secret: secret.to_vec(),
            peer,
            tls,
            common_name,
        };
        let Ok(held) = authorizer.ask(&request) else {
            return Err("E_AUTH_FAILED AUTH failed".into());
        };
        let (_, Held { grant, .. }) = self.0.insert((request, held));
        if grant.permissions.is_empty() {
            return Err("E_UNAUTHORIZED AUTH no authorizations found".into());
        }
        let (identity, url) = (go_json(&grant.identity), go_json(&grant.identity_url));
        let count = grant.permissions.len();
        Ok(format!(
            "{{\"identity\":{identity},\"identity_url\":{url},\"permission_count\":{count}}}"
        )
        .into_bytes())
    }

    /// Whether the command may go on, or nsqd's words. A grant that has run out is asked for anew.
    pub(super) fn check(
        &mut self,
        authorizer: Option<&Authorizer>,
        command: &str,
        topic: &str,
        channel: Option<&str>,
    ) -> Result<(), String> {
        let Some(authorizer) = authorizer else {
            return Ok(());
        };
        let granted = self
            .0
            .as_mut()
            .filter(|(_, held)| !held.grant.permissions.is_empty());
        let Some((request, held)) = granted else {
            return Err(format!("E_AUTH_FIRST AUTH required before {command}"));
        };
        if held.until.is_some_and(|until| until < Instant::now()) {
            let asked = authorizer.ask(request);
            *held = asked.map_err(|AuthServerDown| "E_AUTH_FAILED AUTH failed")?;
        }
        if held.grant.allows(topic, channel) {
            return Ok(());
        }
        let (topic, channel) = (go_quote(topic.as_bytes()), channel.unwrap_or_default());
        let channel = go_quote(channel.as_bytes());
        Err(format!(
            "E_UNAUTHORIZED AUTH failed for {command} on {topic} {channel}"
        ))
    }

    pub(super) fn is_granted(&self) -> bool {
        let held = self.0.as_ref().map(|(_, held)| held);
        held.is_some_and(|held| !held.grant.permissions.is_empty())
    }

    /// Whom the auth server has named.
    pub(super) fn identity(&self) -> Option<&str> {
        self.0
            .as_ref()
            .map(|(_, held)| held.grant.identity.as_str())
    }
}

/// A text as Go writes it into JSON, ready for HTML.
fn go_json(text: &str) -> String {
    let mut json = serde_json::Value::from(text).to_string();
    for (c, escaped) in [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ] {
        json = json.replace(c, escaped);
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_nothing_else_does() {
        for (pattern, name) in [
            ("t", "t"),
            ("*", "t"),
            ("*", ""),
            ("orders*", "orders"),
            ("orders*", "orders.eu#ephemeral"),
            ("*#ephemeral", "t#ephemeral"),
            ("a*b*c", "a-bb-c"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("t", "tt"),
            ("t", ""),
            ("", "t"),
            (".", "t"),
            ("orders*", "order"),
            ("a*b", "a"),
            ("a*b*c", "a-c"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn texts_are_written_into_json_as_go_does() {
        assert_eq!(
            go_json("a\"<b>&\u{2028}é\n"),
            r#""a\"\u003cb\u003e\u0026\u2028é\n""#
        );
    }
}
