//! The layers that an IDENTIFY turns on: TLS, and compression inside it.

use serde_json::Value;

/// The deflate level if a response does not name one: nsqd's default.
pub(super) const DEFAULT_DEFLATE_LEVEL: i64 = 6;

/// The layers that follow the response to an IDENTIFY.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Upgrade {
    pub(super) tls: bool,
    pub(super) compression: Option<Compression>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Compression {
    Snappy,
    /// With its level, 1 to 9.
    Deflate(u32),
}

impl Upgrade {
    /// `None` if there is no layer to add.
    pub(super) fn new(tls: bool, compression: Option<Compression>) -> Option<Self> {
        let any = tls || compression.is_some();
        any.then_some(Self { tls, compression })
    }

    /// Returns the layers that a client expects after it received these bytes, without those that
    /// this nsqd cannot provide. Used when a fault replaces the response to an IDENTIFY.
    pub(super) fn announced_by(bytes: &[u8], has_tls: bool) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk()?;
        let size = usize::try_from(u32::from_be_bytes(*size)).ok()?;
        let json = rest.get(..size)?.strip_prefix(&[0; 4])?;
        let response: Value = serde_json::from_slice(json).ok()?;
        let is_true = |key: &str| response.get(key) == Some(&Value::Bool(true));
        let compression = if is_true("snappy") && cfg!(feature = "snappy") {
            Some(Compression::Snappy)
        } else if is_true("deflate") && cfg!(feature = "deflate") {
            let level = response.get("deflate_level").and_then(Value::as_i64);
            let level = level.unwrap_or(DEFAULT_DEFLATE_LEVEL).clamp(1, 9);
            Some(Compression::Deflate(u32::try_from(level).ok()?))
        } else {
            None
        };
        Self::new(is_true("tls_v1") && has_tls, compression)
    }
}
