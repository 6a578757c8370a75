//! Answers, and how a connection ends.

use super::*;

impl World<'_> {
    pub(super) fn frame_arrives(&mut self) -> Due {
        let Some(link) = &mut self.link else {
            return Due::new();
        };
        if link.frames.is_empty() {
            return Due::new();
        }
        let Answer { start, error } = link.frames.remove(0);
        let starts = &link.starts;
        let id = starts.iter().find(|(at, _)| *at == start).unwrap().1;
        let ids = self.reference.flight[0].ids.clone();
        assert_eq!(ids[0], id, "whose answer it is");
        let folded = ids.len() > 1;
        let Some(text) = error else {
            self.queue.ok(link.taken as u64, self.now).unwrap();
            let due = self.reference.ok();
            self.count
                .add(if due.is_empty() { "late OK" } else { "OK" });
            if folded && due.len() < ids.len() {
                self.count.add("late OK for some of a fold");
            }
            return due;
        };
        link.state = if self.rng.u32(0..10) > 0 {
            State::Refused
        } else {
            // More frames follow: so it is no nsqd, and nothing behind the refusal is sure.
            self.count.add("more after a refusal");
            State::Closing
        };
        self.queue.refused(&refusal(&text)).unwrap();
        let due = self.reference.refused(&text);
        if folded {
            self.count.add(if text.contains("failed to read") {
                "fold: slow upload"
            } else if text.starts_with("E_BAD_MESSAGE") && text.contains(" > ") {
                "fold: named message limit"
            } else if text.starts_with("E_BAD_MESSAGE") {
                "fold: unwelcome message"
            } else if text.starts_with("E_BAD_BODY") {
                "fold: named body limit"
            } else if text.starts_with("E_BAD_TOPIC") {
                "fold: E_BAD_TOPIC"
            } else if text.starts_with("E_UNAUTHORIZED") {
                "fold: E_UNAUTHORIZED"
            } else if text.starts_with("E_MPUB_FAILED") {
                "fold: E_MPUB_FAILED"
            } else if text.starts_with("E_SHINY") {
                "fold: unknown code"
            } else {
                "fold: another known code"
            });
        }
        self.count.add(if self.fates[id].ping {
            "ping refused"
        } else if text.contains("failed to read") {
            "slow upload"
        } else if text.contains(" > ") {
            "named limit"
        } else if text.contains("_FAILED") || text.contains("SHINY") || text.contains("INVALID") {
            "refused for trouble"
        } else if text.contains("invalid message") {
            "unwelcome message"
        } else {
            "refused for its topic"
        });
        due
    }

    /// A frame that belongs to nothing, or to what is not wholly sent: it answers nothing, and the connection is lost.
    pub(super) fn out_of_step(&mut self) -> Due {
        let Some(link) = &mut self.link else {
            return Due::new();
        };
        let oldest = self.queue.oldest_end();
        if oldest.is_none_or(|end| end > link.taken as u64) && link.state == State::Open {
            self.queue.ok(link.taken as u64, self.now).unwrap_err();
            if oldest.is_none() {
                self.queue.refused(&refusal("E_INVALID")).unwrap_err();
            }
            link.state = State::Closing;
            // Nothing that such a peer says is believed.
            link.frames.clear();
            link.peer.dead = true;
            self.count.add("out of step");
        }
        Due::new()
    }

    pub(super) fn close(&mut self) -> Due {
        if let Some(link) = &mut self.link
            && link.state == State::Open
        {
            link.state = State::Closing;
        }
        Due::new()
    }

    /// Both sides of the connection have ended.
    pub(super) fn settle(&mut self) -> Due {
        let Some(link) = self.link.take_if(|link| link.state != State::Open) else {
            return Due::new();
        };
        let mut peer = link.peer;
        let taken = link.taken as u64;
        let retry = self.reference.limits.retry_maybe_written;
        let again = self
            .reference
            .entries
            .iter()
            .filter(|entry| !entry.is_ping())
            .filter(|entry| match entry.place {
                Place::Flying(end) => link.state == State::Refused || end > taken || retry,
                _ => false,
            });
        let mut expected = Settlement {
            resent: again.count(),
            unknown: 0,
        };
        let due = match link.state {
            State::Refused => {
                let settlement = self.queue.end(Ending::Refused);
                assert_eq!(settlement, expected);
                self.count.add("ended by a refusal");
                self.reference.end_refused()
            }
            _ => {
                for entry in &self.reference.entries {
                    match entry.place {
                        Place::Flying(_) if entry.is_ping() => {}
                        Place::Flying(end) if end <= taken => {
                            self.count.add("lost whole");
                            expected.unknown += 1;
                            self.fates[entry.id].may_repeat = retry;
                        }
                        Place::Flying(_) => self.count.add("lost half or unsent"),
                        _ => {}
                    }
                }
                for flight in &self.reference.flight {
                    if flight.ids.len() > 1 {
                        self.count.add(match flight.end <= taken {
                            true => "a fold lost whole",
                            false => "a fold lost half or unsent",
                        });
                    }
                }
                let cause = Cause::Lost(ConnectionError::ClosedByPeer);
                let cause = &cause;
                let settlement = self.queue.end(Ending::Lost { taken, cause });
                assert_eq!(settlement, expected);
                self.count.add("connection lost");
                self.reference.end_lost(taken)
            }
        };
        if self.reference.is_offender_last() {
            self.count.add("the offender stands last");
        }
        // What the socket took may still arrive.
        let arrived = peer.arrived.len();
        peer.arrived.extend(&link.handed[arrived..link.taken]);
        self.ghosts.push(peer);
        due
    }
}
