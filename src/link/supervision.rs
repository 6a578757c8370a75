//! How the contexts of a supervised actor follow one another.

use actix::{Actor, Addr, AsyncContext, Context};

/// Decides whether an actor that stops is restarted: as long as an address of it is left.
pub(crate) struct Supervision<A: Actor<Context = Context<A>>> {
    /// Address held while the actor restarts: the supervisor restarts only an actor that has one.
    restarting: Option<Addr<A>>,
    /// The last address is dropped: the actor is not restarted.
    is_unused: bool,
    /// Dropped together with the actor.
    _guard: Option<Box<dyn Send>>,
}

impl<A: Actor<Context = Context<A>>> Supervision<A> {
    pub(crate) fn new(guard: Option<Box<dyn Send>>) -> Self {
        Self {
            restarting: None,
            is_unused: false,
            _guard: guard,
        }
    }

    /// The last address is dropped.
    pub(crate) fn set_unused(&mut self) {
        self.is_unused = true;
    }

    /// A context stops. Whether the actor is still used is decided by the next context's pump: the
    /// mailbox may hold a message whose sender has dropped the last address.
    pub(crate) fn on_stopping(&mut self, ctx: &Context<A>) {
        if !self.is_unused {
            self.restarting = Some(ctx.address());
        }
    }

    /// The next context starts.
    pub(crate) fn on_restarting(&mut self) {
        self.restarting = None;
        // Another thread may have upgraded a weak address while the last one was dropped.
        self.is_unused = false;
    }
}
