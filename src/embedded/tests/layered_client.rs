//! A client inside TLS and compression, with the certificates that it needs.

use std::{
    cell::RefCell,
    fs,
    io::{self, Read, Write},
    net::TcpStream,
    path::PathBuf,
    rc::Rc,
    sync::Arc,
};

use flate2::{Decompress, FlushDecompress, write::DeflateEncoder};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_ECDSA_P256_SHA256,
};
use snap::{read::FrameDecoder, write::FrameEncoder};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    version::{TLS12, TLS13},
};

use super::*;
use crate::embedded::EmbeddedNsqdBuilder;

pub(super) type Tls = StreamOwned<ClientConnection, RecordedSocket>;

pub(super) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A socket that keeps everything it has read, because TLS reads more than it returns.
pub(super) struct RecordedSocket {
    pub(super) socket: TcpStream,
    pub(super) read: Vec<u8>,
}

impl Read for RecordedSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.socket.read(buffer)?;
        self.read.extend_from_slice(&buffer[..n]);
        Ok(n)
    }
}

impl Write for RecordedSocket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// A certificate authority.
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
        // A unique name: authorities with equal names would be confused.
        let name = format!("authority in {}", folder.path().display());
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

    /// The file of its own certificate.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// Issues a certificate; returns the files of certificate and key.
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

    /// An nsqd with a certificate of this authority.
    pub(super) fn nsqd(&self) -> EmbeddedNsqdBuilder {
        let (cert, key) = self.issue("nsqd");
        EmbeddedNsqd::builder().tls_cert(cert).tls_key(key)
    }

    /// Configuration of a client that trusts this authority.
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
    /// Adds TLS. The handshake happens with the first byte that is sent or expected.
    pub(super) fn inside_tls(self, config: &Arc<ClientConfig>) -> Client<Tls> {
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(Arc::clone(config), name).unwrap();
        let recorded = RecordedSocket {
            socket: self.0,
            read: Vec::new(),
        };
        Client(StreamOwned::new(connection, recorded))
    }

    /// Connects, and negotiates TLS 1.3.
    #[track_caller]
    pub(super) fn with_tls(nsqd: &EmbeddedNsqd, authority: &Authority) -> Client<Tls> {
        let mut client = Self::connect(nsqd);
        let layers = Layers::new(true, Compression::None);
        assert_eq!(client.identify(&layers.identify(""))["tls_v1"], true);
        let mut client = client.inside_tls(&authority.client(&TLS13, None));
        client.expect(OK);
        client
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Compression {
    None,
    Snappy,
    Deflate,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Layers {
    pub(super) tls: bool,
    pub(super) compression: Compression,
}

impl Layers {
    pub(super) const fn new(tls: bool, compression: Compression) -> Self {
        Self { tls, compression }
    }

    pub(super) fn all() -> impl Iterator<Item = Self> {
        use Compression::*;
        let layers = [false, true].map(|tls| [None, Snappy, Deflate].map(|c| Self::new(tls, c)));
        layers.into_iter().flatten()
    }

    /// The JSON of an IDENTIFY that asks for these layers, with additional fields.
    pub(super) fn identify(self, more: &str) -> String {
        let tls = self.tls;
        let snappy = self.compression == Compression::Snappy;
        let deflate = self.compression == Compression::Deflate;
        format!(
            "{{\"feature_negotiation\":true,\"tls_v1\":{tls},\
             \"snappy\":{snappy},\"deflate\":{deflate}{more}}}"
        )
    }

    /// Connects, and negotiates these layers.
    #[track_caller]
    pub(super) fn connect(
        self,
        nsqd: &EmbeddedNsqd,
        authority: &Authority,
        more: &str,
    ) -> Client<CompressedStream> {
        let mut client = Client::connect(nsqd);
        let response = client.identify(&self.identify(more));
        let negotiated = ["tls_v1", "snappy", "deflate"].map(|layer| response[layer] == true);
        let compression = self.compression;
        let expected = [Compression::Snappy, Compression::Deflate].map(|c| c == compression);
        assert_eq!(negotiated, [self.tls, expected[0], expected[1]]);
        let mut client = if self.tls {
            let mut client = client.inside_tls(&authority.client(&TLS13, None));
            client.expect(OK);
            compression.add(client)
        } else {
            compression.add(client)
        };
        if compression != Compression::None {
            client.expect(OK);
        }
        client
    }
}

impl Compression {
    /// Adds this compression. Everything written is flushed.
    pub(super) fn add<S: Read + Write + 'static>(
        self,
        client: Client<S>,
    ) -> Client<CompressedStream> {
        let stream = Rc::new(RefCell::new(client.0));
        let [read, write] = [SharedStream(Rc::clone(&stream)), SharedStream(stream)];
        let (read, write): (Box<dyn Read>, Box<dyn Write>) = match self {
            Self::None => (Box::new(read), Box::new(write)),
            Self::Snappy => (
                Box::new(FrameDecoder::new(read)),
                Box::new(FrameEncoder::new(write)),
            ),
            Self::Deflate => (
                Box::new(Inflated {
                    stream: read,
                    inflate: Decompress::new(false),
                    input: Vec::new(),
                }),
                Box::new(DeflateEncoder::new(write, flate2::Compression::new(6))),
            ),
        };
        Client(CompressedStream { read, write })
    }
}

/// A compressed stream, with the readers and writers of the compression libraries.
pub(super) struct CompressedStream {
    read: Box<dyn Read>,
    write: Box<dyn Write>,
}

impl Read for CompressedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read.read(buffer)
    }
}

impl Write for CompressedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write.write_all(bytes)?;
        self.write.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write.flush()
    }
}

/// One end of a stream that a reader and a writer share.
struct SharedStream<S>(Rc<RefCell<S>>);

impl<S: Read> Read for SharedStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

impl<S: Write> Write for SharedStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

/// Inflates without blocking for more input while there is output, unlike flate2's own reader.
struct Inflated<S> {
    stream: S,
    inflate: Decompress,
    input: Vec<u8>,
}

impl<S: Read> Read for Inflated<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
            self.inflate
                .decompress(&self.input, buffer, FlushDecompress::None)?;
            self.input
                .drain(..(self.inflate.total_in() - taken) as usize);
            let read = (self.inflate.total_out() - given) as usize;
            if read > 0 {
                return Ok(read);
            }
            let mut more = [0; 4096];
            let n = self.stream.read(&mut more)?;
            if n == 0 {
                return Ok(0);
            }
            self.input.extend_from_slice(&more[..n]);
        }
    }
}
