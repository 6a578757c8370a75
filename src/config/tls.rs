//! The options of TLS, made into what a connection is encrypted with.

use std::{path::Path, sync::Arc};

use log::warn;
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore,
    SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::{TLS12, TLS13},
};

use super::{
    TlsVersion,
    options::Options,
    pem::{certificates, file_error, private_key},
    shown,
};
use crate::{
    conn::Tls,
    error::{ConfigCause, ConfigError},
};

/// What the options ask for, with `own` in the place of most of them where the program gives it.
pub(super) fn tls(
    options: &Options,
    address: &str,
    own: Option<Arc<ClientConfig>>,
) -> Result<Tls, ConfigError> {
    if options.tls_insecure_skip_verify {
        warn!("{address}: tls_insecure_skip_verify is set: anybody can pass for this nsqd");
    }
    Ok(Tls {
        server_name: server_name(options, address)?,
        config: own.map_or_else(|| client_config(options), Ok)?,
    })
}

fn server_name(options: &Options, address: &str) -> Result<ServerName<'static>, ConfigError> {
    let is_given = !options.tls_server_name.is_empty();
    let name = if !is_given {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        host.trim_start_matches('[').trim_end_matches(']')
    } else {
        &options.tls_server_name
    };
    ServerName::try_from(name.to_owned()).map_err(|_| {
        let value = shown(name);
        if !is_given {
            return tls_error(format!(
                "\"{value}\" is no name that a certificate could be for; tls_server_name gives another"
            ));
        }
        let cause = ConfigCause::Value {
            name: "tls_server_name",
            value,
            bounds: "a name or an IP address, without a port".into(),
        };
        ConfigError::from(cause)
    })
}

fn client_config(options: &Options) -> Result<Arc<ClientConfig>, ConfigError> {
    let provider = Arc::new(ring::default_provider());
    let versions: &[&SupportedProtocolVersion] = match options.tls_min_version {
        TlsVersion::Tls12 => &[&TLS12, &TLS13],
        TlsVersion::Tls13 => &[&TLS13],
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(refused)?;
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
                    file_error("tls_cert", cert, broken(&fault))
                }
                RustlsError::InconsistentKeys(_) => {
                    let cert = shown(&cert.to_string_lossy());
                    let problem = format!("it is not the key of tls_cert = \"{cert}\"");
                    file_error("tls_key", key, problem)
                }
                error => file_error("tls_key", key, error.to_string()),
            })?
    };
    Ok(Arc::new(config))
}

/// Those of the file, or where none is given, those that the system trusts.
fn roots(file: &Path) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    if file.as_os_str().is_empty() {
        let found = rustls_native_certs::load_native_certs();
        // Systems have some that are too old for this library, which is no reason to do without the others.
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
            return Err(tls_error(format!(
                "no root certificates were found on this system; tls_root_ca_file gives a file with some [{}]",
                errors.join("; ")
            )));
        }
    } else {
        for certificate in certificates("tls_root_ca_file", file)? {
            roots.add(certificate).map_err(|error| {
                let problem = match error {
                    RustlsError::InvalidCertificate(fault) => broken(&fault),
                    error => error.to_string(),
                };
                file_error("tls_root_ca_file", file, problem)
            })?;
        }
    }
    Ok(roots)
}

fn broken(fault: &CertificateError) -> String {
    format!("a certificate in it is broken: {fault}")
}

fn refused(error: RustlsError) -> ConfigError {
    tls_error(error.to_string())
}

fn tls_error(problem: String) -> ConfigError {
    ConfigError::from(ConfigCause::Tls { problem })
}

/// Takes every certificate. That the peer holds the key of what it shows is verified all the same.
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
