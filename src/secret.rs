//! A secret whose value `Debug` and serialization hide.

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

/// A secret, for example for AUTH. `Debug` and serialization show neither its value nor its length.
///
/// An empty secret means that there is none.
///
/// ```
/// use actix_nsq::Secret;
///
/// let secret = Secret::from("hunter2");
/// assert_eq!(secret.expose(), b"hunter2");
/// assert_eq!(format!("{secret:?}"), "Secret(***)");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Option<Arc<[u8]>>);

impl Secret {
    /// Returns the value.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Returns whether there is no secret.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Returns the text that is shown instead of the value.
    fn redacted(&self) -> &'static str {
        if self.is_empty() { "" } else { "***" }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.redacted())
    }
}

/// Serializes `***`, or an empty string if there is no secret.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.redacted())
    }
}

impl From<Vec<u8>> for Secret {
    fn from(secret: Vec<u8>) -> Self {
        Self((!secret.is_empty()).then(|| secret.into()))
    }
}

impl From<&[u8]> for Secret {
    fn from(secret: &[u8]) -> Self {
        secret.to_vec().into()
    }
}

impl From<&str> for Secret {
    fn from(secret: &str) -> Self {
        secret.as_bytes().into()
    }
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        secret.into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_and_serialization_hide_the_value() {
        let secret = Secret::from("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(serde_json::to_value(&secret).unwrap(), "***");
        let none = Secret::from("");
        assert_eq!(format!("{none:?}"), "Secret()");
        assert_eq!(serde_json::to_value(&none).unwrap(), "");
    }
}
