//! Valid and invalid certificates, as PEM files in a temporary folder.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme, StreamOwned,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    version::{TLS12, TLS13},
};

use super::raw_client::Secure;

/// Flaw of a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flaw {
    /// Signed by the authority; a server's is valid for `localhost` and 127.0.0.1.
    #[default]
    None,
    SelfSigned,
    OtherAuthority,
    Expired,
    NotYetValid,
    /// Valid for `other.example.org`.
    OtherName,
    /// Valid for 127.0.0.1, and for no name.
    AddressOnly,
    /// Valid for `localhost`, and for no address.
    NameOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Server,
    Client,
}

/// The files of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// An authority that signs certificates.
#[derive(Clone, Debug)]
pub struct Certificates(Arc<Inner>);

struct Inner {
    authority: CertifiedIssuer<'static, KeyPair>,
    other: CertifiedIssuer<'static, KeyPair>,
    made: AtomicUsize,
    folder: tempfile::TempDir,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "certificates in {}", self.folder.path().display())
    }
}

impl Certificates {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("actix-nsq-certificates-")
            .tempdir();
        let inner = Inner {
            authority: authority("an authority of the tests"),
            other: authority("another authority of the tests"),
            made: AtomicUsize::new(0),
            folder: folder.expect("a folder for certificates"),
        };
        write(&inner.folder, "authority.pem", &inner.authority.pem());
        Self(Arc::new(inner))
    }

    /// The file of the authority.
    pub fn authority(&self) -> PathBuf {
        self.path("authority.pem")
    }

    /// Creates a certificate of a server.
    pub fn server(&self, flaw: Flaw) -> Identity {
        self.identity(Role::Server, flaw)
    }

    /// Creates a certificate of a client.
    pub fn client(&self, flaw: Flaw) -> Identity {
        self.identity(Role::Client, flaw)
    }

    /// A rustls client that trusts the authority, with or without a certificate.
    pub fn client_config(&self, identity: Option<&Identity>, only_tls12: bool) -> ClientConfig {
        let versions = if only_tls12 {
            &[&TLS12][..]
        } else {
            &[&TLS12, &TLS13]
        };
        let mut roots = RootCertStore::empty();
        roots
            .add(self.0.authority.der().clone())
            .expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("versions that ring has")
            .with_root_certificates(roots);
        match identity {
            None => config.with_no_client_auth(),
            Some(Identity { cert, key }) => {
                let cert = CertificateDer::from_pem_file(cert).expect("a certificate");
                let key = PrivateKeyDer::from_pem_file(key).expect("a key");
                let config = config.with_client_auth_cert(vec![cert], key);
                config.expect("a certificate and its key")
            }
        }
    }

    /// A rustls server that asks for no client certificate.
    pub fn server_config(&self, flaw: Flaw) -> ServerConfig {
        let Identity { cert, key } = self.server(flaw);
        let cert = CertificateDer::from_pem_file(cert).expect("a certificate");
        let key = PrivateKeyDer::from_pem_file(key).expect("a key");
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions that ring has")
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .expect("a certificate and its key")
    }

    /// TLS for the raw client: it has a valid certificate and trusts every server.
    pub fn tls(&self) -> Secure {
        let identity = self.client(Flaw::None);
        let mut config = self.client_config(Some(&identity), false);
        let trusting = Arc::new(TrustAll);
        config.dangerous().set_certificate_verifier(trusting);
        let config = Arc::new(config);
        Arc::new(move |stream| {
            let name = ServerName::try_from("localhost").expect("a name");
            let client = ClientConnection::new(Arc::clone(&config), name);
            Box::new(StreamOwned::new(client.expect("a client of TLS"), stream))
        })
    }

    /// Writes a file to the folder.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        write(&self.0.folder, name, text)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.folder.path().join(name)
    }

    fn identity(&self, role: Role, flaw: Flaw) -> Identity {
        let key = KeyPair::generate().expect("a key");
        let params = params(role, flaw);
        let certificate = match flaw {
            Flaw::SelfSigned => params.self_signed(&key),
            Flaw::OtherAuthority => params.signed_by(&key, &self.0.other),
            _ => params.signed_by(&key, &self.0.authority),
        };
        let certificate = certificate.expect("a certificate");
        let number = self.0.made.fetch_add(1, Ordering::SeqCst);
        Identity {
            cert: self.file(&format!("cert-{number}.pem"), &certificate.pem()),
            key: self.file(&format!("key-{number}.pem"), &key.serialize_pem()),
        }
    }
}

fn write(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = Path::new(folder.path()).join(name);
    fs::write(&path, text).expect("a file of certificates can be written");
    path
}

fn authority(common_name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    name(&mut params, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(params, key).expect("an authority")
}

fn params(role: Role, flaw: Flaw) -> CertificateParams {
    let address = IpAddr::from([127, 0, 0, 1]).to_string();
    let names = match (role, flaw) {
        (Role::Client, _) => vec![],
        (Role::Server, Flaw::OtherName) => vec!["other.example.org".to_owned()],
        (Role::Server, Flaw::AddressOnly) => vec![address],
        (Role::Server, Flaw::NameOnly) => vec!["localhost".to_owned()],
        (Role::Server, _) => vec!["localhost".to_owned(), address],
    };
    let mut params = CertificateParams::new(names).expect("good names");
    let (purpose, common_name) = match role {
        Role::Server => (ExtendedKeyUsagePurpose::ServerAuth, "a server of the tests"),
        Role::Client => (ExtendedKeyUsagePurpose::ClientAuth, "a client of the tests"),
    };
    name(&mut params, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.insert_extended_key_usage(purpose);
    params.use_authority_key_identifier_extension = true;
    match flaw {
        Flaw::Expired => params.not_after = date_time_ymd(2020, 1, 1),
        Flaw::NotYetValid => params.not_before = date_time_ymd(3000, 1, 1),
        _ => {}
    }
    params
}

fn name(params: &mut CertificateParams, name: &str) {
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, name);
}

/// Accepts every certificate.
#[derive(Debug)]
struct TrustAll;

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = ring::default_provider();
        provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
