//! The TLS settings of a connection, made from the options.

use std::{path::Path, sync::Arc};

use log::warn;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::{TLS12, TLS13},
};

use super::{
    TlsVersion,
    connection_options::ConnectionOptions,
    pem::{certificates, file_error, private_key},
    redact::shown,
};
use crate::{
    conn::{Endpoint, Tls},
    error::{ConfigCause, ConfigError},
};

/// Returns the TLS settings for the nsqd at `address`.
pub(super) fn tls(
    options: &ConnectionOptions,
    config: &Arc<ClientConfig>,
    address: &str,
) -> Result<Tls, ConfigError> {
    if options.tls_insecure_skip_verify {
        warn!("{address}: tls_insecure_skip_verify is set: any server certificate is accepted");
    }
    Ok(Tls {
        server_name: server_name(options, address)?,
        config: Arc::clone(config),
    })
}

/// Returns the TLS settings for a server whose certificate must be for the host of its address.
#[cfg(feature = "lookup")]
pub(super) fn tls_for_host(config: Arc<ClientConfig>, address: &str) -> Result<Tls, ConfigError> {
    Ok(Tls {
        server_name: host_name(address)?,
        config,
    })
}

/// Returns the name that the certificate must be valid for: `tls_server_name`, or the host of the
/// address.
fn server_name(
    options: &ConnectionOptions,
    address: &str,
) -> Result<ServerName<'static>, ConfigError> {
    let given = options.tls_server_name.as_str();
    if !given.is_empty() {
        return ServerName::try_from(given.to_owned()).map_err(|_| {
            ConnectionOptions::tls_server_name
                .rejects(given, "a host name or an IP address, without a port")
        });
    }
    host_name(address)
}

fn host_name(address: &str) -> Result<ServerName<'static>, ConfigError> {
    // With a connector of the program the address may be any text.
    let host = match Endpoint::parse(address) {
        Ok(endpoint) => endpoint.host(),
        Err(_) => address.split(':').next().map(str::to_owned),
    };
    let host = host.unwrap_or_else(|| address.to_owned());
    let name = shown(&host);
    ServerName::try_from(host).map_err(|_| {
        tls_error(format!(
            "\"{name}\" is not a name that a certificate can be valid for; set tls_server_name"
        ))
    })
}

/// Returns the crypto provider: ring if it is compiled in, otherwise the default of the process.
fn crypto_provider() -> Result<Arc<CryptoProvider>, ConfigError> {
    #[cfg(feature = "ring")]
    return Ok(Arc::new(
        tokio_rustls::rustls::crypto::ring::default_provider(),
    ));
    #[cfg(not(feature = "ring"))]
    CryptoProvider::get_default().cloned().ok_or_else(|| {
        tls_error(
            "no crypto provider; enable the feature `ring` of actix-nsq, or install a default \
             provider of rustls"
                .into(),
        )
    })
}

/// Reads the files, and returns the configuration of rustls.
pub(super) fn client_config(options: &ConnectionOptions) -> Result<Arc<ClientConfig>, ConfigError> {
    let provider = crypto_provider()?;
    let versions: &[&SupportedProtocolVersion] = match options.tls_min_version {
        TlsVersion::Tls12 => &[&TLS12, &TLS13],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| tls_error(error.to_string()))?;
    let builder = if options.tls_insecure_skip_verify {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
    } else {
        builder.with_root_certificates(roots(&options.tls_root_ca_file)?)
    };
    let config = if options.tls_cert.as_os_str().is_empty() {
        builder.with_no_client_auth()
    } else {
        let (cert, key) = (&options.tls_cert, &options.tls_key);
        let chain = certificates("tls_cert", cert)?;
        builder
            .with_client_auth_cert(chain, private_key("tls_key", key)?)
            .map_err(|error| match error {
                RustlsError::InvalidCertificate(fault) => {
                    file_error("tls_cert", cert, invalid(&fault))
                }
                RustlsError::InconsistentKeys(_) => {
                    let cert = shown(&cert.to_string_lossy());
                    let problem = format!("the key does not match tls_cert = \"{cert}\"");
                    file_error("tls_key", key, problem)
                }
                error => file_error("tls_key", key, error.to_string()),
            })?
    };
    Ok(Arc::new(config))
}

/// Returns the CA certificates of the file, or those that the system trusts if there is no file.
fn roots(file: &Path) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    if file.as_os_str().is_empty() {
        let found = rustls_native_certs::load_native_certs();
        // A certificate that this library cannot read is no reason to reject the others.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
            return Err(tls_error(format!(
                "no CA certificates found on this system; set tls_root_ca_file [{}]",
                errors.join("; ")
            )));
        }
    } else {
        for certificate in certificates("tls_root_ca_file", file)? {
            roots.add(certificate).map_err(|error| {
                let problem = match error {
                    RustlsError::InvalidCertificate(fault) => invalid(&fault),
                    error => error.to_string(),
                };
                file_error("tls_root_ca_file", file, problem)
            })?;
        }
    }
    Ok(roots)
}

fn invalid(fault: &CertificateError) -> String {
    format!("invalid certificate: {fault}")
}

fn tls_error(problem: String) -> ConfigError {
    ConfigError::from(ConfigCause::Tls { problem })
}

/// Accepts every certificate. It still verifies that the peer has the private key.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
