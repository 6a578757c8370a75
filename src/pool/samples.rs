//! The metrics of a pool.

use std::sync::Arc;

use super::stats::{MemberState, MemberStats, PoolStats};
use crate::{
    metrics::{Metric, Sample, Samples},
    producer::{add_results, add_topics},
};

const PUBLISHES: Metric = ("nsq_pool_publishes_total", "Publishes by their result.");
const TOPIC_PUBLISHES: Metric = (
    "nsq_pool_topic_publishes_total",
    "Accepted publishes by their topic and result.",
);
const REJECTED: Metric = (
    "nsq_pool_rejected_total",
    "Publishes not written because they were rejected before the queue, or because it was full.",
);
const TIMED_OUT: Metric = (
    "nsq_pool_timed_out_total",
    "Publishes without a result within their timeout.",
);
const MOVED: Metric = (
    "nsq_pool_moved_total",
    "Publishes that left a present member, by the reason.",
);
const MEMBERS: Metric = ("nsq_pool_members", "Members by what they do.");
const WAITING: Metric = (
    "nsq_pool_waiting",
    "Publishes that wait because no member can take them.",
);
const HELD: Metric = (
    "nsq_pool_held",
    "Publishes accepted and without a result, in the pool and in its members.",
);
const HELD_BYTES: Metric = (
    "nsq_pool_held_bytes",
    "Bytes of the bodies of these publishes.",
);
const WAITING_FOR_CAPACITY: Metric = (
    "nsq_pool_waiting_for_capacity",
    "Publishes of handles that wait for capacity.",
);

impl PoolStats {
    /// Returns the statistics as metrics. Those of the members have the label `nsqd`, and the names
    /// of a producer's metrics. Their times are not repeated for the pool: add them up. A member
    /// that is being removed is left out if its nsqd was added again.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = Samples::with_labels(&[]);
        let results = [
            self.ok,
            self.not_written,
            self.maybe_written,
            self.maybe_partial,
        ];
        add_results(&mut samples, PUBLISHES, results);
        let rejected = [
            ("before_queue", self.rejected),
            ("full", self.rejected_full),
        ];
        samples.counters(REJECTED, ("kind", &rejected));
        samples.counter(TIMED_OUT, self.timed_out);
        let states = [
            MemberState::Up,
            MemberState::Suspect,
            MemberState::Down,
            MemberState::Leaving,
        ];
        let members = states.map(|state| {
            let in_state = self.members.iter().filter(|member| member.state == state);
            (state.as_str(), in_state.count())
        });
        samples.gauges(MEMBERS, ("state", &members));
        samples.gauge(WAITING, self.waiting);
        samples.gauge(HELD, self.held);
        samples.gauge(HELD_BYTES, self.held_bytes);
        samples.gauge(WAITING_FOR_CAPACITY, self.waiting_for_capacity);
        add_topics(&mut samples, TOPIC_PUBLISHES, &self.topics);
        let shown = self.members.iter().enumerate();
        for (_, member) in shown.filter(|(index, _)| !self.is_replaced(*index)) {
            let moves = member.moves.by_reason();
            let moves = moves.map(|(reason, count)| (reason.as_str(), count));
            samples.with_label("from", Arc::clone(&member.address), |samples| {
                samples.counters(MOVED, ("reason", &moves));
            });
            samples.extend(member.producer.samples());
        }
        samples.into_vec()
    }

    /// Whether a member is being removed, and its nsqd is a member once more.
    fn is_replaced(&self, index: usize) -> bool {
        let is_leaving = |member: &MemberStats| member.state == MemberState::Leaving;
        let Some(member) = self.members.get(index).filter(|it| is_leaving(it)) else {
            return false;
        };
        let mut others = self.members.iter().enumerate();
        others.any(|(other, it)| it.address == member.address && (!is_leaving(it) || other > index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metrics::Latency,
        pool::{MoveCounts, PoolPhase, PoolState},
        producer::samples::tests::{lines, numbered},
    };

    fn member(address: &str, state: MemberState) -> MemberStats {
        MemberStats {
            address: address.into(),
            state,
            moved_to: 1,
            moved_from: 2,
            moves: MoveCounts {
                disconnected: 3,
                rejected: 4,
                slow: 5,
                removed: 6,
            },
            producer: numbered(address),
        }
    }

    fn pool(members: Vec<MemberStats>) -> PoolStats {
        PoolStats {
            state: PoolState::new(PoolPhase::Accepting, 1, 2),
            published: 40,
            ok: 41,
            not_written: 42,
            maybe_written: 43,
            maybe_partial: 44,
            rejected: 45,
            rejected_full: 46,
            timed_out: 47,
            moved: 48,
            waiting: 49,
            held: 50,
            held_bytes: 51,
            waiting_for_capacity: 52,
            latency: Latency::default(),
            topics: Vec::new(),
            members,
        }
    }

    #[test]
    fn each_sample_has_its_value() {
        let samples = pool(vec![member("a", MemberState::Suspect)]).samples();
        let lines = lines(&samples, "nsq_pool_");
        let (own, of_producer) = lines.split_at(19);
        let expected = "\
publishes_total ok 41
publishes_total not_written 42
publishes_total maybe_written 43
publishes_total maybe_partial 44
rejected_total before_queue 45
rejected_total full 46
timed_out_total 47
members up 0
members suspect 1
members down 0
members leaving 0
waiting 49
held 50
held_bytes 51
waiting_for_capacity 52
moved_total a disconnected 3
moved_total a rejected 4
moved_total a slow 5
moved_total a removed 6";
        assert_eq!(own.join("\n"), expected);
        assert_eq!(of_producer.len(), numbered("a").samples().len());
    }

    #[test]
    fn member_that_was_added_again_has_one_sample_of_each_metric() {
        use MemberState::{Leaving, Up};

        for states in [vec![Leaving, Up], vec![Up, Leaving], vec![Leaving, Leaving]] {
            let members = states.iter().map(|state| member("a", *state)).collect();
            let samples = pool(members).samples();
            let up = samples.iter().filter(|it| it.name == "nsq_producer_up");
            assert_eq!(up.count(), 1, "{states:?}");
        }
    }
}
