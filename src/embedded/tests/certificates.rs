//! Certificates for the tests, and a client inside TLS that uses them.

use std::{fs, io, path::PathBuf, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};

use super::*;

pub(super) type Tls = StreamOwned<ClientConnection, Recorded>;

/// A socket, and all that was read from it: TLS reads beyond what it understands.
pub(super) struct Recorded {
    pub(super) socket: TcpStream,
    pub(super) read: Vec<u8>,
}

impl Read for Recorded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.socket.read(buffer)?;
        self.read.extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

impl Write for Recorded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// An authority, and all that it has issued.
pub(super) struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        // Of its own, or it would be taken for another one with the same name.
        let name = format!("the authority of {}", folder.path().display());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("ca.pem"), certificate.pem()).unwrap();
        Self {
            folder,
            root: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Its own certificate.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A certificate for the one with this name, and its key.
    pub(super) fn issue(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = ["pem", "key"].map(|end| self.folder.path().join(format!("{name}.{end}")));
        let [cert_file, key_file] = files;
        fs::write(&cert_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }

    /// An nsqd with a certificate.
    pub(super) fn nsqd(&self) -> EmbeddedNsqdBuilder {
        let (cert, key) = self.issue("nsqd");
        EmbeddedNsqd::builder().tls_cert(cert).tls_key(key)
    }

    /// A client that trusts it, with this version of TLS and, perhaps, a certificate.
    pub(super) fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        certificate: Option<&(PathBuf, PathBuf)>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        Arc::new(match certificate {
            None => builder.with_no_client_auth(),
            Some((cert, key)) => {
                let cert = CertificateDer::from_pem_file(cert).unwrap();
                let key = PrivateKeyDer::from_pem_file(key).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        })
    }
}

impl Client {
    /// Inside TLS from now on. The handshake is done with the first byte that is sent or awaited.
    pub(super) fn inside_tls(self, config: &Arc<ClientConfig>) -> Client<Tls> {
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        let recorded = Recorded {
            socket: self.0,
            read: Vec::new(),
        };
        Client(StreamOwned::new(connection, recorded))
    }

    /// A connection inside TLS 1.3 that was told OK.
    #[track_caller]
    pub(super) fn encrypted(nsqd: &EmbeddedNsqd, authority: &Authority) -> Client<Tls> {
        let mut client = Self::connect(nsqd);
        let answer = client.identify(r#"{"feature_negotiation":true,"tls_v1":true}"#);
        assert_eq!(answer["tls_v1"], true);
        let mut client = client.inside_tls(&authority.client(&TLS13, None));
        client.expect(OK);
        client
    }
}
