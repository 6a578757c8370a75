//! Reads certificates and keys from PEM files.

use std::{fs, path::Path};

use tokio_rustls::rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{Error as PemError, PemObject},
};

use super::redact::shown;
use crate::error::{ConfigCause, ConfigError};

pub(super) fn certificates(
    option: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let pem = read(option, file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let problem = match found {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => missing(&pem, "certificate"),
        Err(error) => describe(&error),
    };
    Err(file_error(option, file, problem))
}

pub(super) fn private_key(
    option: &'static str,
    file: &Path,
) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let pem = read(option, file)?;
    let problem = match PrivateKeyDer::from_pem_slice(&pem) {
        Ok(key) => return Ok(key),
        Err(_) if is_encrypted(&pem) => "the key is encrypted; decrypt it with openssl pkey".into(),
        Err(PemError::NoItemsFound) => missing(&pem, "private key"),
        Err(error) => describe(&error),
    };
    Err(file_error(option, file, problem))
}

fn read(option: &'static str, file: &Path) -> Result<Vec<u8>, ConfigError> {
    fs::read(file).map_err(|error| file_error(option, file, error.to_string()))
}

/// PKCS#8 has a label for encrypted keys, the older format a header line.
fn is_encrypted(pem: &[u8]) -> bool {
    pem.split(|byte| matches!(byte, b'\n' | b'\r')).any(|line| {
        line.starts_with(b"-----BEGIN ENCRYPTED PRIVATE KEY")
            || line.starts_with(b"Proc-Type: 4,ENCRYPTED")
    })
}

fn missing(file: &[u8], wanted: &str) -> String {
    // Certificates and keys begin with a sequence of more than 127 bytes.
    let is_der = file.starts_with(&[0x30, 0x81]) || file.starts_with(&[0x30, 0x82]);
    if is_der {
        format!("no {wanted} in PEM format; the file seems to be DER")
    } else {
        format!("no {wanted} found")
    }
}

/// Describes an error without content of the file, which the library's own text shows.
fn describe(error: &PemError) -> String {
    match error {
        PemError::MissingSectionEnd { .. } => "truncated: a BEGIN line without an END line".into(),
        PemError::IllegalSectionStart { .. } => "malformed BEGIN line".into(),
        PemError::Base64Decode(_) => "invalid base64 between BEGIN and END".into(),
        other => other.to_string(),
    }
}

pub(super) fn file_error(name: &'static str, file: &Path, problem: String) -> ConfigError {
    ConfigError::from(ConfigCause::File {
        name,
        path: shown(&file.to_string_lossy()),
        problem,
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use rcgen::{CertificateParams, KeyPair};

    use crate::{ProducerConfig, ProducerConfigBuilder};

    /// A folder with certificates, their keys, and broken copies.
    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            let files = Self(tempfile::tempdir().unwrap());
            for name in ["a", "b"] {
                let key = KeyPair::generate().unwrap();
                let certificate = CertificateParams::new(vec![name.to_owned()])
                    .unwrap()
                    .self_signed(&key)
                    .unwrap();
                files.write(&format!("{name}.pem"), certificate.pem());
                files.write(&format!("{name}.der"), certificate.der());
                files.write(&format!("{name}.key"), key.serialize_pem());
                files.write(&format!("{name}.key.der"), key.serialize_der());
            }
            files
        }

        fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
            let path = self.path(name);
            fs::write(&path, content).unwrap();
            path
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        /// Returns the error for a certificate and a key, without the folder.
        fn error(&self, cert: &str, key: &str) -> String {
            self.text(|config| config.tls_cert(self.path(cert)).tls_key(self.path(key)))
        }

        fn text(
            &self,
            options: impl FnOnce(ProducerConfigBuilder) -> ProducerConfigBuilder,
        ) -> String {
            let config = options(ProducerConfig::builder("nsqd:4150").tls_v1(true));
            let error = config.build().unwrap_err();
            let folder = format!("{}/", self.0.path().display());
            error.to_string().replace(&folder, "")
        }
    }

    #[test]
    fn unusable_key_error_states_the_reason() {
        let files = Files::new();
        let encrypted = "the key is encrypted; decrypt it with openssl pkey";
        files.write(
            "pkcs8.key",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
        );
        files.write(
            "pkcs1.key",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n\
             -----END RSA PRIVATE KEY-----\n",
        );
        files.write("empty.key", "");
        for (key, problem) in [
            ("pkcs8.key", encrypted),
            ("pkcs1.key", encrypted),
            ("empty.key", "no private key found"),
            ("a.pem", "no private key found"),
            (
                "a.key.der",
                "no private key in PEM format; the file seems to be DER",
            ),
            ("b.key", "the key does not match tls_cert = \"a.pem\""),
        ] {
            let text = format!("option tls_key = \"{key}\": {problem}");
            assert_eq!(files.error("a.pem", key), text);
        }
        let missing = files.error("a.pem", "missing.key");
        assert!(
            missing.starts_with("option tls_key = \"missing.key\": No such file"),
            "{missing}"
        );
    }

    #[test]
    fn unusable_certificate_error_names_option_and_reason() {
        let files = Files::new();
        let good = fs::read_to_string(files.path("a.pem")).unwrap();
        let (front, _) = good.split_once("-----END").unwrap();
        files.write("cut.pem", front);
        files.write(
            "start.pem",
            good.replace("CERTIFICATE-----", "CERTIFICATE--"),
        );
        let label = |inner: &str| {
            format!("-----BEGIN CERTIFICATE-----\n{inner}\n-----END CERTIFICATE-----\n")
        };
        files.write("base64.pem", label("!?"));
        files.write("broken.pem", label("AAAA"));
        for (file, problem) in [
            ("cut.pem", "truncated: a BEGIN line without an END line"),
            ("start.pem", "malformed BEGIN line"),
            ("base64.pem", "invalid base64 between BEGIN and END"),
            ("broken.pem", "invalid certificate: BadEncoding"),
            (
                "a.der",
                "no certificate in PEM format; the file seems to be DER",
            ),
            ("a.key", "no certificate found"),
        ] {
            let text = format!("option tls_cert = \"{file}\": {problem}");
            assert_eq!(files.error(file, "a.key"), text);
            let roots = files.text(|config| config.tls_root_ca_file(files.path(file)));
            assert_eq!(roots, text.replace("tls_cert", "tls_root_ca_file"));
        }
    }

    #[test]
    fn valid_certificate_and_key_are_accepted() {
        let files = Files::new();
        let config = ProducerConfig::builder("nsqd:4150")
            .tls_v1(true)
            .tls_root_ca_file(files.path("a.pem"))
            .tls_cert(files.path("a.pem"))
            .tls_key(files.path("a.key"));
        assert!(config.build().is_ok());
    }
}
