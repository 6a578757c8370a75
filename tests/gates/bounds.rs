//! Upper bounds of what a message costs, each with its reason.
//!
//! Costs are counted, not timed, in steady state. Publishes: 200 bytes through `Addr::send`, where
//! each caller waits for its result before it publishes again. Consumed messages: 200 bytes, which
//! an actor on the consumer's arbiter finishes. A figure below its range fails as well: either
//! nothing was counted, or the bound has to follow it.

use std::ops::RangeInclusive;

use crate::measure::{Count, Load, Mode};

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub enum Cost {
    /// On the thread of the client and its callers or handlers, in this process.
    Allocations,
    /// By a tool, in a process of its own.
    Counted(Count),
}

/// The peer that responds.
#[derive(Clone, Copy, Debug)]
pub enum Peer {
    /// See `sink.rs`: the same on every machine.
    Sink,
    /// Three of them, which respond to each command at once, for a pool.
    Sinks,
    /// A real nsqd. Its speed decides how many publishes share a command.
    Nsqd,
    /// See `source.rs`: the same on every machine.
    Source,
}

/// The bounds of one cost per message.
#[derive(Clone, Debug)]
pub struct Bound {
    pub peer: Peer,
    pub load: Load,
    pub cost: Cost,
    pub each: RangeInclusive<f64>,
}

impl Bound {
    /// The name of the trial, such as `sink::callers_64::allocations`.
    pub fn name(&self) -> String {
        let peer = match self.peer {
            Peer::Sink => "sink",
            Peer::Sinks => "sinks",
            Peer::Nsqd => "real",
            Peer::Source => "source",
        };
        let cost = match self.cost {
            Cost::Allocations => "allocations",
            Cost::Counted(Count::ReadsAndWrites) => "reads_and_writes",
            Cost::Counted(Count::SystemCalls) => "system_calls",
            Cost::Counted(Count::Instructions) => "instructions",
        };
        let load = match self.load {
            Load::Publish { callers, options } => {
                let options = options.iter().map(|option| format!(",{option}"));
                format!("callers={callers}{}", options.collect::<String>())
            }
            Load::Handle { callers } => format!("handle,callers={callers}"),
            Load::Pool { callers } => format!("callers={callers}"),
            Load::Consume { mode, .. } => mode.name().to_owned(),
        };
        format!("{peer}::{load}::{cost}")
    }
}

/// Four reads, as nsqd's buffers are: 234 bytes each, in one segment of the loopback.
const MAX_IN_FLIGHT: usize = 276;

const BATCHING: &[&str] = &[];
const ONE_BY_ONE: &[&str] = &["auto_batch=false"];

const READS_AND_WRITES: Cost = Cost::Counted(Count::ReadsAndWrites);
const SYSTEM_CALLS: Cost = Cost::Counted(Count::SystemCalls);
const INSTRUCTIONS: Cost = Cost::Counted(Count::Instructions);

