//! The name of a held message. Pure.

/// Names a held message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::consumer) struct Ticket {
    pub(super) slot: u32,
    pub(super) generation: u32,
}

impl Ticket {
    /// The ticket of a message that is in no consumer.
    pub(in crate::consumer) const DETACHED: Self = Self {
        slot: u32::MAX,
        generation: 0,
    };
}
