//! What the peers have in common: the command line of `nsq_bench`, and its report.

use std::{env, fmt::Write, fs, process, str::FromStr, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// What marks a topic that nsqd keeps in memory only. It must stand at the end of a name.
const EPHEMERAL: &str = "#ephemeral";

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct Options {
    pub address: String,
    pub topics: Vec<String>,
    /// Where there are bodies of a file, the mean one.
    pub size: usize,
    /// What the messages hold, in turn.
    pub bodies: Vec<Vec<u8>>,
    pub concurrency: usize,
    pub messages: usize,
    pub warmup: usize,
    /// Messages of each batch; `None`: each by itself.
    pub mpub: Option<usize>,
    pub kind: Option<String>,
    /// The client's own options, which it reads itself.
    pub producer_opts: Vec<(String, String)>,
    pub json: bool,
}

impl Options {
    /// Reads the command line. A wrong one ends the program, with code 2.
    pub fn from_command_line() -> Self {
        Self::parse(env::args().skip(1)).unwrap_or_else(|wrong| {
            eprintln!("{wrong}");
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
                "--kind" => options.kind = Some(value),
                "--bodies" => options.bodies = lines(&value)?,
                "--producer-opt" => options.producer_opts.push(pair(&value)?),
                _ => return Err(format!("unknown flag {flag}")),
            }
        }
        if topics > options.concurrency {
            return Err("--topics is more than --concurrency".into());
        }
        let topic = topic.ok_or("--topic is missing")?;
        options.topics = topic_names(&topic, topics);
        options.warmup = warmup.unwrap_or(options.messages / 10);
        match options.bodies.len() {
            // Not all zeros.
            0 => {
                let body = (0..options.size).map(|place| (place % 251) as u8);
                options.bodies.push(body.collect());
            }
            lines => options.size = options.bodies.iter().map(Vec::len).sum::<usize>() / lines,
        }
        Ok(options)
    }

    /// What this message holds.
    pub fn body(&self, message: usize) -> &[u8] {
        &self.bodies[message % self.bodies.len()]
    }
}

/// The lines of a file, each of which is to be a message.
fn lines(file: &str) -> Result<Vec<Vec<u8>>, String> {
    let text = fs::read(file).map_err(|error| format!("--bodies {file}: {error}"))?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let lines: Vec<_> = text.split(|byte| *byte == b'\n').map(Vec::from).collect();
    match lines.iter().any(Vec::is_empty) {
        true => Err(format!(
            "--bodies {file}: a line is empty, and nsqd takes no empty message"
        )),
        false => Ok(lines),
    }
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
    least: u8,
) -> Result<T, String> {
    let number = value
        .parse()
        .ok()
        .filter(|number| *number >= T::from(least));
    number.ok_or(format!(
        "{flag} {value}: must be a whole number from {least}"
    ))
}

fn topic_names(topic: &str, count: usize) -> Vec<String> {
    if count == 1 {
        return vec![topic.into()];
    }
    let stem = topic.strip_suffix(EPHEMERAL).unwrap_or(topic);
    let end = &topic[stem.len()..];
    (0..count)
        .map(|number| format!("{stem}_{number}{end}"))
        .collect()
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Outcome {
    /// In messages.
    pub ok: usize,
    /// In messages.
    pub failed: usize,
    /// To the answer of each message, or of each batch.
    pub times: Vec<Duration>,
    pub took: Duration,
    pub processor: Duration,
}

impl Outcome {
    /// Prints the sentence of NSQ's `bench_writer` and, if asked for, the object that `nsq_bench`
    /// prints.
    pub fn tell(&mut self, options: &Options) {
        let seconds = self.took.as_secs_f64();
        let rate = self.ok as f64 / seconds;
        let megabytes = rate * options.size as f64 / 1024.0 / 1024.0;
        println!(
            "duration: {:?} - {megabytes:.3}mb/s - {rate:.3}ops/s - {:.3}us/op",
            self.took,
            1e6 / rate
        );
        if !options.json {
            return;
        }
        self.times.sort_unstable();
        let each = self.processor.as_secs_f64() * 1e6 / (self.ok + self.failed).max(1) as f64;
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
        let place = (share * self.times.len() as f64) as usize;
        let last = self.times.len().saturating_sub(1);
        self.times.get(place.min(last)).copied().unwrap_or_default()
    }
}

/// The time that the processors have spent on this process, in user and in system mode.
pub fn process_time() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime)
        .try_into()
        .unwrap_or_default()
}
