//! Which deliveries are on the wire or unanswered.

/// All deliveries of a schedule, by number.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    all: Vec<State>,
    live: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    OnTheWire,
    Unanswered,
    /// Answered, expired, requeued by nsqd, or lost with its connection.
    Ended,
}

impl Deliveries {
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many are on the wire or unanswered.
    pub(super) fn live(&self) -> u64 {
        self.live
    }

    pub(super) fn is_live(&self, number: usize) -> bool {
        self.all[number] != State::Ended
    }

    /// nsqd sends a message. Returns the number of this delivery.
    pub(super) fn send(&mut self) -> usize {
        self.all.push(State::OnTheWire);
        self.live += 1;
        self.all.len() - 1
    }

    pub(super) fn arrive(&mut self, number: usize) {
        if self.all[number] == State::OnTheWire {
            self.all[number] = State::Unanswered;
        }
    }

    /// The connection is lost: what is on the wire never arrives.
    pub(super) fn lose(&mut self, number: usize) {
        if self.all[number] == State::OnTheWire {
            self.end(number);
        }
    }

    pub(super) fn end(&mut self, number: usize) {
        if self.is_live(number) {
            self.all[number] = State::Ended;
            self.live -= 1;
        }
    }
}
