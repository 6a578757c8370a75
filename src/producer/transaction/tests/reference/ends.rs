//! What an error frame and the end of a connection mean.

use super::*;
use crate::protocol::ErrorCode;

impl Reference {
    /// A connection is up; so long it took to be greeted.
    pub(in super::super) fn begin(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// An error frame for the oldest command, and the answers that it gives.
    pub(in super::super) fn refused(&mut self, text: &str) -> Due {
        let ids = &self.flight[0].ids;
        let (folded, first) = (ids.len() > 1, self.entry(ids[0]));
        if first.is_ping() {
            let kind = ErrorKind::Refused(ErrorCode::Invalid);
            return self.pop(|_| Said::Failed(kind, Delivery::NotWritten));
        }
        let (topic, lane) = (first.topic, self.lane_of(first));
        self.offender = Some(lane);
        if text.contains("failed to read") {
            return Due::new();
        }
        // Whether nothing is stored, for sure.
        let (code, sure) = match text.split(' ').next().unwrap() {
            "E_BAD_TOPIC" => (ErrorCode::BadTopic, true),
            "E_UNAUTHORIZED" => (ErrorCode::Unauthorized, true),
            "E_BAD_MESSAGE" => (ErrorCode::BadMessage, true),
            "E_BAD_BODY" => (ErrorCode::BadBody, true),
            "E_PUB_FAILED" => (ErrorCode::PubFailed, true),
            "E_DPUB_FAILED" => (ErrorCode::DpubFailed, true),
            "E_INVALID" => (ErrorCode::Invalid, true),
            "E_MPUB_FAILED" => (ErrorCode::MpubFailed, false),
            _ => (ErrorCode::Unknown, false),
        };
        if let Some((_, limit)) = text.split_once(" > ") {
            let limit = limit.parse().ok();
            self.named[usize::from(code == ErrorCode::BadBody)] = limit;
        }
        let failed = [
            ErrorCode::PubFailed,
            ErrorCode::DpubFailed,
            ErrorCode::MpubFailed,
        ];
        if failed.contains(&code) {
            self.troubled = true;
            self.troubled_lanes.insert(lane);
        }
        let verdict_on_topic = matches!(code, ErrorCode::BadTopic | ErrorCode::Unauthorized);
        if folded && sure && !verdict_on_topic {
            // One of them is to blame, or the batch as such: each has to show it by itself.
            let ids = self.flight[0].ids.clone();
            self.members_mut(&ids).for_each(|entry| entry.alone = true);
            return Due::new();
        }
        let said = |entry: &Entry| {
            let delivery = match sure {
                true => entry.surely_not_now(),
                false => entry.maybe(),
            };
            Said::Failed(ErrorKind::Refused(code), delivery)
        };
        let mut due = self.pop(said);
        if verdict_on_topic {
            due.extend(self.answer(|entry| (entry.topic == topic).then(|| said(entry))));
        }
        due
    }

    pub(in super::super) fn end_refused(&mut self) -> Due {
        let mut order: Vec<Lane> = Vec::new();
        for flight in &self.flight {
            // One that was answered by a verdict on its topic, or for good, is not in the list any more.
            let first = self.entries.iter().find(|entry| entry.id == flight.ids[0]);
            let first = first.expect("what is in flight is held");
            if !first.is_ping() {
                order.push(self.lane_of(first));
            }
        }
        let waiting = self.lanes();
        self.entries.retain(|entry| !entry.is_empty());
        self.entries
            .iter_mut()
            .for_each(|entry| entry.place = Place::Waiting);
        self.flight.clear();
        self.passed.clear();
        // Those that were in flight by their oldest command, those that waited, and the refused one.
        let offender: BTreeSet<_> = self.offender.take().into_iter().collect();
        let flew = order.into_iter().map(|lane| BTreeSet::from([lane]));
        let (mut order, mut seen) = (Vec::new(), offender.clone());
        let left = self.lanes();
        for group in flew.chain([waiting]) {
            let group: BTreeSet<_> = group.difference(&seen).copied().collect();
            seen.extend(&group);
            order.push(group);
        }
        order.push(offender);
        for group in &mut order {
            group.retain(|lane| left.contains(lane));
        }
        self.order = order;
        self.strays.clear();
        Due::new()
    }

    /// Whether the topic that was refused stands behind others.
    pub(in super::super) fn is_offender_last(&self) -> bool {
        let Some((last, others)) = self.order.split_last() else {
            return false;
        };
        !last.is_empty() && others.iter().any(|group| !group.is_empty())
    }

    pub(in super::super) fn end_lost(&mut self, taken: u64) -> Due {
        self.named = [None; 2];
        let (mut due, retry) = (Due::new(), self.limits.retry_maybe_written);
        for entry in &mut self.entries {
            if matches!(entry.place, Place::Flying(end) if end <= taken) && !entry.is_ping() {
                entry.unknown = true;
                if !retry {
                    let said = Said::Failed(ErrorKind::ConnectionLost, entry.maybe());
                    due.push((entry.id, said));
                    entry.place = Place::Empty(0);
                }
            }
        }
        self.end_refused();
        due
    }
}
