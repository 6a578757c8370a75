//! An uninhabited stand-in for compression in a build without its features.

use std::io;

use bytes::BytesMut;

use crate::embedded::upgrade::Compression;

#[derive(Debug)]
pub(in crate::embedded) enum Compressed {}

impl Compressed {
    pub(in crate::embedded) fn new(_: Compression) -> Option<Self> {
        None
    }

    pub(super) fn read(&mut self, _: &mut BytesMut, _: &mut BytesMut) -> io::Result<()> {
        match *self {}
    }

    pub(super) fn write(&mut self, _: &[u8], _: &mut BytesMut) -> io::Result<()> {
        match *self {}
    }
}
