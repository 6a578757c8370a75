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

/// Handles the messages of this module, and the subscriptions to
/// [`LookupEvent`](super::LookupEvent), in an actor that discovers nsqds: one with the fields
/// `config`, `drain` and `discovering`, and a method `discovery` that starts the discovery if there
/// is none.
macro_rules! handle_lookup_messages {
    ($Owner:ident) => {
        const _: () = {
            use actix::{Context, Handler, ResponseFuture};

            use $crate::{
                error::AddLookupdError,
                link::{Pumped, SubscribeEvents, Unsubscribe},
                lookup::{
                    AddLookupd, GetLookupState, LookupEvent, LookupState, Refresh, RemoveLookupd,
                },
            };

            impl Handler<AddLookupd> for $Owner {
                type Result = Result<(), AddLookupdError>;

                fn handle(
                    &mut self,
                    AddLookupd(address): AddLookupd,
                    ctx: &mut Context<Self>,
                ) -> Self::Result {
                    self.on_message(ctx);
                    if self.drain.has_begun() {
                        return Err(AddLookupdError::Drained);
                    }
                    let config = self.config.lookup().clone();
                    Ok(self.discovery(ctx).add(&config, &address)?)
                }
            }

            impl Handler<RemoveLookupd> for $Owner {
                type Result = ResponseFuture<bool>;

                fn handle(
                    &mut self,
                    RemoveLookupd(address): RemoveLookupd,
                    ctx: &mut Context<Self>,
                ) -> Self::Result {
                    self.on_message(ctx);
                    match &self.discovering.discovery {
                        Some(discovery) => Box::pin(discovery.remove(&address)),
                        None => Box::pin(async { false }),
                    }
                }
            }

            impl Handler<Refresh> for $Owner {
                type Result = ResponseFuture<bool>;

                fn handle(&mut self, _: Refresh, ctx: &mut Context<Self>) -> Self::Result {
                    self.on_message(ctx);
                    match &self.discovering.discovery {
                        Some(discovery) => Box::pin(discovery.refresh()),
                        None => Box::pin(async { false }),
                    }
                }
            }

            impl Handler<GetLookupState> for $Owner {
                type Result = ResponseFuture<LookupState>;

                fn handle(&mut self, _: GetLookupState, ctx: &mut Context<Self>) -> Self::Result {
                    self.on_message(ctx);
                    match &self.discovering.discovery {
                        Some(discovery) => Box::pin(discovery.state()),
                        None => Box::pin(async { LookupState::default() }),
                    }
                }
            }

            /// A subscriber gets no current state: [`GetLookupState`] returns it.
            impl Handler<SubscribeEvents<LookupEvent>> for $Owner {
                type Result = ();

                fn handle(
                    &mut self,
                    SubscribeEvents(to): SubscribeEvents<LookupEvent>,
                    ctx: &mut Context<Self>,
                ) {
                    self.on_message(ctx);
                    self.discovering.observers.add(to, None);
                    self.forget_subscribers_if_drained();
                }
            }

            impl Handler<Unsubscribe<LookupEvent>> for $Owner {
                type Result = ();

                fn handle(
                    &mut self,
                    Unsubscribe(to): Unsubscribe<LookupEvent>,
                    ctx: &mut Context<Self>,
                ) {
                    self.on_message(ctx);
                    self.discovering.observers.remove(&to);
                }
            }
        };
    };
}

pub(crate) use handle_lookup_messages;
