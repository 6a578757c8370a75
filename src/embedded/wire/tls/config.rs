//! nsqd's TLS flags, and the rustls configuration that they produce.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{Error as PemError, PemObject},
    },
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::{TLS12, TLS13},
};

use crate::TlsVersion;

const CERT: &str = "--tls-cert";
const KEY: &str = "--tls-key";
const ROOT_CA_FILE: &str = "--tls-root-ca-file";

/// Requirements for certificates of clients: nsqd's flag `--tls-client-auth-policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TlsClientAuthPolicy {
    /// The client must send a certificate; its issuer is not verified.
    Require,
    /// The client must send a certificate issued by a CA in
    /// [`tls_root_ca_file`](crate::embedded::EmbeddedNsqdBuilder::tls_root_ca_file), or by a CA
    /// that the system trusts if there is no such file.
    RequireVerify,
}

/// The flags as the user set them.
#[derive(Debug, Clone, Default)]
pub(in crate::embedded) struct Flags {
    pub(in crate::embedded) cert: Option<PathBuf>,
    pub(in crate::embedded) key: Option<PathBuf>,
    pub(in crate::embedded) root_ca_file: Option<PathBuf>,
    pub(in crate::embedded) client_auth_policy: Option<TlsClientAuthPolicy>,
    pub(in crate::embedded) required: bool,
    pub(in crate::embedded) min_version: Option<TlsVersion>,
}

/// The configuration shared by all TLS connections of an nsqd.
#[derive(Clone)]
pub(in crate::embedded) struct Config(pub(super) Arc<ServerConfig>);

impl Flags {
    /// Whether TLS is required. As in nsqd, a policy for client certificates implies it.
    pub(in crate::embedded) fn is_required(&self) -> bool {
        self.required || self.client_auth_policy.is_some()
    }

    /// Reads the files. `None` without certificate and key: TLS is off.
    pub(in crate::embedded) fn config(&self) -> io::Result<Option<Config>> {
        let (cert, key) = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => (cert, key),
            (None, None) if self.is_required() => {
                return Err(invalid(
                    "TLS is required, but --tls-cert and --tls-key are not set",
                ));
            }
            (None, None) => return Ok(None),
            _ => return Err(invalid("--tls-cert and --tls-key must be set together")),
        };
        let provider = Arc::new(ring::default_provider());
        let versions: &[&SupportedProtocolVersion] = match self.min_version {
            Some(TlsVersion::Tls13) => &[&TLS13],
            Some(TlsVersion::Tls12) | None => &[&TLS13, &TLS12],
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(invalid)?;
        let builder = match self.client_auth_policy {
            None => builder.with_no_client_auth(),
            Some(TlsClientAuthPolicy::Require) => {
                builder.with_client_cert_verifier(Arc::new(AnyCertificate(provider)))
            }
            Some(TlsClientAuthPolicy::RequireVerify) => {
                let roots = Arc::new(self.roots()?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.build().map_err(invalid)?)
            }
        };
        let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| match error {
            PemError::NoItemsFound => unusable(KEY, key, "no private key found"),
            error => unusable(KEY, key, error),
        })?;
        let config = builder.with_single_cert(certificates(CERT, cert)?, key_der);
        let config = config.map_err(|error| match error {
            Error::InconsistentKeys(_) => {
                let reason = format!("not the key of {CERT} {}", cert.display());
                unusable(KEY, key, reason)
            }
            error => unusable(CERT, cert, error),
        })?;
        Ok(Some(Config(Arc::new(config))))
    }

    fn roots(&self) -> io::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        match &self.root_ca_file {
            Some(file) => {
                for root in certificates(ROOT_CA_FILE, file)? {
                    roots
                        .add(root)
                        .map_err(|e| unusable(ROOT_CA_FILE, file, e))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        Ok(roots)
    }
}

fn certificates(flag: &str, file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let found =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(unusable(flag, file, "no certificate found")),
        found => found.map_err(|error| unusable(flag, file, error)),
    }
}

fn invalid(reason: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason.to_string())
}

fn unusable(flag: &str, file: &Path, reason: impl fmt::Display) -> io::Error {
    invalid(format!("{flag} {}: {reason}", file.display()))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").finish_non_exhaustive()
    }
}

/// Accepts a certificate of any issuer, if the client proves that it has the key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
