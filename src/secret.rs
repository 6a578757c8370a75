//! A secret that does not show itself.

use std::{fmt, sync::Arc};

/// What only nsqd may learn, such as the secret of AUTH. Neither `Debug` nor any log line, error or statistic shows it, nor its
/// length.
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
    /// The secret itself; empty where there is none.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Whether there is none, which is what an empty one means.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() {
            "Secret()"
        } else {
            "Secret(***)"
        })
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
