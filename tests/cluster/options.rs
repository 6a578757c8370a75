//! The size of a campaign, from the environment.

use std::time::Duration;

use crate::layout::Layout;
use crate::support::scaled;

/// A pool has at most 64 members.
const MAX_NSQDS: u64 = 64;

#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub seed: u64,
    pub layout: Layout,
    /// The time of the faults.
    pub length: Duration,
}

impl Options {
    /// Reads `CLUSTER_SEED`, `CLUSTER_NSQDS` and `CLUSTER_SECONDS`.
    pub fn from_env() -> Result<Self, String> {
        let nsqds = number("CLUSTER_NSQDS")?.unwrap_or(scaled(4, 10));
        if !(2..=MAX_NSQDS).contains(&nsqds) {
            return Err(format!(
                "CLUSTER_NSQDS is {nsqds}: must be 2 to {MAX_NSQDS}"
            ));
        }
        let length = number("CLUSTER_SECONDS")?.unwrap_or(scaled(15, 60));
        Ok(Self {
            seed: number("CLUSTER_SEED")?.unwrap_or_else(|| fastrand::u64(..1_000_000)),
            layout: Layout {
                nsqds: nsqds as usize,
            },
            length: Duration::from_secs(length),
        })
    }
}

fn number(name: &str) -> Result<Option<u64>, String> {
    let Some(text) = std::env::var_os(name).filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let text = text.to_string_lossy();
    match text.parse() {
        Ok(number) => Ok(Some(number)),
        Err(_) => Err(format!("{name} is {text:?}: must be a number")),
    }
}
