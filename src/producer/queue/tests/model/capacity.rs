//! Who is accepted, and who waits for capacity.

use super::*;

impl World<'_> {
    /// Whether nothing waits that comes before this publish: those of its topic, and those of
    /// topics that are not full.
    pub(super) fn may_overtake(&self, id: usize) -> bool {
        let topic = self.publishes[id].topic;
        let mut others = self.publishes[self.done..].iter();
        !others.any(|other| {
            let comes_before = other.topic == topic || !self.is_topic_full(other.topic);
            other.stage == Stage::Waiting && comes_before
        })
    }

    /// Does what one poll after the other of the producer would do.
    pub(super) fn finish_jobs(&mut self) {
        let mut polls = 0;
        loop {
            self.queue.work();
            self.queue.admit_waiters();
            let is_left = self.queue.renew_budget();
            polls += 1;
            if !is_left {
                break;
            }
            assert!(polls < 10_000, "a job does not end");
        }
        if polls > 2 {
            self.count.add("job of several polls");
        }
    }

    /// What the queue holds.
    pub(super) fn held(&self) -> Usage {
        self.usage(&[Stage::Waiting, Stage::Done, Stage::Moving])
    }

    /// What counts against the limits: also what is on its way to another queue.
    pub(super) fn used(&self) -> Usage {
        self.usage(&[Stage::Waiting, Stage::Done])
    }

    fn usage(&self, without: &[Stage]) -> Usage {
        let mut usage = Usage::default();
        for publish in &self.publishes[self.done..] {
            if !without.contains(&publish.stage) && !publish.is_ping() {
                usage.add(Usage::one(publish.size()));
            }
        }
        usage
    }

    pub(super) fn is_topic_full(&self, topic: &str) -> bool {
        let Some(limit) = self.kind.limits.pending_per_topic else {
            return false;
        };
        let held = self.publishes[self.done..].iter().filter(|publish| {
            let is_held = !matches!(publish.stage, Stage::Waiting | Stage::Done);
            is_held && publish.topic == topic
        });
        held.count() >= limit
    }

    pub(super) fn has_capacity(&self, publishes: usize, bytes: usize) -> bool {
        let mut held = self.used();
        held.add(Usage { publishes, bytes });
        let limit = self.kind.limits.pending;
        held.publishes <= limit.publishes && held.bytes <= limit.bytes
    }

    /// Those that wait for capacity are accepted in their order: of all topics, or of each if a
    /// topic has a limit.
    pub(super) fn admit(&mut self) {
        let waits: Vec<_> = self
            .queue
            .admission
            .waiting()
            .map(|caller| caller.id)
            .collect();
        let mut overtaken = Vec::new();
        for id in self.done..self.publishes.len() {
            let (stage, topic) = (self.publishes[id].stage, self.publishes[id].topic);
            if stage != Stage::Waiting {
                continue;
            }
            if waits.contains(&id) {
                overtaken.push(topic);
                continue;
            }
            let is_first = match self.kind.limits.pending_per_topic {
                Some(_) => !overtaken.contains(&topic),
                None => overtaken.is_empty(),
            };
            assert!(is_first, "{id} overtakes another");
            self.publishes[id].stage = Stage::Queued;
            self.counters.published += 1;
        }
    }

    /// Nothing waits for which there is capacity.
    pub(super) fn check_waiting(&self) {
        let waiting = self.publishes[self.done..].iter();
        let mut waiting = waiting.filter(|publish| {
            publish.stage == Stage::Waiting && !self.is_topic_full(publish.topic)
        });
        let lacks = |publish: &Publish| !self.has_capacity(1, publish.size());
        let first_lacks = match self.kind.limits.pending_per_topic {
            Some(_) => waiting.clone().next().is_none() || waiting.any(lacks),
            None => waiting.next().is_none_or(lacks),
        };
        assert!(first_lacks, "a publish waits for which there is capacity");
    }
}
