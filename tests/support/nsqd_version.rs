//! The versions of nsqd under which the tests run.

use std::fmt;

/// A version of nsqd, such as 1.3.0. A release candidate counts as its release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 3]);

impl Version {
    pub const V1_2_0: Self = Self([1, 2, 0]);
    pub const V1_2_1: Self = Self([1, 2, 1]);
    pub const V1_3_0: Self = Self([1, 3, 0]);

    /// Those that can be built: one module each in `tests/nsqd`.
    pub const BUILDABLE: [Self; 3] = [Self::V1_2_0, Self::V1_2_1, Self::V1_3_0];
    /// The one that is built by default, and that the embedded nsqd resembles.
    pub const LATEST: Self = Self::V1_3_0;

    /// Reads a version such as `1.3.0`, `v1.3.0` or `v1.2.1-alpha`.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let numbers = text.split(['-', '+']).next().unwrap_or(text);
        let numbers: Result<Vec<u32>, _> = numbers.split('.').map(str::parse).collect();
        numbers.ok()?.try_into().ok().map(Self)
    }

    /// Reads a version that can be built.
    pub fn buildable(text: &str) -> Result<Self, String> {
        Self::parse(text)
            .filter(|version| Self::BUILDABLE.contains(version))
            .ok_or_else(|| {
                let [first, second, third] = Self::BUILDABLE;
                format!("NSQD_VERSION is {text:?}: must be {first}, {second} or {third}")
            })
    }

    /// The version whose module in `tests/nsqd` has programs for this one.
    pub fn module(self) -> Self {
        let older = Self::BUILDABLE.into_iter().rev().find(|it| *it <= self);
        older.unwrap_or(Self::V1_2_0)
    }
}

/// What tests expect of a version. docs/troubleshooting.md tells users what matters to them.
impl Version {
    /// Whether a terminated nsqd closes all connections first. 1.2.0 rejects publishes with
    /// `E_PUB_FAILED ... exiting` until it has exited.
    pub fn closes_before_it_exits(self) -> bool {
        self > Self::V1_2_0
    }

    /// Whether messages are delivered in the order in which they were stored with
    /// `--mem-queue-size=0`. 1.2.0 keeps a queue without a buffer in memory, so that a message can
    /// overtake those on disk.
    pub fn delivers_in_order(self) -> bool {
        self > Self::V1_2_0
    }

    /// Whether nsqd recovers messages that it had written to disk and not yet counted in the
    /// metadata when it was killed. Older versions overwrite them, even with `--sync-every=1`.
    pub fn recovers_beyond_metadata(self) -> bool {
        self >= Self::V1_3_0
    }

    /// Whether `--tls-min-version` can be `tls1.3`.
    pub fn has_tls13_as_minimum(self) -> bool {
        self >= Self::V1_3_0
    }

    /// The text of `E_INVALID` for a message id of a wrong length.
    pub fn invalid_message_id(self) -> &'static str {
        if self < Self::V1_3_0 {
            "Invalid Message ID"
        } else {
            "invalid message ID"
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}
