//! The two nsqds, each started when its first row is played, with the same limits.

use std::sync::{Mutex, PoisonError};

use actix_nsq::embedded::EmbeddedNsqd;

use crate::support::broker::Kind;
use crate::support::real_nsqd::RealNsqd;

/// Small limits, so that rows beyond them are short.
const MAX_MSG_SIZE: usize = 1024;
const MAX_BODY_SIZE: usize = 2048;
const MAX_RDY_COUNT: usize = 100;

/// Both are ended when this is dropped.
#[derive(Debug, Default)]
pub struct Peers {
    embedded: Mutex<Option<EmbeddedNsqd>>,
    real: Mutex<Option<RealNsqd>>,
}

impl Peers {
    /// Where the nsqd of this kind listens.
    pub fn address(&self, kind: Kind) -> std::io::Result<String> {
        match kind {
            Kind::Embedded => {
                let mut nsqd = self.embedded.lock().unwrap_or_else(PoisonError::into_inner);
                let nsqd = match &mut *nsqd {
                    Some(nsqd) => nsqd,
                    none => none.insert(embedded()?),
                };
                Ok(nsqd.address().to_string())
            }
            Kind::Real => {
                let mut nsqd = self.real.lock().unwrap_or_else(PoisonError::into_inner);
                let nsqd = match &mut *nsqd {
                    Some(nsqd) => nsqd,
                    none => none.insert(real()?),
                };
                Ok(nsqd.address())
            }
        }
    }
}

fn embedded() -> std::io::Result<EmbeddedNsqd> {
    EmbeddedNsqd::builder()
        .max_msg_size(MAX_MSG_SIZE)
        .max_body_size(MAX_BODY_SIZE)
        .max_rdy_count(MAX_RDY_COUNT)
        .start()
}

fn real() -> std::io::Result<RealNsqd> {
    RealNsqd::start(&[
        format!("--max-msg-size={MAX_MSG_SIZE}"),
        format!("--max-body-size={MAX_BODY_SIZE}"),
        format!("--max-rdy-count={MAX_RDY_COUNT}"),
    ])
}
