//! Code that the consuming peers share: the command line and the report of `nsq_bench consume`.

use std::{
    cell::Cell,
    env, process,
    time::{Duration, Instant},
};

use crate::{milliseconds, number, process_time};

/// The command line.
#[derive(Debug, Clone)]
pub struct Options {
    pub addresses: Vec<String>,
    pub topic: String,
    pub channel: String,
    pub max_in_flight: u16,
    pub messages: usize,
    /// Time of a handler.
    pub handler_time: Option<Duration>,
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
        let (mut topic, mut channel) = (None, None);
        let mut options = Self {
            addresses: Vec::new(),
            topic: String::new(),
            channel: String::new(),
            max_in_flight: 2_500,
            messages: 1_000_000,
            handler_time: None,
            json: false,
        };
        while let Some(flag) = arguments.next() {
            if flag == "--json" {
                options.json = true;
                continue;
            }
            let value = arguments.next().ok_or(format!("{flag} has no value"))?;
            match flag.as_str() {
                "--nsqd-tcp-address" => options.addresses.push(value),
                "--topic" => topic = Some(value),
                "--channel" => channel = Some(value),
                "--max-in-flight" => options.max_in_flight = number(&flag, &value, 1)?,
                "--messages" => options.messages = number(&flag, &value, 2)?,
                "--handler-time" => options.handler_time = Some(milliseconds(&flag, &value)?),
                _ => return Err(format!("unknown flag {flag}")),
            }
        }
        options.topic = topic.ok_or("--topic is missing")?;
        options.channel = channel.ok_or("--channel is missing")?;
        if options.addresses.is_empty() {
            options.addresses.push("127.0.0.1:4150".into());
        }
        Ok(options)
    }
}

/// The messages that were handled so far, and when the measurement began and ended.
#[derive(Debug)]
pub struct Progress {
    messages: usize,
    handled: Cell<usize>,
    first: Cell<Option<Moment>>,
    last: Cell<Option<Moment>>,
}

#[derive(Debug, Clone, Copy)]
struct Moment {
    handled: usize,
    time: Instant,
    cpu_time: Duration,
}

impl Progress {
    pub fn new(options: &Options) -> Self {
        Self {
            messages: options.messages,
            handled: Cell::new(0),
            first: Cell::new(None),
            last: Cell::new(None),
        }
    }

    /// Counts messages that were handled at the same time.
    pub fn add(&self, count: usize) {
        let before = self.handled.get();
        let handled = before + count;
        self.handled.set(handled);
        let measured = self.messages - self.messages / 100;
        let now = || {
            Some(Moment {
                handled,
                time: Instant::now(),
                cpu_time: process_time(),
            })
        };
        if before == 0 {
            self.first.set(now());
        }
        if before < measured && measured <= handled {
            self.last.set(now());
        }
    }

    /// Whether all messages were handled.
    pub fn is_complete(&self) -> bool {
        self.handled.get() >= self.messages
    }

    /// Prints the summary and, with `--json`, the object of `nsq_bench`. Does nothing before 99
    /// percent of the messages were handled.
    pub fn print(&self, options: &Options) {
        let (Some(first), Some(last)) = (self.first.get(), self.last.get()) else {
            return;
        };
        let messages = (last.handled - first.handled) as f64;
        let seconds = (last.time - first.time).as_secs_f64();
        let rate = messages / seconds;
        let each = (last.cpu_time - first.cpu_time).as_secs_f64() * 1e6 / messages;
        println!(
            "duration: {seconds:.6}s - {rate:.3}ops/s - {:.3}us/op",
            1e6 / rate
        );
        if options.json {
            let (messages, ok) = (self.messages, self.handled.get().min(self.messages));
            println!(
                "{{\"rate\":{rate:.3},\"cpu_us_per_message\":{each:.3},\"messages\":{messages},\
                 \"ok\":{ok},\"failed\":{},\"duration_s\":{seconds}}}",
                messages - ok
            );
        }
    }
}
