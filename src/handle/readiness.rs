//! How many connections are up.

use std::fmt;

use serde::Serialize;

/// How many of the connections that are wanted are up. A producer has one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Readiness {
    /// Connections that are up.
    pub up: usize,
    /// Connections that are wanted.
    pub of: usize,
}

impl Readiness {
    pub(crate) fn new(up: usize, of: usize) -> Self {
        Self { up, of }
    }

    /// Returns whether a connection is up: something can be published or consumed.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up > 0
    }

    /// Returns whether every connection that is wanted is up, and there is one.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_up() && self.up == self.of
    }
}

impl fmt::Display for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} connections up", self.up, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_wanted_is_neither_up_nor_complete() {
        for (up, of, expected) in [
            (0, 0, (false, false)),
            (0, 2, (false, false)),
            (1, 2, (true, false)),
            (2, 2, (true, true)),
        ] {
            let readiness = Readiness::new(up, of);
            assert_eq!((readiness.is_up(), readiness.is_complete()), expected);
        }
    }
}
