//! Code that the peers share: the command line and the report of `nsq_bench`.

pub mod consume;

use std::{env, fmt::Write, fs, process, str::FromStr, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Suffix of a topic that nsqd keeps in memory only.
const EPHEMERAL: &str = "#ephemeral";

/// The command line.
#[derive(Debug, Clone)]
pub struct Options {
    pub address: String,
    pub topics: Vec<String>,
    /// Size of a body; the mean size with `--bodies`.
    pub size: usize,
    /// The bodies, which messages use in turn.
    pub bodies: Vec<Vec<u8>>,
    pub concurrency: usize,
    pub messages: usize,
    pub warmup: usize,
    /// Messages per batch; `None`: one command per message.
    pub mpub: Option<usize>,
    /// Delay of each message.
    pub defer: Option<Duration>,
    pub kind: Option<String>,
    /// Options of the client.
    pub producer_opts: Vec<(String, String)>,
    pub json: bool,
}

impl Options {
    /// Parses the command line. Exits with code 2 if it is wrong.
    pub fn from_command_line() -> Self {
        Self::parse(env::args().skip(1)).unwrap_or_else(|error| {
            eprintln!("{error}");
            process::exit(2)
        })
    }

    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut topic, mut topics, mut warmup) = (None, 1, None);
        let mut options = Self {
            address: "127.0.0.1:4150".into(),
            topics: Vec::new(),
            size: 200,
            bodies: Vec::new(),
            concurrency: 64,
            messages: 1_000_000,
            warmup: 0,
            mpub: None,
            defer: None,
            kind: None,
            producer_opts: Vec::new(),
            json: false,
        };
        while let Some(flag) = arguments.next() {
            if flag == "--json" {
                options.json = true;
                continue;
            }
            let value = arguments.next().ok_or(format!("{flag} has no value"))?;
            match flag.as_str() {
                "--nsqd-tcp-address" => options.address = value,
                "--topic" => topic = Some(value),
                "--size" => options.size = number(&flag, &value, 1)?,
                "--concurrency" => options.concurrency = number(&flag, &value, 1)?,
                "--messages" => options.messages = number(&flag, &value, 1)?,
                "--warmup" => warmup = Some(number(&flag, &value, 0)?),
                "--topics" => topics = number(&flag, &value, 1)?,
                "--mpub" => options.mpub = Some(number(&flag, &value, 1)?),
                "--defer" => options.defer = Some(milliseconds(&flag, &value)?),
                "--kind" => options.kind = Some(value),
                "--bodies" => options.bodies = lines(&value)?,
                "--producer-opt" => options.producer_opts.push(pair(&value)?),
                _ => return Err(format!("unknown flag {flag}")),
            }
        }
        if topics > options.concurrency {
            return Err("--topics exceeds --concurrency".into());
        }
        if options.mpub.is_some() && options.defer.is_some() {
            return Err("--mpub cannot be used with --defer".into());
        }
        let topic = topic.ok_or("--topic is missing")?;
        options.topics = topic_names(&topic, topics);
        options.warmup = warmup.unwrap_or(options.messages / 10);
        match options.bodies.len() {
            0 => {
                let body = (0..options.size).map(|index| (index % 251) as u8);
                options.bodies.push(body.collect());
            }
            lines => options.size = options.bodies.iter().map(Vec::len).sum::<usize>() / lines,
        }
        Ok(options)
    }

    /// The body of a message.
    pub fn body(&self, message: usize) -> &[u8] {
        &self.bodies[message % self.bodies.len()]
    }
}

/// Reads the bodies from the lines of a file.
fn lines(file: &str) -> Result<Vec<Vec<u8>>, String> {
    let text = fs::read(file).map_err(|error| format!("--bodies {file}: {error}"))?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let lines: Vec<_> = text.split(|byte| *byte == b'\n').map(Vec::from).collect();
    if lines.iter().any(Vec::is_empty) {
        return Err(format!(
            "--bodies {file}: a line is empty: nsqd rejects empty messages"
        ));
    }
    Ok(lines)
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err(format!("--producer-opt {text}: must be name=value")),
    }
}

fn number<T: FromStr + PartialOrd + From<u8>>(
    flag: &str,
    value: &str,
    min: u8,
) -> Result<T, String> {
    let number = value.parse().ok().filter(|number| *number >= T::from(min));
    number.ok_or(format!("{flag} {value}: must be a whole number from {min}"))
}

fn milliseconds(flag: &str, value: &str) -> Result<Duration, String> {
    let digits = value.strip_suffix("ms");
    let digits = digits.ok_or(format!("{flag} {value}: must be in ms, such as 20ms"))?;
    Ok(Duration::from_millis(number(flag, digits, 1)?))
}

fn topic_names(topic: &str, count: usize) -> Vec<String> {
    if count == 1 {
        return vec![topic.into()];
    }
    let stem = topic.strip_suffix(EPHEMERAL).unwrap_or(topic);
    let suffix = &topic[stem.len()..];
    (0..count)
        .map(|number| format!("{stem}_{number}{suffix}"))
        .collect()
}

/// The measurement of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Messages.
    pub ok: usize,
    /// Messages.
    pub failed: usize,
    /// Latency of each command.
    pub times: Vec<Duration>,
    pub duration: Duration,
    pub cpu_time: Duration,
}

impl Outcome {
    /// Prints the summary in the format of NSQ's `bench_writer` and, with `--json`, the object of
    /// `nsq_bench`.
    pub fn print(&mut self, options: &Options) {
        let seconds = self.duration.as_secs_f64();
        let rate = self.ok as f64 / seconds;
        let megabytes = rate * options.size as f64 / 1024.0 / 1024.0;
        println!(
            "duration: {:?} - {megabytes:.3}mb/s - {rate:.3}ops/s - {:.3}us/op",
            self.duration,
            1e6 / rate
        );
        if !options.json {
            return;
        }
        self.times.sort_unstable();
        let each = self.cpu_time.as_secs_f64() * 1e6 / (self.ok + self.failed).max(1) as f64;
        let mut line = format!("{{\"rate\":{rate:.3},\"cpu_us_per_message\":{each:.3}");
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
            let time = self.quantile(share).as_secs_f64() * 1e6;
            let _ = write!(line, ",\"{name}_us\":{time:.3}");
        }
        let mpub = options.mpub.map_or("null".into(), |mpub| mpub.to_string());
        let counts = [
            ("messages", options.messages),
            ("warmup", options.warmup),
            ("concurrency", options.concurrency),
            ("size", options.size),
            ("topics", options.topics.len()),
            ("ok", self.ok),
            ("failed", self.failed),
        ];
        for (name, count) in counts {
            let _ = write!(line, ",\"{name}\":{count}");
        }
        println!("{line},\"mpub\":{mpub},\"duration_s\":{seconds},\"allocs_per_message\":null}}");
    }

    fn quantile(&self, share: f64) -> Duration {
        let index = (share * self.times.len() as f64) as usize;
        let last = self.times.len().saturating_sub(1);
        self.times.get(index.min(last)).copied().unwrap_or_default()
    }
}

/// Returns the CPU time of this process, in user and system mode.
pub fn process_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime)
        .try_into()
        .unwrap_or_default()
}
