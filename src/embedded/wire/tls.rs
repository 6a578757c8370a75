//! The server side of TLS: rustls, with buffers for input and output.

mod common_name;
mod config;
mod go_errors;

use std::{
    fmt,
    io::{self, Read, Write},
    sync::Arc,
};

use bytes::{BufMut, BytesMut};
use tokio_rustls::rustls::{Error, InvalidMessage, ProtocolVersion, ServerConnection};

pub use config::TlsClientAuthPolicy;
pub(in crate::embedded) use config::{Config, Flags};

/// The server side of a TLS connection.
pub(in crate::embedded) struct Tls {
    connection: Box<ServerConnection>,
    records: Records,
    /// Whether the client has closed its side.
    closed: bool,
    /// Bytes that nsqd sends for a failed handshake where rustls sends another alert.
    failure_bytes: Option<&'static [u8]>,
}

/// A fatal alert in clear text: handshake failure.
const HANDSHAKE_FAILURE: &[u8] = &[0x15, 3, 3, 0, 2, 2, 40];

impl Tls {
    pub(in crate::embedded) fn new(config: &Config) -> Result<Self, String> {
        let connection = ServerConnection::new(Arc::clone(&config.0));
        let mut connection = connection.map_err(|error| go_errors::text(&error))?;
        // The connection bounds the output, by its write deadline.
        connection.set_buffer_limit(None);
        Ok(Self {
            connection: Box::new(connection),
            records: Records::default(),
            closed: false,
            failure_bytes: None,
        })
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    pub(super) fn is_within_record(&self) -> bool {
        self.records.is_within_record()
    }

    /// Consumes and decrypts all of `incoming`. Returns whether the client closed its TLS. An error
    /// has the text of Go's TLS.
    pub(super) fn read(
        &mut self,
        incoming: &mut BytesMut,
        plain: &mut BytesMut,
    ) -> Result<bool, String> {
        if incoming.len() < Records::HEADER && !self.records.any {
            // Go checks the header of the first record only once it is complete.
            return Ok(false);
        }
        while !incoming.is_empty() && !self.closed {
            let mut rest: &[u8] = incoming;
            let read = self.connection.read_tls(&mut rest);
            let taken = incoming.split_to(read.map_err(|error| error.to_string())?);
            self.records.pass(&taken);
            let processed = self.connection.process_new_packets();
            let state = processed.map_err(|error| {
                self.failure_bytes = match (&error, self.connection.protocol_version()) {
                    (Error::InvalidMessage(InvalidMessage::InvalidContentType), _) => Some(&[]),
                    (Error::NoCertificatesPresented, Some(ProtocolVersion::TLSv1_2)) => {
                        Some(HANDSHAKE_FAILURE)
                    }
                    _ => None,
                };
                go_errors::text(&error)
            })?;
            let wanted = state.plaintext_bytes_to_read().try_into();
            let mut decrypted = self.connection.reader().take(wanted.unwrap_or(u64::MAX));
            io::copy(&mut decrypted, &mut plain.writer()).map_err(|e| e.to_string())?;
            self.closed = state.peer_has_closed();
        }
        Ok(self.closed)
    }

    /// Appends pending TLS records, then `plain`, encrypted once the handshake is complete.
    pub(super) fn write(&mut self, plain: &[u8], out: &mut BytesMut) {
        if let Some(failure_bytes) = self.failure_bytes.take() {
            return out.extend_from_slice(failure_bytes);
        }
        // Both write to memory and cannot fail.
        let _ = self.connection.writer().write_all(plain);
        while self.connection.wants_write() && self.connection.write_tls(&mut out.writer()).is_ok()
        {
        }
    }

    /// The TLS version, named as in nsqd's `/stats`.
    pub(in crate::embedded) fn version(&self) -> &'static str {
        match self.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS1.3",
            _ => "TLS1.2",
        }
    }

    /// The common name in the client's certificate; empty without a certificate.
    pub(in crate::embedded) fn common_name(&self) -> String {
        let certificate = self.connection.peer_certificates().and_then(<[_]>::first);
        certificate.map_or_else(String::new, |der| {
            common_name::parse(der).unwrap_or_default()
        })
    }
}

/// Follows the boundaries of TLS records: a header of five bytes ends with the length of the rest.
#[derive(Debug, Default)]
struct Records {
    /// Whether any bytes have passed.
    any: bool,
    /// The bytes of an incomplete header.
    header: Vec<u8>,
    /// Bytes to the end of the current record.
    remaining: usize,
}

impl Records {
    const HEADER: usize = 5;

    fn pass(&mut self, mut bytes: &[u8]) {
        self.any |= !bytes.is_empty();
        while !bytes.is_empty() {
            let n = bytes.len().min(match self.remaining {
                0 => Self::HEADER - self.header.len(),
                remaining => remaining,
            });
            let (passed, rest) = bytes.split_at(n);
            bytes = rest;
            if self.remaining > 0 {
                self.remaining -= n;
                continue;
            }
            self.header.extend_from_slice(passed);
            if let [_, _, _, high, low] = *self.header.as_slice() {
                self.remaining = usize::from(u16::from_be_bytes([high, low]));
                self.header.clear();
            }
        }
    }

    fn is_within_record(&self) -> bool {
        self.remaining > 0 || !self.header.is_empty()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}
