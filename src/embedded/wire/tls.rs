//! The TLS of a connection: rustls, fed with bytes.

mod common_name;
mod config;
mod words;

use std::{
    fmt,
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::{BufMut, BytesMut};
use tokio_rustls::rustls::{Error, InvalidMessage, ProtocolVersion, ServerConnection};

pub use config::TlsClientAuthPolicy;
pub(in crate::embedded) use config::{Config, Flags};

/// Our side of a TLS connection.
pub(in crate::embedded) struct Tls {
    connection: Box<ServerConnection>,
    records: Records,
    /// Whether the client has closed its side.
    closed: bool,
    /// What nsqd says in place of rustls before it gives up.
    last_words: Option<&'static [u8]>,
}

/// An alert in clear text: fatal, handshake failure.
const HANDSHAKE_FAILURE: &[u8] = &[0x15, 3, 3, 0, 2, 2, 40];

impl Tls {
    pub(in crate::embedded) fn new(config: &Config) -> Result<Self, String> {
        let connection = ServerConnection::new(Arc::clone(&config.0));
        let mut connection = connection.map_err(|error| words::of(&error))?;
        // What is held up here has a bound of its own: see `write_deadline`.
        connection.set_buffer_limit(None);
        Ok(Self {
            connection: Box::new(connection),
            records: Records::default(),
            closed: false,
            last_words: None,
        })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    pub(super) fn is_within_a_record(&self) -> bool {
        self.records.is_within_one()
    }

    /// Takes all of `incoming`, and decrypts it. Whether the client has closed its side.
    pub(super) fn read(
        &mut self,
        incoming: &mut BytesMut,
        plain: &mut BytesMut,
    ) -> Result<bool, String> {
        if incoming.len() < Records::HEADER && !self.records.any {
            // Go looks at the header of the first record when it is whole.
            return Ok(false);
        }
        while !incoming.is_empty() && !self.closed {
            let mut rest: &[u8] = incoming;
            let read = self.connection.read_tls(&mut rest);
            let taken = incoming.split_to(read.map_err(|error| error.to_string())?);
            self.records.pass(&taken);
            let processed = self.connection.process_new_packets();
            let state = processed.map_err(|error| {
                self.last_words = match (&error, self.connection.protocol_version()) {
                    (Error::InvalidMessage(InvalidMessage::InvalidContentType), _) => Some(&[]),
                    (Error::NoCertificatesPresented, Some(ProtocolVersion::TLSv1_2)) => {
                        Some(HANDSHAKE_FAILURE)
                    }
                    _ => None,
                };
                words::of(&error)
            })?;
            let wanted = state.plaintext_bytes_to_read().try_into();
            let mut decrypted = self.connection.reader().take(wanted.unwrap_or(u64::MAX));
            io::copy(&mut decrypted, &mut plain.writer()).map_err(|e| e.to_string())?;
            self.closed = state.peer_has_closed();
        }
        Ok(self.closed)
    }

    /// Encrypts all of `plain`, when the handshake is done; what TLS itself has to say goes first.
    pub(super) fn write(&mut self, plain: &[u8], out: &mut BytesMut) {
        if let Some(last_words) = self.last_words.take() {
            return out.extend_from_slice(last_words);
        }
        // Into memory: neither can fail.
        let _ = self.connection.writer().write_all(plain);
        while self.connection.wants_write() && self.connection.write_tls(&mut out.writer()).is_ok()
        {
        }
    }

    /// As nsqd's `/stats` has it.
    pub(in crate::embedded) fn version(&self) -> &'static str {
        match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS1.3",
            _ => "TLS1.2",
        }
    }

    /// The name in the client's certificate; nothing where it sent none.
    pub(in crate::embedded) fn common_name(&self) -> String {
        let certificate = self.connection.peer_certificates().and_then(<[_]>::first);
        certificate.map_or_else(String::new, |der| common_name::of(der).unwrap_or_default())
    }
}

/// Where the records of a stream end: a header of five bytes ends with the length of what follows.
#[derive(Debug, Default)]
struct Records {
    any: bool,
    header: Vec<u8>,
    left: usize,
}

impl Records {
    const HEADER: usize = 5;

    fn pass(&mut self, mut bytes: &[u8]) {
        self.any |= !bytes.is_empty();
        while !bytes.is_empty() {
            let n = bytes.len().min(match self.left {
                0 => Self::HEADER - self.header.len(),
                left => left,
            });
            let (passed, rest) = bytes.split_at(n);
            bytes = rest;
            if self.left > 0 {
                self.left -= n;
                continue;
            }
            self.header.extend_from_slice(passed);
            if let [_, _, _, high, low] = *self.header.as_slice() {
                self.left = usize::from(u16::from_be_bytes([high, low]));
                self.header.clear();
            }
        }
    }

    fn is_within_one(&self) -> bool {
        self.left > 0 || !self.header.is_empty()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
