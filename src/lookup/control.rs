//! Messages that change a discovery while it runs. Each actor that discovers nsqds handles them.

use actix::Message;

use super::state::LookupState;
use crate::error::AddLookupdError;

/// Queries one more nsqlookupd, at once. An address that is there already is ignored. The address
/// is written as for [`LookupConfig`](crate::LookupConfig).
///
/// With `https` and without `tls_v1` the files of the `tls_*` options are read now, unless another
/// address had `https` before.
///
/// # Errors
///
/// [`AddLookupdError`] if the address is invalid or the actor is drained.
///
/// # Cancel safety
///
/// A request dropped before the actor has received it has no effect. Later, the nsqlookupd is
/// added.
#[derive(Clone, Message)]
#[rtype(result = "Result<(), AddLookupdError>")]
pub struct AddLookupd(pub String);

/// Queries an nsqlookupd no more. Returns whether it was there. The last one can be removed as
/// well.
///
/// Connections stay. What only this nsqlookupd has named is forgotten as soon as its connection is
/// lost, if another nsqlookupd answers; if none is left, lost connections are made again.
#[derive(Clone, Message)]
#[rtype(result = "bool")]
pub struct RemoveLookupd(pub String);

/// Queries all nsqlookupds now. Returns whether there are any. The reply does not wait for their
/// answers.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "bool")]
pub struct Refresh;

/// Returns what is known of the nsqlookupds and nsqds; without nsqlookupds, nothing.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "LookupState")]
pub struct GetLookupState;

/// The query of an address may contain a secret.
macro_rules! debug_without_query {
    ($($Name:ident)+) => {
        $(
            impl std::fmt::Debug for $Name {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    let (shown, _) = self.0.split_once(['?', '#']).unwrap_or((&self.0, ""));
                    let shown = if self.0.contains('@') { "***" } else { shown };
                    f.debug_tuple(stringify!($Name)).field(&shown).finish()
                }
            }
        )+
    };
}

debug_without_query!(AddLookupd RemoveLookupd);
