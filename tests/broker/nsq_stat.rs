//! The example `nsq_stat`: its rows, and what it does when nsqds do not answer.

use std::io::{self, Write};
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

use super::fixture::{TOPIC, producer, publish_all};
use super::lookupd::{port, registered};
use crate::harness::{Scenario, lookupd_scenarios};
use crate::support::broker::Broker;
use crate::support::example;
use crate::support::lookupd::{Lookupd, LookupdSettings};
use crate::support::tool::{Tool, exited};
use crate::support::wait::{self, PATIENCE};

/// Bytes that a pipe holds.
const PIPE: usize = 64 << 10;

/// Bytes of a row.
const ROW: usize = 93;

pub fn scenarios() -> Vec<Scenario> {
    let default = LookupdSettings::default;
    lookupd_scenarios![
        row_has_the_sums_over_all_nsqds(default()),
        failed_request_is_reported_and_survived(default()),
        blocked_output_does_not_hold_up_a_signal(default()),
    ]
}

/// Starts `nsq_stat` for these nsqds, which have the channel.
async fn start(lookupd: &Lookupd, brokers: &[&Broker], more: &[&str]) -> Tool {
    Tool::start("nsq_stat", &flags(lookupd, brokers, more).await).unwrap()
}

/// The command line for these nsqds, to which it adds the channel.
async fn flags(lookupd: &Lookupd, brokers: &[&Broker], more: &[&str]) -> Vec<String> {
    let mut ports = Vec::new();
    for broker in brokers {
        broker.create_channel(TOPIC, "c").await;
        ports.push(port(broker).await);
    }
    ports.sort_unstable();
    lookupd.until_producers(TOPIC, Some(&ports), PATIENCE).await;
    let mut flags = vec![
        format!("--topic={TOPIC}"),
        "--channel=c".to_owned(),
        format!("--lookupd-http-address={}", lookupd.http_address()),
    ];
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    flags
}

async fn row_has_the_sums_over_all_nsqds(lookupd: Lookupd) {
    let kind = lookupd.kind();
    let brokers = [
        registered(kind, &lookupd).await,
        registered(kind, &lookupd).await,
    ];
    for (broker, count) in brokers.iter().zip([30, 12]) {
        broker.create_channel(TOPIC, "c").await;
        publish_all(&producer(broker).await, 0..count)
            .await
            .assert_all_ok();
    }
    let flags = ["--interval=10ms", "--count=2"];
    let stat = start(&lookupd, &[&brokers[0], &brokers[1]], &flags).await;
    let ended = stat.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 4, "two lines of header, and two rows");
    for row in &lines[2..] {
        let columns = row.split([' ', '|']).filter(|it| !it.is_empty());
        let columns: Vec<_> = columns.collect();
        let expected = ["0", "0", "42", "42", "0", "0", "0", "0", "0", "42", "0"];
        assert_eq!(columns, expected);
    }
}

async fn failed_request_is_reported_and_survived(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let stat = start(&lookupd, &[&broker], &["--interval=20ms"]).await;
    wait::until("rows", || stat.stdout().lines().count() > 4).await;
    broker.kill().await;
    stat.until_reported("nsq_stat: ").await;
    let before = stat.stdout().lines().count();
    broker.restart().await;
    broker.create_channel(TOPIC, "c").await;
    wait::until("more rows", || stat.stdout().lines().count() > before).await;
}

async fn blocked_output_does_not_hold_up_a_signal(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let flags = flags(&lookupd, &[&broker], &["--interval=1ms"]).await;
    // The pipe has room for a few rows.
    let (pipe, mut stdout) = io::pipe().unwrap();
    stdout.write_all(&[0; PIPE - 500]).unwrap();
    let mut command = Command::new(example::program("nsq_stat").unwrap());
    let mut stat = command.args(flags).stdout(stdout).spawn().unwrap();
    let held = || rustix::io::ioctl_fionread(&pipe).unwrap();
    wait::until("it is blocked", || held() > (PIPE - ROW) as u64).await;
    kill_process(Pid::from_child(&stat), Signal::TERM).unwrap();
    let status = exited(&mut stat).await.expect("it exits");
    assert!(status.success());
}
