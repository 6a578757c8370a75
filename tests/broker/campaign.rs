//! The proof: `to_nsq` tells the truth of every record while the real nsqd is killed, stopped and frozen under it.
//!
//! It is offered numbered lines; the faults strike while publishes are in flight. Afterwards what it said of each is held
//! against what nsqd has. The full size is asked for by the environment:
//!
//! ```text
//! cargo build --release --example to_nsq
//! CAMPAIGN_LINES=200000 CAMPAIGN_RATE=60000 CAMPAIGN_FAULTS=5 TO_NSQ_BIN=target/release/examples/to_nsq \
//!     cargo test --test broker -- campaign --test-threads 1
//! ```

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};
use crate::support::real_nsqd::RealNsqd;
use crate::support::to_nsq::{Ended, Lines, ToNsq};
use crate::support::wait::{self, PATIENCE};

const TOPIC: &str = "campaign";

/// Why no other.
const REAL_ONLY: &str = "it is about a program that is sent signals";

/// How many publishes may be on the wire: so many answers at most are lost with a connection. A small campaign has a
/// small one, or the faults would be most of it.
const WINDOW: usize = 1_000;

/// Longer than two heartbeat intervals of a second, after which both sides give a connection up.
const FREEZE: Duration = Duration::from_millis(2_700);

/// How long `to_nsq` may go on after the last fault, and how long all of it may take.
const REST: Duration = Duration::from_secs(120);
const LONGEST: Duration = Duration::from_secs(400);

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        every_answer_is_true_while_nsqd_is_killed
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        every_answer_is_true_while_nsqd_is_killed_and_each_line_is_a_command
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        every_answer_is_true_while_nsqd_is_asked_to_end
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        every_answer_is_true_while_nsqd_freezes
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
        every_answer_is_true_while_the_client_itself_is_stopped
            .only(Kind::Real, REAL_ONLY)
            .within(LONGEST),
    ]
}

/// contract: 1, 2
/// fault: P21
async fn every_answer_is_true_while_nsqd_is_killed(broker: Broker) {
    killed(broker, Size::new(5)).await;
}

/// contract: 1, 2
async fn every_answer_is_true_while_nsqd_is_killed_and_each_line_is_a_command(broker: Broker) {
    let size = Size {
        batching: false,
        ..Size::new(5)
    };
    killed(broker, size).await;
}

async fn killed(broker: Broker, size: Size) {
    let tale = campaign(&broker, size, |nsqd, _| {
        nsqd.kill9().unwrap();
        nsqd.restart().unwrap();
    });
    let tale = tale.await;
    tale.check();
    assert!(tale.is_in_order(), "{tale}");
    assert!(tale.count("maybe_written") > 0, "{tale}");
}

/// contract: 1, 2
/// fault: P22
async fn every_answer_is_true_while_nsqd_is_asked_to_end(broker: Broker) {
    let size = Size::new(5);
    let tale = campaign(&broker, size, |nsqd, _| {
        nsqd.sigterm().unwrap();
        nsqd.restart().unwrap();
    });
    let tale = tale.await;
    tale.check();
    assert!(tale.is_in_order(), "{tale}");
}

/// What lies in a frozen nsqd's socket may be executed long after the connection was given up.
/// contract: 1, 2
/// fault: P22
async fn every_answer_is_true_while_nsqd_freezes(broker: Broker) {
    let size = Size::new(2);
    let tale = campaign(&broker, size, |nsqd, _| {
        nsqd.sigstop().unwrap();
        std::thread::sleep(FREEZE);
        nsqd.sigcont().unwrap();
    });
    let tale = tale.await;
    tale.check();
    assert!(tale.count("maybe_written") > 0, "{tale}");
}

/// nsqd gives up a client that answers no heartbeat. What it said before is still read when the client goes on, and no time-out
/// that passed meanwhile comes before that.
/// contract: 1, 2
/// fault: P31
async fn every_answer_is_true_while_the_client_itself_is_stopped(broker: Broker) {
    let size = Size::new(2);
    let tale = campaign(&broker, size, |_, to_nsq| {
        to_nsq.stop(true).unwrap();
        std::thread::sleep(FREEZE);
        to_nsq.stop(false).unwrap();
    });
    let tale = tale.await;
    tale.check();
    let outcomes = tale.ended.outcomes.iter();
    let timed_out = outcomes.filter(|(.., error)| error.contains("timed out"));
    assert_eq!(timed_out.count(), 0, "{tale}");
}

#[derive(Clone, Copy, Debug)]
struct Size {
    lines: Lines,
    faults: usize,
    window: usize,
    batching: bool,
}

impl Size {
    fn new(faults: usize) -> Self {
        let given = |name: &str, or: usize| {
            std::env::var(name).map_or(or, |number| number.parse().expect(name))
        };
        let lines = Lines {
            count: given("CAMPAIGN_LINES", 40_000),
            rate: given("CAMPAIGN_RATE", 20_000),
        };
        let faults = given("CAMPAIGN_FAULTS", faults);
        Self {
            lines,
            faults,
            batching: true,
            window: WINDOW.min(lines.count / 25 / faults.max(1)),
        }
    }
}

/// Offers the lines, lets the faults strike, and collects what was said and what is there.
async fn campaign(broker: &Broker, size: Size, fault: fn(&mut RealNsqd, &ToNsq)) -> Tale {
    let nsqd = broker.real();
    let ended = nsqd.with_nsqd(move |nsqd| strike(nsqd, size, fault)).await;
    let bodies = broker.bodies(TOPIC, ended.outcomes.len()).await;
    let tale = Tale {
        size,
        ended,
        stored: bodies.iter().map(|body| number_of(body)).collect(),
    };
    if std::env::var_os("CAMPAIGN_LINES").is_some() {
        eprintln!("{tale}");
    }
    tale
}

