//! A pool of producers over several nsqds.

mod answers;
mod discovery;
mod failover;
mod fixture;
mod membership;
mod rejection;
mod slow;

use crate::harness::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    [
        answers::scenarios(),
        discovery::scenarios(),
        failover::scenarios(),
        membership::scenarios(),
        rejection::scenarios(),
        slow::scenarios(),
    ]
    .concat()
}
