//! Uninhabited stand-ins for TLS in a build without its feature.

use bytes::BytesMut;

#[derive(Debug, Clone)]
pub(in crate::embedded) enum Config {}

#[derive(Debug)]
pub(in crate::embedded) enum Tls {}

impl Tls {
    pub(in crate::embedded) fn new(config: &Config) -> Result<Self, String> {
        match *config {}
    }

    pub(super) fn is_handshaking(&self) -> bool {
        match *self {}
    }

    pub(super) fn is_within_record(&self) -> bool {
        match *self {}
    }

    pub(super) fn read(&mut self, _: &mut BytesMut, _: &mut BytesMut) -> Result<bool, String> {
        match *self {}
    }

    pub(super) fn write(&mut self, _: &[u8], _: &mut BytesMut) {
        match *self {}
    }

    pub(in crate::embedded) fn version(&self) -> &'static str {
        match *self {}
    }

    pub(in crate::embedded) fn common_name(&self) -> String {
        match *self {}
    }
}
