//! How a broker is started: its limits, TLS and AUTH.

use std::path::Path;
use std::time::Duration;

use actix_nsq::TlsVersion;
use actix_nsq::embedded::{
    AuthRequest, AuthServerDown, EmbeddedNsqd, EmbeddedNsqdBuilder, Grant, TlsClientAuthPolicy,
};

use super::auth_server::{Asked, Authority};
use super::certificates::{Certificates, Flaw, Identity};

/// Settings of a broker. The defaults are nsqd's own.
#[derive(Clone, Debug)]
pub struct Settings {
    pub max_msg_size: usize,
    pub max_body_size: usize,
    pub max_req_timeout: Duration,
    /// A real nsqd keeps messages in memory instead of writing each to disk (see
    /// [`DURABLE`](super::real_nsqd::DURABLE)). Required for deferred messages and ephemeral
    /// topics.
    pub in_memory: bool,
    /// A real nsqd writes to its own disk of this size: see [`small_disk`](super::small_disk).
    pub disk: Option<u64>,
    /// Offers TLS.
    pub tls: Option<Tls>,
    pub snappy: bool,
    pub deflate: bool,
    /// The embedded nsqd is as late as a real one: see
    /// [`realistic_timing`](EmbeddedNsqdBuilder::realistic_timing).
    pub realistic_timing: bool,
    /// Requires AUTH: see [`Broker::auth`](super::broker::Broker::auth).
    pub auth: bool,
    /// TCP addresses of nsqlookupds to register with, as `127.0.0.1`.
    pub lookupds: Vec<String>,
    /// Interval of the PINGs to nsqlookupds. That of a real nsqd is always 15 s.
    pub lookupd_ping_interval: Duration,
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
            realistic_timing: false,
            auth: false,
            lookupds: Vec::new(),
            lookupd_ping_interval: Duration::from_secs(15),
        }
    }
}

/// How a broker offers TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Flaw of its certificate.
    pub flaw: Flaw,
    /// Rejects commands without TLS.
    pub required: bool,
    pub clients: ClientPolicy,
    /// Rejects TLS 1.2.
    pub only_tls13: bool,
}

/// Whether clients need certificates: nsqd's flag `--tls-client-auth-policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientPolicy {
    #[default]
    VerifyIfGiven,
    /// `require`: any certificate is accepted.
    Require,
    /// `require-verify`
    RequireVerify,
}

impl Settings {
    pub fn in_memory() -> Self {
        Self {
            in_memory: true,
            ..Self::default()
        }
    }

    pub fn tls(tls: Tls) -> Self {
        Self {
            tls: Some(tls),
            ..Self::default()
        }
    }

    pub fn and_auth(self) -> Self {
        Self { auth: true, ..self }
    }

    /// The flags of a real nsqd. Its HTTP port needs neither TLS nor AUTH.
    pub fn flags(
        &self,
        server: Option<(&Identity, &Certificates)>,
        auth_server: Option<String>,
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
        flags.extend(auth_server.map(|address| format!("--auth-http-address={address}")));
        let lookupds = self.lookupds.iter();
        flags.extend(lookupds.map(|address| format!("--lookupd-tcp-address={address}")));
        if !self.lookupds.is_empty() {
            flags.push("--broadcast-address=127.0.0.1".to_owned());
        }
        flags
    }

    pub fn builder(
        &self,
        server: Option<(&Identity, &Certificates)>,
        authority: Option<Authority>,
    ) -> EmbeddedNsqdBuilder {
        let mut builder = EmbeddedNsqd::builder()
            .max_msg_size(self.max_msg_size)
            .max_body_size(self.max_body_size)
            .max_req_timeout(self.max_req_timeout)
            .snappy(self.snappy)
            .deflate(self.deflate)
            .realistic_timing(self.realistic_timing)
            .lookupd_ping_interval(self.lookupd_ping_interval);
        for address in &self.lookupds {
            builder = builder.lookupd(address);
        }
        if let (Some(tls), Some((identity, certificates))) = (self.tls, server) {
            builder = tls.configure(builder, identity, certificates);
        }
        match authority {
            Some(authority) => builder.auth(move |request| ask(&authority, request)),
            None => builder,
        }
    }
}

fn ask(authority: &Authority, request: &AuthRequest) -> Result<Grant, AuthServerDown> {
    let asked = Asked {
        secret: String::from_utf8_lossy(request.secret()).into_owned(),
        tls: request.tls,
    };
    let Some(granted) = authority.ask(asked).map_err(|_| AuthServerDown)? else {
        return Ok(Grant::nothing());
    };
    let grant = Grant::new(granted.identity).ttl(granted.ttl);
    let allow = |grant: Grant, topic: String| {
        if granted.subscribes {
            grant.publish(topic.as_str()).subscribe(topic, "*")
        } else {
            grant.publish(topic)
        }
    };
    Ok(granted.topics.into_iter().fold(grant, allow))
}

impl Tls {
    pub fn required() -> Self {
        Self {
            required: true,
            ..Self::default()
        }
    }

    pub fn flaw(flaw: Flaw) -> Self {
        Self {
            flaw,
            ..Self::default()
        }
    }

    pub fn clients(clients: ClientPolicy) -> Self {
        Self {
            clients,
            ..Self::default()
        }
    }

    fn configure(
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
        if self.only_tls13 {
            builder.tls_min_version(TlsVersion::Tls13)
        } else {
            builder
        }
    }

    fn flags(self, server: &Identity, certificates: &Certificates) -> Vec<String> {
        let file = |flag: &str, file: &Path| format!("--{flag}={}", file.display());
        let mut flags = vec![
            file("tls-cert", &server.cert),
            file("tls-key", &server.key),
            file("tls-root-ca-file", &certificates.authority()),
            // With a certificate, nsqd also opens an HTTPS port, by default always the same.
            "--https-address=127.0.0.1:0".to_owned(),
        ];
        let policy = match self.clients {
            ClientPolicy::VerifyIfGiven => None,
            ClientPolicy::Require => Some("require"),
            ClientPolicy::RequireVerify => Some("require-verify"),
        };
        flags.extend(policy.map(|policy| format!("--tls-client-auth-policy={policy}")));
        // A policy implies `--tls-required=true`, which would close the HTTP port.
        if self.required || policy.is_some() {
            flags.push("--tls-required=tcp-https".to_owned());
        }
        if self.only_tls13 {
            flags.push("--tls-min-version=tls1.3".to_owned());
        }
        flags
    }
}
