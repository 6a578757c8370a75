//! How a broker is set up: its limits, and what it asks of its clients.

use std::path::Path;
use std::time::Duration;

use actix_nsq::TlsVersion;
use actix_nsq::embedded::{
    AuthRequest, AuthServerDown, EmbeddedNsqd, EmbeddedNsqdBuilder, Grant, TlsClientAuthPolicy,
};

use super::auth_server::{Asked, Authority};
use super::certificates::{Certificates, Flaw, Identity};

/// The limits of a broker, by default nsqd's own; and what it has besides, by default nothing.
#[derive(Clone, Debug)]
pub struct Settings {
    pub max_msg_size: usize,
    pub max_body_size: usize,
    pub max_req_timeout: Duration,
    /// A real nsqd keeps its queue in memory, as it does by default, and not on the disk (see
    /// [`DURABLE`](super::real_nsqd::DURABLE)): needed for deferred messages and ephemeral topics, which have no place there.
    pub in_memory: bool,
    /// A real nsqd has a disk of its own, of so many bytes, that can be filled; its scenario needs [`small_disk`](super::small_disk).
    pub disk: Option<u64>,
    /// It speaks TLS to who asks for it.
    pub tls: Option<Tls>,
    /// It compresses for who asks for it.
    pub snappy: bool,
    pub deflate: bool,
    /// Everybody needs a secret: see [`Broker::auth`](super::broker::Broker::auth).
    pub auth: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_msg_size: 1024 * 1024,
            max_body_size: 5 * 1024 * 1024,
            max_req_timeout: Duration::from_secs(3600),
            in_memory: false,
            disk: None,
            tls: None,
            snappy: true,
            deflate: true,
            auth: false,
        }
    }
}

/// How a broker speaks TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// What is wrong with its certificate.
    pub flaw: Flaw,
    /// Nothing goes without TLS.
    pub required: bool,
    pub clients: ClientPolicy,
    /// TLS 1.2 is not enough.
    pub only_tls13: bool,
}

/// What a broker asks of the certificates of its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientPolicy {
    /// None is needed; one that is there is verified.
    #[default]
    VerifyIfGiven,
    /// `require`: any will do.
    Require,
    /// `require-verify`: one of the authority's.
    RequireVerify,
}

impl Settings {
    /// The flags of a real nsqd. Its HTTP port stays open to the tests.
    pub fn flags(
        &self,
        server: Option<(&Identity, &Certificates)>,
        authd: Option<String>,
    ) -> Vec<String> {
        let mut flags = vec![
            format!("--max-msg-size={}", self.max_msg_size),
            format!("--max-body-size={}", self.max_body_size),
            format!("--max-req-timeout={}ms", self.max_req_timeout.as_millis()),
            format!("--snappy={}", self.snappy),
            format!("--deflate={}", self.deflate),
        ];
        if let (Some(tls), Some((identity, certificates))) = (self.tls, server) {
            flags.extend(tls.flags(identity, certificates));
        }
        flags.extend(authd.map(|address| format!("--auth-http-address={address}")));
        flags
    }
}

impl Settings {
    /// The same for an embedded one.
    pub fn builder(
        &self,
        server: Option<(&Identity, &Certificates)>,
        authority: Option<Authority>,
    ) -> EmbeddedNsqdBuilder {
        let builder = EmbeddedNsqd::builder()
            .max_msg_size(self.max_msg_size)
            .max_body_size(self.max_body_size)
            .max_req_timeout(self.max_req_timeout)
            .snappy(self.snappy)
            .deflate(self.deflate);
        let builder = match (self.tls, server) {
            (Some(tls), Some((identity, certificates))) => tls.set(builder, identity, certificates),
            _ => builder,
        };
        match authority {
            Some(authority) => builder.auth(move |request| ask(&authority, request)),
            None => builder,
        }
    }
}

fn ask(authority: &Authority, request: &AuthRequest) -> Result<Grant, AuthServerDown> {
    let granted = authority.ask(Asked {
        method: "none".to_owned(),
        secret: String::from_utf8_lossy(request.secret()).into_owned(),
        tls: request.tls,
        common_name: request.common_name.clone(),
    });
    let Some(granted) = granted.map_err(|_| AuthServerDown)? else {
        return Ok(Grant::nothing());
    };
    let nothing_yet = Grant::new(granted.identity).ttl(granted.ttl);
    let topics = granted.topics.into_iter();
    Ok(topics.fold(nothing_yet, Grant::publish))
}

impl Tls {
    fn set(
        self,
        builder: EmbeddedNsqdBuilder,
        server: &Identity,
        certificates: &Certificates,
    ) -> EmbeddedNsqdBuilder {
        let builder = builder
            .tls_cert(&server.cert)
            .tls_key(&server.key)
            .tls_root_ca_file(certificates.authority())
            .tls_required(self.required);
        let builder = match self.clients {
            ClientPolicy::VerifyIfGiven => builder,
            ClientPolicy::Require => builder.tls_client_auth_policy(TlsClientAuthPolicy::Require),
            ClientPolicy::RequireVerify => {
                builder.tls_client_auth_policy(TlsClientAuthPolicy::RequireVerify)
            }
        };
        match self.only_tls13 {
            true => builder.tls_min_version(TlsVersion::Tls13),
            false => builder,
        }
    }

    /// Nothing goes without it.
    pub fn required() -> Self {
        Self {
            required: true,
            ..Self::default()
        }
    }

    fn flags(self, server: &Identity, certificates: &Certificates) -> Vec<String> {
        let file = |flag: &str, file: &Path| format!("--{flag}={}", file.display());
        let mut flags = vec![
            file("tls-cert", &server.cert),
            file("tls-key", &server.key),
            file("tls-root-ca-file", &certificates.authority()),
            // nsqd opens an HTTPS port as well, by default always the same.
            "--https-address=127.0.0.1:0".to_owned(),
        ];
        let policy = match self.clients {
            ClientPolicy::VerifyIfGiven => None,
            ClientPolicy::Require => Some("require"),
            ClientPolicy::RequireVerify => Some("require-verify"),
        };
        flags.extend(policy.map(|policy| format!("--tls-client-auth-policy={policy}")));
        // A policy alone would mean `true`, and with that the HTTP port is shut, too.
        if self.required || policy.is_some() {
            flags.push("--tls-required=tcp-https".to_owned());
        }
        if self.only_tls13 {
            flags.push("--tls-min-version=tls1.3".to_owned());
        }
        flags
    }
}
