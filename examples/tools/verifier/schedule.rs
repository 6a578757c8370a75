//! The times of the faults: at intervals that vary by a tenth, reproducible by the seed.

use std::{fmt, time::Duration};

use fastrand::Rng;

/// A signal to the process of nsqd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    Kill9,
    Sigterm,
    Sigstop,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kill9 => "kill -9",
            Self::Sigterm => "SIGTERM",
            Self::Sigstop => "SIGSTOP",
        })
    }
}

/// Times are relative to the start.
#[derive(Debug)]
pub(crate) struct Schedule {
    series: Vec<Series>,
    rng: Rng,
}

#[derive(Debug)]
struct Series {
    fault: Fault,
    every: Duration,
    /// Number of times it was due.
    count: u32,
    due: Duration,
}

impl Schedule {
    pub(crate) fn new(faults: &[(Fault, Option<Duration>)], mut rng: Rng) -> Self {
        let series = faults.iter().filter_map(|(fault, every)| {
            let mut series = Series {
                fault: *fault,
                every: (*every)?,
                count: 0,
                due: Duration::ZERO,
            };
            series.advance(Duration::ZERO, &mut rng);
            Some(series)
        });
        Self {
            series: series.collect(),
            rng,
        }
    }

    /// The next fault and its time, which may be in the past; `None` without faults.
    pub(crate) fn next(&self) -> Option<(Duration, Fault)> {
        let all = self.series.iter();
        all.map(|series| (series.due, series.fault)).min()
    }

    /// Schedules the next fault of this kind after `now`, and skips those that were due before.
    pub(crate) fn advance(&mut self, fault: Fault, now: Duration) {
        for series in &mut self.series {
            if series.fault == fault {
                series.advance(now, &mut self.rng);
            }
        }
    }
}

impl Series {
    fn advance(&mut self, now: Duration, rng: &mut Rng) {
        while self.due <= now {
            self.count += 1;
            let shift = rng.f64() * 0.2 - 0.1;
            self.due = self.every.mul_f64(f64::from(self.count) + shift);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The faults of a minute, if each lasts this long.
    fn play(seed: u64, lasts: Duration) -> Vec<(Duration, Fault)> {
        let faults = [
            (Fault::Kill9, Some(secs(3))),
            (Fault::Sigterm, None),
            (Fault::Sigstop, Some(secs(10))),
        ];
        let mut schedule = Schedule::new(&faults, Rng::with_seed(seed));
        let mut now = Duration::ZERO;
        let mut played = Vec::new();
        while let Some((due, fault)) = schedule.next().filter(|(due, _)| *due < secs(62)) {
            now = now.max(due);
            played.push((now, fault));
            now += lasts;
            schedule.advance(fault, now);
        }
        played
    }

    #[test]
    fn faults_come_at_intervals_and_repeat_with_the_seed() {
        let played = play(7, Duration::ZERO);
        let count = |fault| played.iter().filter(|(_, other)| *other == fault).count();
        let counts = [Fault::Kill9, Fault::Sigterm, Fault::Sigstop].map(count);
        assert_eq!(counts, [20, 0, 6]);
        assert!(played.is_sorted_by_key(|(time, _)| *time));
        assert_eq!(played, play(7, Duration::ZERO));
        assert_ne!(played, play(8, Duration::ZERO));
    }

    #[test]
    fn faults_due_during_a_long_fault_are_skipped() {
        let played = play(7, secs(5));
        assert!((10..=13).contains(&played.len()), "{played:?}");
    }

    #[test]
    fn schedule_without_faults_is_empty() {
        let schedule = Schedule::new(&[(Fault::Kill9, None)], Rng::with_seed(1));
        assert_eq!(schedule.next(), None);
    }
}
