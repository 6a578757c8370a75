//! The example `to_nsq` reports the true outcome of every line while nsqd is killed, and while
//! `to_nsq` itself is stopped.

use std::time::Duration;

use super::load::audit;
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};
use crate::support::real_nsqd::RealNsqd;
use crate::support::record::{Outcome, Record};
use crate::support::scaled;
use crate::support::to_nsq::{Ended, ToNsq};
use crate::support::wait::{self, PATIENCE};

const TOPIC: &str = "campaign";

/// Lines per second.
const RATE: usize = 20_000;

/// Longer than two heartbeat intervals, after which both sides close the connection.
const STOPPED: Duration = Duration::from_millis(2_700);

pub fn scenarios() -> Vec<Scenario> {
    let real_only = "it concerns signals to processes";
    scenarios![
        to_nsq_reports_true_outcomes_while_nsqd_is_killed.only(Kind::Real, real_only),
        to_nsq_reports_true_outcomes_after_it_was_stopped.only(Kind::Real, real_only),
    ]
}

/// contract: 1, 2
/// fault: P21
async fn to_nsq_reports_true_outcomes_while_nsqd_is_killed(broker: Broker) {
    let faults = scaled(3, 5);
    let ended = strike(&broker, faults, |nsqd, _| {
        nsqd.kill9().unwrap();
        nsqd.restart().unwrap();
    });
    assert!(ended.await.ambiguous() > 0, "nothing was in flight");
}

/// nsqd closes the connection of a client that answers no heartbeat. Responses that precede the
/// close are read when the client continues, before any timeout strikes.
/// contract: 1, 2
/// fault: P31
async fn to_nsq_reports_true_outcomes_after_it_was_stopped(broker: Broker) {
    let ended = strike(&broker, scaled(1, 3), |_, to_nsq| {
        to_nsq.stop(true).unwrap();
        std::thread::sleep(STOPPED);
        to_nsq.stop(false).unwrap();
    });
    let ended = ended.await;
    let timed_out = ended
        .outcomes
        .iter()
        .find(|(.., error)| error.contains("timed out"));
    assert_eq!(timed_out, None);
}

/// Offers lines to `to_nsq`, strikes in between, and compares the outcomes with what is stored.
async fn strike(broker: &Broker, faults: usize, fault: fn(&mut RealNsqd, &ToNsq)) -> Ended {
    let count = scaled(10_000, 200_000);
    let window = 1_000.min(count / 25 / faults);
    let mut record = Record::new();
    let publisher = record.publisher(TOPIC);
    let lines = (0..count).map(|number| record.offer(publisher, number % 97));
    let (ids, lines): (Vec<_>, Vec<_>) = lines.unzip();

    let run = move |nsqd: &mut RealNsqd| {
        let options = [
            format!("--nsqd-tcp-address={}", nsqd.address()),
            format!("--topic={TOPIC}"),
            format!("--producer-opt=publish_window,{window}"),
            "--producer-opt=heartbeat_interval,1s".to_owned(),
        ];
        let mut to_nsq = ToNsq::start(lines, RATE, &options).unwrap();
        // Two shares follow the last fault.
        let share = (count / (faults + 2)) as u64;
        let mut before = 0;
        for _ in 0..faults {
            wait_for_traffic(nsqd, before + share);
            fault(nsqd, &to_nsq);
            assert!(to_nsq.is_running(), "{}", to_nsq.stderr());
            before = message_count(nsqd);
        }
        to_nsq.wait(Duration::from_secs(120)).unwrap()
    };
    let ended = broker.real().with_nsqd(run).await;

    let (mut ok, mut ambiguous) = (0, 0);
    for (number, outcome, error) in &ended.outcomes {
        let outcome = match &outcome[..] {
            "ok" => Outcome::Ok,
            "maybe_written" => Outcome::Maybe,
            _ => panic!("line {number}: {outcome} {error}"),
        };
        ok += usize::from(outcome == Outcome::Ok);
        ambiguous += usize::from(outcome == Outcome::Maybe);
        record.answer(ids[*number], outcome);
    }
    assert_eq!(
        ended.stderr.lines().last().unwrap_or_default(),
        format!("published: {ok} ok, 0 not written, {ambiguous} maybe written")
    );
    assert_eq!(ended.status.code(), Some(i32::from(ambiguous > 0)));
    assert!(ambiguous <= faults * window, "{ambiguous} are ambiguous");
    let audit = audit(record, broker).await;
    eprintln!("{:.1?}: {audit}", ended.took);
    audit.assert_clean();
    ended
}

/// Waits until nsqd has received this number of messages and receives more: some are in flight.
fn wait_for_traffic(nsqd: &RealNsqd, at_least: u64) {
    let mut last = None;
    let flows = wait::poll(PATIENCE, || {
        let count = message_count(nsqd);
        let grown = last.replace(count).is_some_and(|last| count > last);
        (grown && count >= at_least).then_some(())
    });
    assert!(flows.is_some(), "no traffic: {last:?} of {at_least}");
}

/// Number of messages that nsqd has received since its start.
fn message_count(nsqd: &RealNsqd) -> u64 {
    let stats = nsqd.stats(TOPIC).unwrap();
    stats
        .and_then(|topic| topic["message_count"].as_u64())
        .unwrap_or(0)
}