fn strike(nsqd: &mut RealNsqd, size: Size, fault: fn(&mut RealNsqd, &ToNsq)) -> Ended {
    let address = nsqd.address();
    let window = format!("publish_window,{}", size.window);
    let batching = format!("auto_batch,{}", size.batching);
    let mut to_nsq = ToNsq::start(
        size.lines,
        text,
        &[
            "--topic",
            TOPIC,
            "--nsqd-tcp-address",
            &address,
            "--producer-opt",
            &window,
            "--producer-opt",
            &batching,
            "--producer-opt",
            "heartbeat_interval,1s",
        ],
    )
    .unwrap();
    // Two shares are left when the last fault has struck.
    let share = (size.lines.count / (size.faults + 2)) as u64;
    let mut before = 0;
    for _ in 0..size.faults {
        wait_for_traffic(nsqd, before + share);
        fault(nsqd, &to_nsq);
        assert!(to_nsq.is_running(), "{}", to_nsq.stderr());
        before = message_count(nsqd);
    }
    to_nsq.wait(REST).unwrap()
}

/// Waits until nsqd has taken so many messages, and is seen taking more: publishes are in flight.
fn wait_for_traffic(nsqd: &RealNsqd, at_least: u64) {
    let mut last = None;
    let flows = wait::poll(PATIENCE, || {
        let count = message_count(nsqd);
        let grown = last.replace(count).is_some_and(|last| count > last);
        (grown && count >= at_least).then_some(())
    });
    assert!(flows.is_some(), "no traffic: {last:?} of {at_least}");
}

/// How many messages nsqd has taken since it was started.
fn message_count(nsqd: &RealNsqd) -> u64 {
    let stats = nsqd.stats(TOPIC).unwrap();
    let count = stats.as_ref().and_then(|topic| topic.get("message_count"));
    count.and_then(Value::as_u64).unwrap_or(0)
}

/// Lines of many lengths, so that a mix-up of bytes cannot look like another line.
fn text(number: usize) -> String {
    format!("{number} {}", "x".repeat(number % 97))
}

fn number_of(body: &[u8]) -> usize {
    let body = String::from_utf8_lossy(body);
    let number = body.split(' ').next().and_then(|word| word.parse().ok());
    number
        .filter(|number| body == text(*number))
        .unwrap_or_else(|| panic!("nobody published {body:?}"))
}

/// What `to_nsq` said, and what nsqd has.
struct Tale {
    size: Size,
    ended: Ended,
    /// The numbers of the lines in nsqd, in the order they came out of it.
    stored: Vec<usize>,
}

impl Tale {
    /// Holds for every fault.
    fn check(&self) {
        self.check_the_log();
        self.check_the_last_word();
        self.check_the_promises();
        assert!(
            self.count("ok") * 100 >= self.size.lines.count * 95,
            "{self}"
        );
        assert_eq!(self.count("not_written"), 0, "{self}");
        assert!(
            self.count("maybe_written") <= self.size.faults * self.size.window,
            "{self}"
        );
    }

    /// There is one outcome for each line.
    fn check_the_log(&self) {
        let mut numbers: Vec<usize> = self
            .ended
            .outcomes
            .iter()
            .map(|(number, ..)| *number)
            .collect();
        numbers.sort_unstable();
        assert!(numbers.into_iter().eq(0..self.size.lines.count), "{self}");
    }

    fn check_the_last_word(&self) {
        let [ok, not_written, maybe_written] =
            ["ok", "not_written", "maybe_written"].map(|outcome| self.count(outcome));
        assert_eq!(
            self.ended.stderr.lines().last().unwrap_or_default(),
            format!("published: {ok} ok, {not_written} not written, {maybe_written} maybe written")
        );
        let code = i32::from(ok < self.size.lines.count);
        assert_eq!(self.ended.status.code(), Some(code), "{self}");
    }

    /// What is said to be stored is stored, what is said not to be is not, and nothing is stored twice.
    fn check_the_promises(&self) {
        let mut copies: HashMap<usize, usize> = HashMap::new();
        for number in &self.stored {
            *copies.entry(*number).or_default() += 1;
        }
        let broken = self.ended.outcomes.iter().filter(|(number, outcome, _)| {
            let copies = copies.remove(number).unwrap_or(0);
            let allowed = match outcome.as_str() {
                "ok" => 1..=1,
                "not_written" => 0..=0,
                "maybe_written" => 0..=1,
                _ => return true,
            };
            !allowed.contains(&copies)
        });
        let broken: Vec<_> = broken.take(20).collect();
        assert!(broken.is_empty(), "{self}\nuntrue: {broken:?}");
        assert!(copies.is_empty(), "{self}\nof no outcome: {copies:?}");
    }

    /// With one connection after the other, lines are stored in the order of the input.
    fn is_in_order(&self) -> bool {
        self.stored.is_sorted()
    }

    fn count(&self, outcome: &str) -> usize {
        let outcomes = self.ended.outcomes.iter();
        outcomes.filter(|(_, other, _)| other == outcome).count()
    }
}

impl std::fmt::Display for Tale {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (count, took) = (self.size.lines.count, self.ended.took);
        let per_second = count as f64 / took.as_secs_f64();
        writeln!(
            f,
            "{count} lines, {} faults, {took:.2?} ({per_second:.0}/s): {} ok, {} not written, {} maybe written; {} stored",
            self.size.faults,
            self.count("ok"),
            self.count("not_written"),
            self.count("maybe_written"),
            self.stored.len(),
        )?;
        write!(f, "{}", self.ended.stderr)
    }
}
