//! Whether a member is up, slow, or trusted again, and how soon it answers.

use std::time::{Duration, Instant};

use crate::config::Strategy;

/// A member counts as slow when a command is unanswered for this long, and for [`USUAL_TIMES`] its
/// usual answer time.
const SLOW_AFTER: Duration = Duration::from_millis(20);

/// See [`SLOW_AFTER`].
const USUAL_TIMES: u32 = 8;

/// A member counts as slow after this time, however long its answers usually take, and if its
/// connection is being replaced for this long. With `Primary` and `PerTopic` this is the only
/// limit, because a change of member costs the order of a topic.
const SLOW_AT_LAST: Duration = Duration::from_secs(1);

/// Time between two publishes by which a member that is not trusted is tried.
const PROBE_INTERVAL: Duration = Duration::from_secs(1);

/// Weight of the latest answer in the mean.
const WEIGHT: f64 = 1.0 / 8.0;

/// What a member shows.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Observed {
    pub(super) is_up: bool,
    /// Its connection is replaced at once.
    pub(super) is_replacing: bool,
    /// Publishes that it has, or that are on their way to it.
    pub(super) outstanding: usize,
    /// When its oldest unanswered command was sent.
    pub(super) oldest: Option<Instant>,
    /// Commands answered so far, and the time of all their answers.
    pub(super) answers: (u64, Duration),
}

/// What a member has shown so far.
#[derive(Debug)]
pub(super) struct Health {
    observed: Observed,
    /// When the first publish was sent to it that is not answered yet, at the latest.
    routed: Option<Instant>,
    /// Since when its connection is being replaced.
    replacing_since: Option<Instant>,
    /// Mean answer time in seconds, which moves towards the best one.
    estimate: Option<f64>,
    /// Mean answer time in seconds.
    usual: Option<f64>,
    /// How long a command may be unanswered.
    patience: Duration,
    /// `patience` follows the usual answer time.
    adapts: bool,
    /// It is slow, or has failed, and has answered nothing in its usual time since.
    is_suspect: bool,
    /// When it failed, or got its latest probe. One that is slow is probed as soon as it has
    /// answered everything.
    probed: Option<Instant>,
    /// Since when it is up and trusted.
    usable_since: Option<Instant>,
    /// It was lost or suspect before, so that it must be usable for a while before a topic returns.
    was_lost: bool,
}

impl Health {
    pub(super) fn new(strategy: Strategy) -> Self {
        let adapts = strategy == Strategy::Spread;
        Self {
            observed: Observed::default(),
            routed: None,
            replacing_since: None,
            estimate: None,
            usual: None,
            patience: if adapts { SLOW_AFTER } else { SLOW_AT_LAST },
            adapts,
            is_suspect: false,
            probed: None,
            usable_since: None,
            was_lost: false,
        }
    }

    /// Takes what the member shows. Returns whether it has become slow until `due`: later deadlines
    /// are not judged yet, and none without `due`.
    pub(super) fn observe(
        &mut self,
        observed: Observed,
        now: Instant,
        due: Option<Instant>,
    ) -> bool {
        let (answered, time) = observed.answers;
        let (before, time_before) = self.observed.answers;
        if let Ok(count) = u32::try_from(answered.saturating_sub(before))
            && count > 0
        {
            self.routed = Some(now);
            self.on_answers(time.saturating_sub(time_before) / count);
        }
        self.observed = observed;
        if observed.outstanding == 0 {
            self.routed = None;
        }
        let is_replacing = !observed.is_up && observed.is_replacing;
        let since = self.replacing_since.unwrap_or(now);
        self.replacing_since = is_replacing.then_some(since);
        let slow_at = self.slow_at().zip(due);
        let is_slow = slow_at.is_some_and(|(slow, due)| slow <= due);
        if is_slow {
            self.is_suspect = true;
        }
        if self.is_trusted() {
            self.usable_since.get_or_insert(now);
        } else if self.usable_since.take().is_some() {
            self.was_lost = true;
        }
        is_slow
    }

