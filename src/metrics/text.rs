//! Samples in the text format of Prometheus.

use std::{
    collections::HashMap,
    fmt::{self, Write},
};

use super::sample::{Histogram, Sample, Value};

/// The value of the header `Content-Type` for [`prometheus_text`].
pub const PROMETHEUS_CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Formats samples in the [text format] of Prometheus, version 0.0.4. Samples of one metric stand
/// together, whatever their order was.
///
/// Prometheus rejects samples with the same name and labels: see [`Sample::with_label`].
///
/// ```
/// # async fn example(
/// #     producer: actix_nsq::ProducerHandle,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// use actix_nsq::metrics::prometheus_text;
///
/// // nsq_producer_publishes_total{nsqd="127.0.0.1:4150",outcome="ok"} 1000
/// let text = prometheus_text(&producer.stats().await?.samples());
/// # Ok(())
/// # }
/// ```
///
/// [text format]: https://prometheus.io/docs/instrumenting/exposition_formats/
#[must_use]
pub fn prometheus_text(samples: &[Sample]) -> String {
    let mut names = Vec::new();
    let mut by_name = HashMap::<_, Vec<_>>::new();
    for sample in samples {
        let same = by_name.entry(sample.name).or_default();
        if same.is_empty() {
            names.push(sample.name);
        }
        same.push(sample);
    }
    let mut text = String::new();
    for same in names.iter().filter_map(|name| by_name.get(name)) {
        // Cannot fail: it writes to a string.
        let _ = write_metric(&mut text, same);
    }
    text
}

fn write_metric(text: &mut String, samples: &[&Sample]) -> fmt::Result {
    let Some(Sample {
        name, help, value, ..
    }) = samples.first()
    else {
        return Ok(());
    };
    writeln!(
        text,
        "# HELP {name} {}",
        Escaped {
            text: help,
            quotes: false
        }
    )?;
    writeln!(text, "# TYPE {name} {}", value.kind())?;
    for sample in samples {
        let name = sample.name;
        let labels = Labels {
            of: sample,
            bound: None,
        };
        match &sample.value {
            Value::Counter(count) => writeln!(text, "{name}{labels} {count}")?,
            Value::Gauge(value) => writeln!(text, "{name}{labels} {value}")?,
            Value::Histogram(Histogram {
                count,
                sum,
                buckets,
            }) => {
                for (bound, below) in buckets {
                    write_bucket(text, sample, *bound, *below)?;
                }
                write_bucket(text, sample, f64::INFINITY, *count)?;
                writeln!(text, "{name}_sum{labels} {sum}")?;
                writeln!(text, "{name}_count{labels} {count}")?;
            }
        }
    }
    Ok(())
}

fn write_bucket(text: &mut String, sample: &Sample, bound: f64, below: u64) -> fmt::Result {
    let labels = Labels {
        of: sample,
        bound: Some(bound),
    };
    writeln!(text, "{}_bucket{labels} {below}", sample.name)
}

/// The labels of a sample, and of a bucket its upper bound.
struct Labels<'a> {
    of: &'a Sample,
    bound: Option<f64>,
}

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = '{';
        for (name, value) in &self.of.labels {
            let text = Escaped {
                text: value,
                quotes: true,
            };
            write!(f, "{separator}{name}=\"{text}\"")?;
            separator = ',';
        }
        match self.bound {
            Some(bound) if bound.is_infinite() => write!(f, "{separator}le=\"+Inf\"")?,
            Some(bound) => write!(f, "{separator}le=\"{bound}\"")?,
            None if separator == '{' => return Ok(()),
            None => {}
        }
        f.write_char('}')
    }
}

/// A text in which backslashes, line feeds and, in a label, quotes are escaped.
struct Escaped<'a> {
    text: &'a str,
    quotes: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.text.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '"' if self.quotes => f.write_str("\\\"")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::Samples;

    #[test]
    fn samples_of_a_metric_stand_together_with_one_head() {
        let mut samples = Samples::with_labels(&[("nsqd", "a".into())]);
        samples.counters(
            ("one_total", "First."),
            ("outcome", &[("ok", 1), ("no", 2)]),
        );
        samples.gauge(("two", "Second."), true);
        let mut other = Samples::with_labels(&[("nsqd", "b".into())]);
        other.counters(
            ("one_total", "First."),
            ("outcome", &[("ok", 3), ("no", 4)]),
        );
        other.gauge(("two", "Second."), Duration::from_millis(500));
        let all = [samples.into_vec(), other.into_vec()].concat();
        let text = "\
# HELP one_total First.
# TYPE one_total counter
one_total{nsqd=\"a\",outcome=\"ok\"} 1
one_total{nsqd=\"a\",outcome=\"no\"} 2
one_total{nsqd=\"b\",outcome=\"ok\"} 3
one_total{nsqd=\"b\",outcome=\"no\"} 4
# HELP two Second.
# TYPE two gauge
two{nsqd=\"a\"} 1
two{nsqd=\"b\"} 0.5
";
        assert_eq!(prometheus_text(&all), text);
    }

    #[test]
    fn histogram_has_cumulative_buckets_and_all_beyond_them() {
        let histogram = Histogram {
            count: 5,
            sum: 70.5,
            buckets: vec![(0.000_008, 1), (0.5, 4)],
        };
        let sample = Sample {
            name: "time_seconds",
            help: "Time.",
            labels: Vec::new(),
            value: Value::Histogram(histogram),
        };
        let text = "\
# HELP time_seconds Time.
# TYPE time_seconds histogram
time_seconds_bucket{le=\"0.000008\"} 1
time_seconds_bucket{le=\"0.5\"} 4
time_seconds_bucket{le=\"+Inf\"} 5
time_seconds_sum 70.5
time_seconds_count 5
";
        assert_eq!(prometheus_text(&[sample]), text);
    }

    #[test]
    fn special_characters_of_labels_and_help_are_escaped() {
        let mut samples = Samples::with_labels(&[("of", "\\ \" \n".into())]);
        samples.counter(("x_total", "\\ \" \n"), 1);
        let text = prometheus_text(&samples.into_vec());
        let help = "# HELP x_total \\\\ \" \\n\n";
        assert!(text.starts_with(help), "{text}");
        assert!(
            text.ends_with("x_total{of=\"\\\\ \\\" \\n\"} 1\n"),
            "{text}"
        );
    }
}
