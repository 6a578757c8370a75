//! A row: sums over all nsqds, and rates since the row before.

use std::{fmt, time::Duration};

use actix_nsq::admin::ChannelStats;

use crate::sample::Sample;

/// Two lines above the rows.
pub(crate) const HEADER: &str = "\
------rate------+----------------depth----------------+--------------metadata---------------
ingress  egress |   total     mem    disk inflt   def |     req     t-o         msgs clients
";

/// A row, with its line break.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    /// Messages per second.
    ingress: i64,
    egress: i64,
    total: ChannelStats,
}

impl Row {
    /// The row of `after`, with the rates of the time between two samples.
    pub(crate) fn between(before: &Sample, after: &Sample, time: Duration) -> Self {
        let (mut ingress, mut egress) = (0, 0);
        let mut total = ChannelStats::default();
        let none = ChannelStats::default();
        for (address, now) in &after.0 {
            let earlier = before.0.get(address);
            // A new nsqd brings what it had before: that is no rate.
            let earlier = match earlier.unwrap_or(now) {
                // It was restarted.
                earlier if earlier.message_count > now.message_count => &none,
                earlier => earlier,
            };
            let came = signed(now.message_count) - signed(earlier.message_count);
            ingress += came;
            egress += came - (signed(now.depth) - signed(earlier.depth));
            total.depth += now.depth;
            total.backend_depth += now.backend_depth;
            total.in_flight_count += now.in_flight_count;
            total.deferred_count += now.deferred_count;
            total.message_count += now.message_count;
            total.requeue_count += now.requeue_count;
            total.timeout_count += now.timeout_count;
            total.client_count += now.client_count;
        }
        Self {
            ingress: per_second(ingress, time),
            egress: per_second(egress, time),
            total,
        }
    }
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a rate is printed, and far below 2^53"
)]
fn per_second(count: i64, time: Duration) -> i64 {
    (count as f64 / time.as_secs_f64()) as i64
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ingress,
            egress,
            total,
        } = self;
        let in_memory = total.depth.saturating_sub(total.backend_depth);
        write!(f, "{ingress:7} {egress:7} | ")?;
        write!(
            f,
            "{:7} {in_memory:7} {:7} {:5} {:5} | ",
            total.depth, total.backend_depth, total.in_flight_count, total.deferred_count
        )?;
        writeln!(
            f,
            "{:7} {:7} {:12} {:7}",
            total.requeue_count, total.timeout_count, total.message_count, total.client_count
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(nsqds: &[(&str, u64, u64)]) -> Sample {
        let nsqds = nsqds.iter().map(|(address, message_count, depth)| {
            let mut stats = ChannelStats::default();
            (stats.message_count, stats.depth) = (*message_count, *depth);
            ((*address).to_owned(), stats)
        });
        Sample(nsqds.collect())
    }

    #[test]
    fn rates_are_sums_over_nsqds_per_second() {
        let before = sample(&[("a", 100, 10), ("b", 50, 0)]);
        let after = sample(&[("a", 140, 30), ("b", 60, 0)]);
        let row = Row::between(&before, &after, Duration::from_secs(2));
        assert_eq!((row.ingress, row.egress), (25, 15));
        assert_eq!((row.total.message_count, row.total.depth), (200, 30));
    }

    #[test]
    fn new_and_restarted_nsqds_cause_no_negative_rate() {
        let before = sample(&[("a", 100, 10)]);
        let after = sample(&[("a", 40, 0), ("b", 1_000, 500)]);
        let row = Row::between(&before, &after, Duration::from_secs(1));
        assert_eq!((row.ingress, row.egress), (40, 40));
    }

    #[test]
    fn columns_are_those_of_the_header() {
        let row = Row::between(
            &sample(&[("a", 1, 0)]),
            &sample(&[("a", 3, 1)]),
            Duration::from_secs(1),
        );
        let text = "      2       1 |       1       1       0     0     0 |       \
                    0       0            3       0\n";
        assert_eq!(row.to_string(), text);
        let width = |line: &str| line.trim_end().len();
        assert!(HEADER.lines().all(|line| width(line) == width(text)));
    }
}
