//! nsqd's flags of TLS and of compression, each there with its feature.

#[cfg(feature = "tls")]
use std::path::PathBuf;

use super::EmbeddedNsqdBuilder;
#[cfg(feature = "tls")]
use crate::TlsVersion;
#[cfg(feature = "tls")]
use crate::embedded::TlsClientAuthPolicy;

/// TLS, with the feature `tls`: who asks for it in IDENTIFY gets it, as soon as there is a certificate. The files are PEM, and
/// are read by [`start`](Self::start).
///
/// ```no_run
/// # fn main() -> std::io::Result<()> {
/// use actix_nsq::embedded::{EmbeddedNsqd, TlsClientAuthPolicy};
///
/// let nsqd = EmbeddedNsqd::builder()
///     .tls_cert("tests/certificates/localhost.pem")
///     .tls_key("tests/certificates/localhost.key")
///     .tls_root_ca_file("tests/certificates/ca.pem")
///     .tls_client_auth_policy(TlsClientAuthPolicy::RequireVerify)
///     .start()?;
/// # Ok(())
/// # }
/// ```
#[cfg(feature = "tls")]
#[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
impl EmbeddedNsqdBuilder {
    /// Its certificate, and behind it in the file what a client may need to trust it. Default: none, and no TLS.
    pub fn tls_cert(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.cert = Some(file.into());
        self
    }

    /// The key of its certificate.
    pub fn tls_key(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.key = Some(file.into());
        self
    }

    /// The authorities that may have issued the certificates of clients. Default: those of the system.
    pub fn tls_root_ca_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.tls.root_ca_file = Some(file.into());
        self
    }

    /// What is asked of the certificates of clients. As in nsqd, this makes TLS a must. Default: nothing, not even to have one.
    pub fn tls_client_auth_policy(mut self, policy: TlsClientAuthPolicy) -> Self {
        self.tls.client_auth_policy = Some(policy);
        self
    }

    /// Whether TLS is a must: outside of it every command but IDENTIFY is refused. Default: no.
    pub fn tls_required(mut self, required: bool) -> Self {
        self.tls.required = required;
        self
    }

    /// The lowest version of TLS. Default: 1.2. (nsqd's default is 1.0, which is not to be had here.)
    pub fn tls_min_version(mut self, version: TlsVersion) -> Self {
        self.tls.min_version = Some(version);
        self
    }
}

/// Compression by snappy, with the feature of that name.
#[cfg(feature = "snappy")]
#[cfg_attr(docsrs, doc(cfg(feature = "snappy")))]
impl EmbeddedNsqdBuilder {
    /// Whether a client gets snappy when it asks for it. Default: yes.
    pub fn snappy(mut self, enabled: bool) -> Self {
        self.options.snappy = enabled;
        self
    }
}

/// Compression by deflate, with the feature of that name.
#[cfg(feature = "deflate")]
#[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
impl EmbeddedNsqdBuilder {
    /// Whether a client gets deflate when it asks for it. Default: yes.
    pub fn deflate(mut self, enabled: bool) -> Self {
        self.options.deflate = enabled;
        self
    }

    /// The highest level of deflate that a client can ask for, 1 to 9; another is taken for the nearest of these. Default: 6.
    pub fn max_deflate_level(mut self, level: u32) -> Self {
        self.options.max_deflate_level = level.clamp(1, 9);
        self
    }
}
