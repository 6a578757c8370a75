//! What a publish may cost, and why so much.
//!
//! All of it is counted, never timed, in steady state: 200 bytes through `Addr::send`, each caller waiting for its answer
//! before it publishes again. A figure below its range is a failure as well: it was not counted, or the bound is to follow it.

use std::ops::RangeInclusive;

use crate::measure::{Count, Load};

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub enum Cost {
    /// Those on the thread of producer and callers, in this process.
    Allocations,
    /// What the tools count in a process of its own.
    Counted(Count),
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// See `sink.rs`: the same on every machine.
    Sink,
    /// A real nsqd: how many publishes share a command is a matter of speed.
    Nsqd,
}

/// What each publish of a load may cost.
#[derive(Clone, Debug)]
pub struct Bound {
    pub peer: Peer,
    pub load: Load,
    pub cost: Cost,
    pub each: RangeInclusive<f64>,
}

impl Bound {
    /// The name of its trial, such as `sink::callers_64::allocations`.
    pub fn name(&self) -> String {
        let peer = match self.peer {
            Peer::Sink => "sink",
            Peer::Nsqd => "real",
        };
        let cost = match self.cost {
            Cost::Allocations => "allocations",
            Cost::Counted(Count::ReadsAndWrites) => "reads_and_writes",
            Cost::Counted(Count::SystemCalls) => "system_calls",
            Cost::Counted(Count::Instructions) => "instructions",
        };
        let Load { callers, options } = self.load;
        let options: String = options.iter().map(|option| format!(",{option}")).collect();
        format!("{peer}::callers={callers}{options}::{cost}")
    }
}

const BATCHING: &[&str] = &[];
const ONE_BY_ONE: &[&str] = &["auto_batch=false"];

const READS_AND_WRITES: Cost = Cost::Counted(Count::ReadsAndWrites);
const SYSTEM_CALLS: Cost = Cost::Counted(Count::SystemCalls);
const INSTRUCTIONS: Cost = Cost::Counted(Count::Instructions);

/// All of them. "Counted" is what ten runs said; against the sink they differ by less than 0.1 %.
pub fn bounds() -> Vec<Bound> {
    use Cost::Allocations;
    use Peer::{Nsqd, Sink};
    let bound = |peer, callers, options, cost, each| Bound {
        peer,
        load: Load { callers, options },
        cost,
        each,
    };
    vec![
        // actix takes three for each `send`: the envelope, its place in the mailbox, the way back. A burst of whatever size
        // takes seven more. Counted: 3.109, and 10 alone. One more for each burst would be 3.125 and 11.
        bound(Sink, 64, BATCHING, Allocations, 3.0..=3.115),
        bound(Sink, 64, ONE_BY_ONE, Allocations, 3.0..=3.115),
        bound(Sink, 1, BATCHING, Allocations, 3.0..=10.1),
        // One write and one read for a burst, whatever it carries. There is nothing below that.
        bound(Sink, 64, BATCHING, READS_AND_WRITES, per(64, 2)),
        bound(Sink, 64, ONE_BY_ONE, READS_AND_WRITES, per(64, 2)),
        bound(Sink, 1, BATCHING, READS_AND_WRITES, per(1, 2)),
        // Besides: waiting for the socket, and looking at it in between, which tokio does after 61 tasks and for a task that yields.
        // No timer and no waking of another thread is among them.
        bound(Sink, 64, BATCHING, SYSTEM_CALLS, per(64, 4)),
        bound(Sink, 64, ONE_BY_ONE, SYSTEM_CALLS, per(64, 5)),
        bound(Sink, 1, BATCHING, SYSTEM_CALLS, per(1, 3)),
        // Counted with Rust 1.95: 2,196, one by one 3,208, alone 10,091. The 4 % above are for other compilers and C libraries. To
        // copy each body once more takes 270; to look at the clock for each publish takes 30, and passes.
        bound(Sink, 64, BATCHING, INSTRUCTIONS, 1_100.0..=2_285.0),
        bound(Sink, 64, ONE_BY_ONE, INSTRUCTIONS, 1_600.0..=3_340.0),
        bound(Sink, 1, BATCHING, INSTRUCTIONS, 5_000.0..=10_500.0),
        // nsqd answers when it likes, and strace slows us down. Batching makes even of that one write and one read for all
        // 64, nearly each time; the bound allows for rounds that fall in four. Of 1,024 at most 256 share a command, and eight commands
        // may be in flight; counted: 0.0033 to 0.0066, and allowed is twice what eight make. Without batching it is nsqd that writes each answer
        // by itself; counted: 0.06 to 0.13, where a read for each answer, or a write for each publish, would be above 1.
        bound(Nsqd, 64, BATCHING, READS_AND_WRITES, 0.03..=0.125),
        bound(Nsqd, 1_024, BATCHING, READS_AND_WRITES, 0.0019..=0.0313),
        bound(Nsqd, 64, ONE_BY_ONE, READS_AND_WRITES, 0.03..=0.35),
    ]
}

/// So many for each round of so many publishes, and up to 2 % more: the longer run may have had to wait where the shorter had
/// not.
fn per(publishes: u32, count: u32) -> RangeInclusive<f64> {
    let each = f64::from(count) / f64::from(publishes);
    0.98 * each..=1.02 * each
}
