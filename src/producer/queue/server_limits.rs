//! Limits that nsqd named in error responses.

use crate::{
    error::Cause,
    producer::payload::Payload,
    protocol::{ErrorCode, ServerError},
};

/// The latest error response of each code that named a limit.
///
/// nsqd reports its limits in no other way. A publish above one of them is rejected here, because
/// nsqd would close the connection.
#[derive(Debug, Default)]
pub(super) struct ServerLimits(Vec<ServerError>);

impl ServerLimits {
    /// Stores the limit that `error` names, if any.
    pub(super) fn learn(&mut self, error: &ServerError) {
        if error.named_limit().is_some() {
            self.0.retain(|known| known.code() != error.code());
            self.0.push(error.clone());
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the maximum size of an MPUB that nsqd accepts, as far as it is known.
    pub(super) fn batch_bytes(&self) -> Option<usize> {
        let bodies = self
            .0
            .iter()
            .filter(|known| known.code() == ErrorCode::BadBody);
        let limits = bodies.filter_map(ServerError::named_limit);
        limits
            .map(|named| usize::try_from(named.limit).unwrap_or(usize::MAX))
            .min()
    }

    /// Returns why nsqd would reject `payload`, if a known limit says so.
    pub(super) fn exceeded_by(&self, payload: &Payload) -> Option<Cause> {
        self.0.iter().find_map(|known| {
            let size = payload.exceeds(known)?;
            Some(Cause::ExceedsServerLimit {
                size,
                error: known.clone(),
            })
        })
    }
}
