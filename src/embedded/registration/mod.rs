//! The registration of an embedded nsqd with nsqlookupds, and its queries for the channels of a new
//! topic.

mod channels;
mod peer;
mod registrar;
mod task;

pub(super) use registrar::{Registrar, RegistrarRequests, Starting};
pub(super) use task::{Announcement, spawn};
