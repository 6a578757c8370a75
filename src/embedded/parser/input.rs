//! The bytes of a command, taken one field after the other.

use super::Stop;

pub(super) const LENGTH_FIELD: usize = 4;

/// What was read, from the front on.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// A length or a count: nsqd reads all of them as signed.
    pub(super) fn size(&mut self, if_cut: impl FnOnce() -> String) -> Result<i32, Stop<'a>> {
        let field = self
            .take(LENGTH_FIELD)
            .and_then(|field| <[u8; LENGTH_FIELD]>::try_from(field).ok());
        field
            .map(i32::from_be_bytes)
            .ok_or_else(|| Stop::Half(if_cut()))
    }

    pub(super) fn body(
        &mut self,
        size: i32,
        if_cut: impl FnOnce() -> String,
    ) -> Result<&'a [u8], Stop<'a>> {
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.take(size).ok_or_else(|| Stop::Half(if_cut()))
    }

    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(n)?;
        let taken = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }
}
