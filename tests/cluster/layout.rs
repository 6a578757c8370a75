//! Which hosts there are, and their numbers.

use std::ops::Range;

/// Number of nsqlookupds.
pub const LOOKUPDS: usize = 3;

/// What the clients do, in the order of their hosts.
pub const CLIENTS: [Client; 4] = [
    Client::Publisher(Publisher::Discovers),
    Client::Publisher(Publisher::KnowsAndRetries),
    Client::Consumer,
    Client::Consumer,
];

/// Number of clients that publish. They come before the others.
pub const PUBLISHERS: usize = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    Publisher(Publisher),
    /// Finds nsqds by nsqlookupds.
    Consumer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publisher {
    /// Finds nsqds by nsqlookupds.
    Discovers,
    /// Has the addresses of nsqds and of nsqlookupds, and sets `retry_maybe_written`.
    KnowsAndRetries,
}

/// The hosts: nsqds, then nsqlookupds, then clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub nsqds: usize,
}

impl Layout {
    pub fn nsqds(self) -> Range<usize> {
        0..self.nsqds
    }

    pub fn lookupds(self) -> Range<usize> {
        self.nsqds..self.nsqds + LOOKUPDS
    }

    pub fn clients(self) -> Range<usize> {
        let first = self.lookupds().end;
        first..first + CLIENTS.len()
    }

    pub fn names(self) -> Vec<String> {
        let named = |name: &str, range: Range<usize>| {
            let numbers = 0..range.len();
            numbers
                .map(|number| format!("{name}-{number}"))
                .collect::<Vec<_>>()
        };
        let nsqds = named("nsqd", self.nsqds());
        let lookupds = named("lookupd", self.lookupds());
        [nsqds, lookupds, named("client", self.clients())].concat()
    }
}
