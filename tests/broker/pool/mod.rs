//! A pool of producers over several nsqds.

mod failover;
mod fixture;

use crate::harness::Scenario;

pub fn scenarios() -> Vec<Scenario> {
    [failover::scenarios()].concat()
}