/// All bounds. "Counted" is the result of ten runs. With the sink, runs differ by less than 0.1 %.
pub fn bounds() -> Vec<Bound> {
    use Cost::Allocations;
    use Peer::{Nsqd, Sink, Sinks, Source};
    let bound = |peer, callers, options, cost, each| Bound {
        peer,
        load: Load::Publish { callers, options },
        cost,
        each,
    };
    let handled = |callers, cost, each| Bound {
        peer: Sink,
        load: Load::Handle { callers },
        cost,
        each,
    };
    let pooled = |cost, each| Bound {
        peer: Sinks,
        load: Load::Pool { callers: 64 },
        cost,
        each,
    };
    let consumed = |mode, cost, each| Bound {
        peer: Source,
        load: Load::Consume {
            max_in_flight: MAX_IN_FLIGHT,
            mode,
        },
        cost,
        each,
    };
    vec![
        // actix allocates three times per `send`: envelope, place in the mailbox, oneshot channel.
        // A burst of any size takes four more. Counted: 3.063, and 7 for a single publish. One
        // more per burst would be 3.078 and 8.
        bound(Sink, 64, BATCHING, Allocations, 3.0..=3.07),
        bound(Sink, 64, ONE_BY_ONE, Allocations, 3.0..=3.07),
        bound(Sink, 1, BATCHING, Allocations, 3.0..=7.1),
        // One write and one read per burst, which is the minimum. Without batching 0.0312 to 0.0322
        // were counted, the latter on a busy machine; one more per burst would be 0.047.
        bound(Sink, 64, BATCHING, READS_AND_WRITES, per(64, 2)),
        bound(Sink, 64, ONE_BY_ONE, READS_AND_WRITES, 0.03..=0.035),
        bound(Sink, 1, BATCHING, READS_AND_WRITES, per(1, 2)),
        // In addition, tokio polls the socket: when idle, after 61 tasks, and when a task yields.
        // There is no timer, and no other thread is woken.
        bound(Sink, 64, BATCHING, SYSTEM_CALLS, per(64, 4)),
        bound(Sink, 64, ONE_BY_ONE, SYSTEM_CALLS, per(64, 5)),
        bound(Sink, 1, BATCHING, SYSTEM_CALLS, per(1, 3)),
        // Counted with Rust 1.95: 2,279, without batching 3,433, a single publish 10,105. The
        // margin of 2 % is for other compilers and C libraries. Another copy of each body costs
        // 270; reading the clock for each publish costs 30, which passes.
        bound(Sink, 64, BATCHING, INSTRUCTIONS, 1_100.0..=2_340.0),
        bound(Sink, 64, ONE_BY_ONE, INSTRUCTIONS, 1_600.0..=3_510.0),
        bound(Sink, 1, BATCHING, INSTRUCTIONS, 5_000.0..=10_310.0),
        // Through a handle a burst takes two more, for the message that announces the list of
        // publishes, and a publish takes none. Counted: 0.0938 and 6; 1,610 and 10,196.
        handled(64, Allocations, 0.06..=0.1),
        handled(1, Allocations, 5.0..=6.1),
        handled(64, READS_AND_WRITES, per(64, 2)),
        handled(64, INSTRUCTIONS, 800.0..=1_650.0),
        handled(1, INSTRUCTIONS, 5_000.0..=10_400.0),
        // The timing of nsqd varies, and strace slows the client. With batching 64 publishes are up
        // to four commands; most often they are written and answered together. Counted: 0.0305 to
        // 0.0321; the bound allows for a write and a read for each. Of 1,024 publishes at
        // most 256 share a command, and eight commands may be in flight. Counted: 0.0033 to 0.0071;
        // the bound is twice the cost of eight commands. Without batching nsqd writes each response
        // by itself. Counted: 0.06 to 0.16; one read per response, or one write per publish, would
        // exceed 1.
        bound(Nsqd, 64, BATCHING, READS_AND_WRITES, 0.03..=0.125),
        bound(Nsqd, 1_024, BATCHING, READS_AND_WRITES, 0.0019..=0.0313),
        bound(Nsqd, 64, ONE_BY_ONE, READS_AND_WRITES, 0.03..=0.35),
        // A pool of three. All publishes of a burst go to one member, with one message, one write
        // and one read: at least nine tenths as many share a command as with a single producer.
        // Counted: 3.098, 0.0314 and 2,654, which is 1.16 times what a single producer takes; the
        // rest of the CPU time is the system's, which is the same.
        pooled(Allocations, 3.0..=3.2),
        pooled(READS_AND_WRITES, 0.028..=2.0 / 64.0 / 0.9),
        pooled(INSTRUCTIONS, 1_300.0..=2_740.0),
        // actix allocates twice per `do_send`: envelope and place in the mailbox. A read takes some
        // more: its buffer, its frames and a place for them. Counted: 2.040 and 0.051, with
        // the strong address that the reader keeps for 100 ms after the response to its SUB. A
        // longer run takes three more per read.
        consumed(Mode::Each, Allocations, 2.0..=2.2),
        consumed(Mode::Batches, Allocations, 0.04..=0.2),
        // 276 messages come with four reads, and one write finishes them. Counted: 0.0181, which is
        // the minimum.
        consumed(Mode::Each, READS_AND_WRITES, 0.0177..=0.02),
        consumed(Mode::Batches, READS_AND_WRITES, 0.0177..=0.02),
        // Counted with Rust 1.95: 1,691 and 980. The margin is 4 %, and 2 %. The handler uses
        // `settle`; `finish`, which reads the clock, takes about 70 more.
        consumed(Mode::Each, INSTRUCTIONS, 850.0..=1_760.0),
        consumed(Mode::Batches, INSTRUCTIONS, 490.0..=1_000.0),
    ]
}

/// `count` per round of `publishes`, within 2 %: the longer run may wait where the shorter does
/// not.
fn per(publishes: u32, count: u32) -> RangeInclusive<f64> {
    let each = f64::from(count) / f64::from(publishes);
    0.98 * each..=1.02 * each
}
