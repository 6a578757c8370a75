//! The example `nsq_tail`: what it prints is finished, and nothing else.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::fixture::{TOPIC, producer, publish_all};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, ChannelState, Settings};
use crate::support::tool::{Tool, exited};
use crate::support::wait;
use crate::support::{example, raw_client};

const CHANNEL: &str = "tail";

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        exactly_what_is_printed_is_finished.with(Settings::in_memory()),
        signal_ends_it_and_everything_printed_is_finished.with(Settings::in_memory()),
        closed_output_ends_it_and_loses_no_message.with(Settings::in_memory()),
        blocked_output_does_not_hold_up_the_end.with(Settings::in_memory()),
        write_error_ends_it_and_returns_the_messages.with(Settings::in_memory()),
        json_line_has_all_of_a_message.with(Settings::in_memory()),
    ]
}

/// Publishes these bodies to the channel.
async fn publish(broker: &Broker, bodies: &[&[u8]]) {
    broker.create_channel(TOPIC, CHANNEL).await;
    raw_client::publish(&broker.address().await, TOPIC, bodies).unwrap();
}

async fn flags(broker: &Broker, more: &[&str]) -> Vec<String> {
    let mut flags = vec![
        format!("--nsqd-tcp-address={}", broker.address().await),
        format!("--topic={TOPIC}"),
        format!("--channel={CHANNEL}"),
    ];
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    flags
}

async fn publish_numbers(broker: &Broker, count: usize) {
    broker.create_channel(TOPIC, CHANNEL).await;
    let answers = publish_all(&producer(broker).await, 0..count).await;
    answers.assert_all_ok();
}

/// The channel, when the connection is closed.
async fn left(broker: &Broker) -> ChannelState {
    broker.until_no_client_is_left().await;
    broker.channel(TOPIC, CHANNEL).await
}

async fn exactly_what_is_printed_is_finished(broker: Broker) {
    publish_numbers(&broker, 100).await;
    let tail = Tool::start("nsq_tail", &flags(&broker, &["-n", "30"]).await).unwrap();
    let ended = tail.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.lines().count(), 30);
    let left = left(&broker).await;
    assert_eq!((left.depth, left.in_flight), (70, 0));
}

async fn signal_ends_it_and_everything_printed_is_finished(broker: Broker) {
    publish_numbers(&broker, 1_000).await;
    let tail = Tool::start("nsq_tail", &flags(&broker, &["--print-topic"]).await).unwrap();
    wait::until("it prints", || tail.stdout().lines().count() == 1_000).await;
    tail.signal(Signal::TERM).unwrap();
    let ended = tail.ended().await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let prefix = format!("{TOPIC} | ");
    assert!(ended.stdout.lines().all(|line| line.starts_with(&prefix)));
    let left = left(&broker).await;
    assert_eq!((left.depth, left.in_flight), (0, 0));
}

async fn closed_output_ends_it_and_loses_no_message(broker: Broker) {
    // None fits into the pipe.
    let body = &[b'x'; 100_000][..];
    publish(&broker, &[body; 10]).await;
    let mut command = Command::new(example::program("nsq_tail").unwrap());
    command.args(flags(&broker, &["--max-in-flight=1"]).await);
    let mut tail = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    drop(lines);
    let status = exited(&mut tail).await.expect("it exits");
    assert!(status.success());
    assert_eq!(first.len(), body.len());
    let left = left(&broker).await;
    // The first one may have been read before it was finished.
    assert!(left.depth >= 9 && left.in_flight == 0, "{left:?}");
}

/// Nothing reads the pipe, which holds 64 KiB.
async fn blocked_output_does_not_hold_up_the_end(broker: Broker) {
    let body = &[b'x'; 10_000][..];
    publish(&broker, &[body; 100]).await;
    let mut command = Command::new(example::program("nsq_tail").unwrap());
    command.args(flags(&broker, &[]).await);
    let mut tail = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = tail.stdout.take().unwrap();
    // It has begun to write.
    stdout.read_exact(&mut [0]).unwrap();
    kill_process(Pid::from_child(&tail), Signal::TERM).unwrap();
    exited(&mut tail).await.expect("it exits");
    let left = left(&broker).await;
    // The pipe holds a few messages.
    assert!(left.depth >= 90 && left.in_flight == 0, "{left:?}");
}

async fn write_error_ends_it_and_returns_the_messages(broker: Broker) {
    publish_numbers(&broker, 3).await;
    let mut command = Command::new(example::program("nsq_tail").unwrap());
    command.args(flags(&broker, &[]).await);
    command.stdout(File::create("/dev/full").unwrap());
    let mut tail = command.spawn().unwrap();
    let status = exited(&mut tail).await.expect("it exits");
    assert_eq!(status.code(), Some(1));
    let left = left(&broker).await;
    assert_eq!((left.depth, left.in_flight), (3, 0));
}

async fn json_line_has_all_of_a_message(broker: Broker) {
    publish(&broker, &[b"a \"text\"", b"\xff\0"]).await;
    let tail = Tool::start("nsq_tail", &flags(&broker, &["-n=2", "--json"]).await).unwrap();
    let ended = tail.ended().await;
    let lines = ended.stdout.lines();
    let mut messages: Vec<Value> = lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    messages.sort_by_key(|message| message["body"].is_null());
    for message in &messages {
        assert_eq!(message["topic"], TOPIC);
        assert_eq!(message["attempts"], 1);
        assert_eq!(message["address"], broker.address().await);
        assert!(message["timestamp"].as_i64().unwrap() > 1_700_000_000_000_000_000);
        assert_eq!(message["id"].as_str().unwrap().len(), 16);
    }
    assert_eq!(messages[0]["body"], "a \"text\"");
    assert_eq!(messages[1]["body_hex"], "ff00");
}