    fn on_answers(&mut self, mean: Duration) {
        if mean <= self.patience && std::mem::take(&mut self.is_suspect) {
            // It has recovered: the times until then say nothing.
            (self.estimate, self.usual) = (None, None);
        }
        let mean = mean.as_secs_f64();
        for average in [&mut self.estimate, &mut self.usual] {
            let before = average.unwrap_or(mean);
            *average = Some(before + WEIGHT * (mean - before));
        }
        if self.adapts {
            let usual = Duration::from_secs_f64(self.usual.unwrap_or_default().min(1.0));
            self.patience = (usual * USUAL_TIMES).clamp(SLOW_AFTER, SLOW_AT_LAST);
        }
    }

    /// It has rejected a publish because of its own state, or has lost a connection on which it had
    /// answered nothing.
    pub(super) fn on_failed(&mut self, now: Instant) {
        self.is_suspect = true;
        self.probed = Some(now);
    }

    /// It gets a publish.
    pub(super) fn on_routed(&mut self, now: Instant) {
        self.observed.outstanding += 1;
        self.routed.get_or_insert(now);
        if self.is_suspect {
            self.probed = Some(now);
        }
    }

    /// It gets as many publishes more.
    pub(super) fn on_routed_further(&mut self, publishes: usize) {
        self.observed.outstanding += publishes;
    }

    pub(super) fn is_up(&self) -> bool {
        self.observed.is_up
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.is_suspect
    }

    /// Returns whether it is up and not suspect.
    pub(super) fn is_trusted(&self) -> bool {
        self.observed.is_up && !self.is_suspect
    }

    /// Returns whether it is trusted and was never lost, or is trusted for as long as `after`.
    pub(super) fn has_proved(&self, now: Instant, after: Duration) -> bool {
        let since = self.usable_since;
        since.is_some_and(|since| !self.was_lost || now >= since + after)
    }

    /// Returns whether it is suspect and may get one publish now.
    pub(super) fn may_be_probed(&self, now: Instant) -> bool {
        let due = self.probed.map(|probed| probed + PROBE_INTERVAL);
        self.observed.is_up
            && self.is_suspect
            && self.observed.outstanding == 0
            && due.is_none_or(|due| now >= due)
    }

    /// Returns whether it is not up, but has publishes that come back, or is up again at once.
    pub(super) fn is_settling(&self) -> bool {
        let observed = &self.observed;
        let is_replacing = observed.is_replacing && !self.is_suspect;
        !observed.is_up && (observed.outstanding > 0 || is_replacing)
    }

    /// When it becomes slow, if nothing is answered and it is not up again until then.
    pub(super) fn slow_at(&self) -> Option<Instant> {
        if self.is_suspect || self.observed.outstanding == 0 {
            return None;
        }
        if let Some(since) = self.replacing_since {
            return Some(since + SLOW_AT_LAST);
        }
        let since = self.observed.oldest.or(self.routed)?;
        self.observed.is_up.then(|| since + self.patience)
    }

    /// Mean answer time in seconds, if it has answered anything lately.
    pub(super) fn estimate(&self) -> Option<f64> {
        self.estimate
    }

    /// Moves the mean answer time halfway towards the best one.
    pub(super) fn approach(&mut self, best: f64) {
        self.estimate = self.estimate.map(|it| f64::midpoint(it, best));
    }

    /// The smaller, the sooner a publish is answered. `assumed` is the mean answer time of a member
    /// that has answered nothing.
    pub(super) fn score(&self, assumed: f64) -> f64 {
        #[allow(clippy::cast_precision_loss, reason = "far fewer than 2^52 publishes")]
        let outstanding = (self.observed.outstanding + 1) as f64;
        outstanding * self.estimate.unwrap_or(assumed)
    }
}
