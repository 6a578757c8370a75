//! What was published, stored and handled.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::client::{CHANNEL, HANDLED, MSG_TIMEOUT, STORED};
use crate::connections::Connections;
use crate::layout::PUBLISHERS;
use crate::support::record::{self, Audit, Id, Outcome, Record};

/// Lines of different clients may be read in another order than they were written in.
const READ_DELAY: Duration = Duration::from_secs(1);

/// An empty record of a topic. The number of a publisher is that of its client.
pub fn record_of(topic: &str) -> Record {
    let mut record = Record::new();
    for client in 0..PUBLISHERS {
        assert_eq!(record.publisher(topic), client);
    }
    record
}

/// The messages of one topic.
#[derive(Debug)]
pub struct Published {
    pub record: Record,
    offered: [usize; PUBLISHERS],
}

impl Published {
    fn new(topic: &str) -> Self {
        Self {
            record: record_of(topic),
            offered: [0; PUBLISHERS],
        }
    }

    /// A client has offered this number of messages.
    pub fn offered(&mut self, client: usize, count: usize) {
        while self.offered[client] < count {
            self.record.offer(client, 0);
            self.offered[client] += 1;
        }
    }

    pub fn answered(&mut self, client: usize, number: usize, outcome: Outcome) {
        self.offered(client, number + 1);
        let id = Id {
            publisher: client,
            number,
        };
        self.record.answer(id, outcome);
    }
}

/// The messages of both topics.
#[derive(Debug)]
pub struct Messages {
    pub stored: Published,
    pub handled: Published,
    /// The last client that handled a message, by nsqd and id of the message.
    deliveries: HashMap<(usize, String), (usize, Instant)>,
    pub last_handled: Instant,
    /// Deliveries of messages that had been handled before, because a connection was lost or
    /// disturbed.
    pub redelivered: usize,
    pub problems: Vec<String>,
}

impl Messages {
    pub fn new() -> Self {
        Self {
            stored: Published::new(STORED),
            handled: Published::new(HANDLED),
            deliveries: HashMap::new(),
            last_handled: Instant::now(),
            redelivered: 0,
            problems: Vec::new(),
        }
    }

    pub fn of(&mut self, topic: &str) -> &mut Published {
        if topic == STORED {
            &mut self.stored
        } else {
            &mut self.handled
        }
    }

    /// What a client has not answered may be stored twice.
    pub fn may_repeat(&mut self, client: usize) {
        for published in [&mut self.stored, &mut self.handled] {
            published.record.may_repeat(client..client + 1);
        }
    }

    /// A client has handled a message.
    pub fn handled(
        &mut self,
        client: usize,
        (nsqd, id, body): (usize, &str, &str),
        connections: &Connections,
        now: Instant,
    ) {
        self.last_handled = now;
        let key = (nsqd, id.to_owned());
        let Some((before, time)) = self.deliveries.insert(key, (client, now)) else {
            // The line of its publisher may be read later.
            if let Some(id) = record::read(HANDLED, body.as_bytes())
                && id.publisher < PUBLISHERS
            {
                self.handled.offered(id.publisher, id.number + 1);
            }
            self.handled.record.found(HANDLED, body.as_bytes());
            return;
        };
        // The FIN of the first one may have been lost. Or the message was in flight to this client
        // for so long that nsqd sent it to the other one.
        let earlier = |duration| time.checked_sub(duration).unwrap_or(time);
        let [answered, sent] = [earlier(READ_DELAY), earlier(READ_DELAY + MSG_TIMEOUT)];
        if connections.had_trouble_since(before, nsqd, answered)
            || connections.had_trouble_since(client, nsqd, sent)
        {
            self.redelivered += 1;
        } else {
            let ago = now - time;
            self.problems.push(format!(
                "message {id} of nsqd {nsqd} in {CHANNEL} was handled by client {client}, and \
                 {ago:.1?} before by client {before}; their connections were not disturbed"
            ));
        }
    }

    /// An nsqd that was not killed has stored this number of messages.
    pub fn compare_handled(&mut self, nsqd: usize, stored: usize) {
        let handled = self.deliveries.keys().filter(|(of, _)| *of == nsqd).count();
        if handled != stored {
            self.problems.push(format!(
                "{handled} messages of nsqd {nsqd} were handled, and {stored} were stored there"
            ));
        }
    }

    /// Compares. An nsqd that was killed may lose at most `max_forgotten` messages on the way to a
    /// consumer.
    pub fn finish(self, max_forgotten: usize) -> Totals {
        let stored = self.stored.record.finish();
        let mut handled = self.handled.record.finish();
        let forgotten = handled.lost.len();
        let mut problems = self.problems;
        if forgotten > max_forgotten {
            problems.push(format!(
                "{forgotten} messages lost (at most {max_forgotten})"
            ));
        }
        handled.lost.clear();
        if !handled.is_clean() {
            problems.push(handled.to_string());
        }
        Totals {
            stored,
            handled,
            forgotten,
            max_forgotten,
            redelivered: self.redelivered,
            consuming_problems: problems,
        }
    }
}

/// The result for all messages.
#[derive(Debug)]
pub struct Totals {
    pub stored: Audit,
    pub handled: Audit,
    /// Messages that were not handled because an nsqd was killed.
    pub forgotten: usize,
    pub max_forgotten: usize,
    pub redelivered: usize,
    pub consuming_problems: Vec<String>,
}
