//! Pings among the publishes.

use super::*;

impl World<'_> {
    pub(super) fn ping(&mut self) -> Due {
        let id = self.gone.len();
        let timeout = Duration::from_millis(self.rng.u64(0..500));
        let gone = Rc::new(Cell::new(false));
        self.gone.push(Rc::clone(&gone));
        self.fates.push(Fate {
            ping: true,
            ..Fate::default()
        });
        let caller = Caller {
            id,
            gone,
            book: Rc::clone(&self.book),
        };
        self.queue.ping(timeout, self.now, caller);
        let entry = Entry::new(id, Verb::Identify, "", self.now + timeout);
        self.reference.ping(entry);
        Due::new()
    }

    /// Takes note of those that will not be handed over, since nobody waits for them.
    pub(super) fn forget_pings(&mut self) {
        for entry in &self.reference.entries {
            if entry.is_ping() && entry.waits() && entry.cancelled {
                self.fates[entry.id].forgotten = true;
                self.count.add("ping forgotten");
            }
        }
        self.reference.forget_pings();
    }
}
