//! AUTH: the request to the user's function, the grant it returns, and what a grant allows.

use std::{
    fmt,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use super::text::{go_json, go_quote};

const AUTH_FAILED: &str = "E_AUTH_FAILED AUTH failed";

/// What a client presents with AUTH: the parameters of nsqd's request to its auth server.
///
/// `Debug` does not show the secret.
#[derive(Clone)]
#[non_exhaustive]
pub struct AuthRequest {
    secret: Vec<u8>,
    /// The client's address.
    pub peer: SocketAddr,
    /// Whether the connection uses TLS.
    pub tls: bool,
    /// The common name in the client's certificate; empty without a certificate.
    pub common_name: String,
}

impl AuthRequest {
    pub(super) fn new(secret: &[u8], peer: SocketAddr, tls: bool, common_name: String) -> Self {
        Self {
            secret: secret.to_vec(),
            peer,
            tls,
            common_name,
        }
    }

    /// The secret in the body of AUTH.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }
}

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

/// What a client may do: the response of an auth server.
///
/// `*` in a topic or channel matches any text, including none: `"*"` is every topic, `"orders*"`
/// every topic that starts with `orders`. (nsqd's auth servers use regular expressions.)
///
/// ```
/// use std::time::Duration;
///
/// use actix_nsq::embedded::Grant;
///
/// let grant = Grant::new("billing")
///     .publish("invoices*")
///     .subscribe("orders", "billing")
///     .ttl(Duration::from_secs(60));
/// ```
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

/// The auth server is unreachable or its response is invalid. The client receives
/// `E_AUTH_FAILED`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthServerDown;

impl Grant {
    /// Creates a grant without permissions for a client with this name.
    pub fn new(identity: impl Into<String>) -> Self {
        Self {
            identity: identity.into(),
            identity_url: String::new(),
            ttl: Duration::from_secs(3600),
            permissions: Vec::new(),
        }
    }

    /// Creates a grant without any permission, with which an auth server rejects a client. The
    /// client receives `E_UNAUTHORIZED`.
    pub fn nothing() -> Self {
        Self::new("")
    }

    /// Creates a grant to publish and subscribe to every topic and channel.
    pub fn everything(identity: impl Into<String>) -> Self {
        Self::new(identity).with(Permission::Everything)
    }

    /// Adds the permission to publish to this topic.
    #[must_use]
    pub fn publish(self, topic: impl Into<String>) -> Self {
        self.with(Permission::Publish(topic.into()))
    }

    /// Adds the permission to subscribe to this channel of this topic.
    #[must_use]
    pub fn subscribe(self, topic: impl Into<String>, channel: impl Into<String>) -> Self {
        self.with(Permission::Subscribe(topic.into(), channel.into()))
    }

    /// URL with more information about the client. Default: empty.
    #[must_use]
    pub fn identity_url(mut self, url: impl Into<String>) -> Self {
        self.identity_url = url.into();
        self
    }

    /// Lifetime of the grant: the first command after it asks the auth function again. Default: one
    /// hour. As in nsqd, zero is invalid: the client receives `E_AUTH_FAILED`.
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

/// Whether the name matches the pattern, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, behind)) => name.strip_prefix(before).is_some_and(|rest| {
            let mut tails = rest.char_indices().map(|(at, _)| rest.split_at(at).1);
            matches(behind, "") || tails.any(|tail| matches(behind, tail))
        }),
    }
}

/// The user's auth function.
#[derive(Clone)]
pub(super) struct Authorizer(Arc<Decide>);

type Decide = dyn Fn(&AuthRequest) -> Result<Grant, AuthServerDown> + Send + Sync;

impl Authorizer {
    pub(super) fn new(
        decide: impl Fn(&AuthRequest) -> Result<Grant, AuthServerDown> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(decide))
    }

    fn ask(&self, request: &AuthRequest) -> Result<ActiveGrant, AuthServerDown> {
        // The panic hook has reported a panic; to the client the auth server is down.
        let result = catch_unwind(AssertUnwindSafe(|| (self.0)(request)));
        let grant = result.unwrap_or(Err(AuthServerDown))?;
        if grant.ttl.is_zero() {
            return Err(AuthServerDown);
        }
        let expires = Instant::now().checked_add(grant.ttl);
        Ok(ActiveGrant { grant, expires })
    }
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorizer")
    }
}

#[derive(Debug)]
struct ActiveGrant {
    grant: Grant,
    /// `None`: later than the clock can represent.
    expires: Option<Instant>,
}

/// The authorization of one connection: its last AUTH and the grant.
#[derive(Debug, Default)]
pub(super) struct Authorization(Option<(AuthRequest, ActiveGrant)>);

impl Authorization {
    /// Executes AUTH. Returns the response, or nsqd's error.
    pub(super) fn authenticate(
        &mut self,
        authorizer: Option<&Authorizer>,
        request: AuthRequest,
    ) -> Result<Vec<u8>, String> {
        if self.is_granted() {
            return Err("E_INVALID AUTH already set".into());
        }
        let Some(authorizer) = authorizer else {
            return Err("E_AUTH_DISABLED AUTH disabled".into());
        };
        let Ok(active) = authorizer.ask(&request) else {
            return Err(AUTH_FAILED.into());
        };
        let (_, ActiveGrant { grant, .. }) = self.0.insert((request, active));
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

    /// Checks whether a command is allowed, or returns nsqd's error. Renews an expired grant.
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
            .filter(|(_, active)| !active.grant.permissions.is_empty());
        let Some((request, active)) = granted else {
            return Err(format!("E_AUTH_FIRST AUTH required before {command}"));
        };
        if active
            .expires
            .is_some_and(|expires| expires < Instant::now())
        {
            *active = authorizer
                .ask(request)
                .map_err(|AuthServerDown| AUTH_FAILED)?;
        }
        if active.grant.allows(topic, channel) {
            return Ok(());
        }
        let (topic, channel) = (go_quote(topic.as_bytes()), channel.unwrap_or_default());
        let channel = go_quote(channel.as_bytes());
        Err(format!(
            "E_UNAUTHORIZED AUTH failed for {command} on {topic} {channel}"
        ))
    }

    /// The identity of the client, if it was granted anything.
    pub(super) fn identity(&self) -> Option<&str> {
        self.0
            .as_ref()
            .map(|(_, active)| &active.grant)
            .filter(|grant| !grant.permissions.is_empty())
            .map(|grant| grant.identity.as_str())
    }

    fn is_granted(&self) -> bool {
        self.identity().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn star_matches_any_text_and_other_characters_themselves() {
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
}
