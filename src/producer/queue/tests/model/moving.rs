//! Publishes that go to another queue of a pool and come back.

use super::*;

impl World<'_> {
    /// Everything that is queued goes to another queue; what is in flight stays.
    pub(super) fn give_back(&mut self) -> Due {
        if !self.moving.is_empty() || !self.kind.limits.is_pooled {
            return Due::new();
        }
        self.queue.give_back();
        self.finish_jobs();
        self.moving = self.queue.pooled().expect("a member").take_given_back();
        let ids: Vec<_> = self.moving.iter_mut().map(id).collect();
        for topic in self.kind.topics {
            let of_topic = ids.iter().filter(|id| {
                let publish = &self.publishes[**id];
                publish.topic == *topic && !publish.moved
            });
            assert!(of_topic.is_sorted(), "{ids:?} are in order");
        }
        for (id, publish) in self.publishes.iter_mut().enumerate().skip(self.done) {
            let is_queued = publish.stage == Stage::Queued && !publish.is_ping();
            assert_eq!(ids.contains(&id), is_queued, "{id} is given back");
            if is_queued {
                publish.stage = Stage::Moving;
                publish.moved = true;
                self.count.add("given back");
            }
        }
        self.moving.note_given_back(1, self.now);
        for moved in self.moving.iter_mut() {
            let (id, tried) = (id(moved), moved.tried().expect("a member"));
            assert_eq!(tried.excluded(u64::MAX, self.now).0, 1);
            if tried.rejected_by_all(1).is_some() {
                assert!(self.publishes[id].written, "{id} was rejected before");
                self.count.add("given back, rejected by one nsqd");
            }
        }
        Due::new()
    }

    /// They come back, before those that were accepted later.
    pub(super) fn take_in(&mut self) -> Due {
        let mut moving = std::mem::replace(&mut self.moving, Moving::new(Vec::new()));
        for moved in moving.iter_mut() {
            self.publishes[id(moved)].stage = Stage::Queued;
            self.count.add("taken in");
        }
        self.queue.take_in(moving);
        Due::new()
    }

    /// They reach no other queue.
    pub(super) fn drop_moving(&mut self) -> Due {
        let mut moving = std::mem::replace(&mut self.moving, Moving::new(Vec::new()));
        let mut due = Due::new();
        for moved in moving.iter_mut() {
            let publish = &mut self.publishes[id(moved)];
            due.push((
                publish.id,
                Outcome::Failed(ErrorKind::Closed, publish.not_now()),
            ));
            publish.stage = Stage::Done;
        }
        due
    }
}

fn id(moved: &mut Pending<Caller>) -> usize {
    moved.reply_mut().expect("a caller").id
}
