//! The example `nsq_to_file`: what is in the files, and what is finished, in each way that it ends.

mod fixture;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use futures::future::join;
use rustix::process::Signal;

use self::fixture::{CHANNEL, Files, end, end_cleanly, files, lines, until_channel};
use super::fixture::{TOPIC, producer, publish, publish_all};
use super::lookupd::{port, registered};
use crate::harness::{Scenario, lookupd_scenarios, scenarios};
use crate::support::broker::{Broker, Kind, Settings};
use crate::support::lookupd::{Lookupd, LookupdSettings};
use crate::support::tool::{Ended, Tool};
use crate::support::wait::{self, PATIENCE};
use crate::support::{example, small_disk};

/// Nothing listens there.
const NOWHERE: &str = "127.0.0.1:1";

/// Nothing is synced because of the time.
const NO_TICKS: &str = "--sync-interval=1h";

const OFTEN: &str = "--sync-interval=50ms";

pub fn scenarios() -> Vec<Scenario> {
    let in_memory = Settings::in_memory;
    let embedded_only = "it starts no tool that consumes";
    let mut all = scenarios![
        message_is_one_line_and_finished_when_it_is_synced.with(in_memory()),
        full_flight_is_synced_without_a_timer.with(in_memory()),
        message_is_synced_before_it_expires.with(in_memory()),
        hangup_with_a_work_dir_moves_the_file_and_goes_on.with(in_memory()),
        finished_file_never_overwrites_another_one.with(in_memory()),
        killed_tool_has_finished_nothing_that_is_missing.with(in_memory()),
        file_above_rotate_size_is_followed_by_the_next.with(in_memory()),
        file_is_rotated_without_messages_unless_empty.with(in_memory()),
        half_line_of_a_killed_predecessor_is_ended_first.with(in_memory()),
        signal_finishes_what_is_written_and_returns_the_rest.with(in_memory()),
        second_signal_ends_the_tool_although_nsqd_is_frozen.with(in_memory()),
        full_disk_ends_the_tool_and_finishes_nothing_unsynced
            .with(in_memory())
            .only(Kind::Real, "it needs a small disk")
            .unless(small_disk::problem),
        wrong_command_line_of_nsq_to_file_is_rejected.only(Kind::Embedded, embedded_only),
        unusable_directory_or_nsqd_ends_the_tool.with(in_memory()),
    ];
    let default = LookupdSettings::default;
    all.extend(lookupd_scenarios![
        pattern_finds_topics_at_once_and_later_ones(default()),
    ]);
    all
}

async fn message_is_one_line_and_finished_when_it_is_synced(broker: Broker) {
    let files = Files::of(&broker, &[NO_TICKS]).await;
    let producer = producer(&broker).await;
    publish_all(&producer, 0..1).await.assert_all_ok();
    let tool = files.start();
    // A file that is opened is synced.
    files.until_messages(1).await;
    until_channel(&broker, 0, 0).await;
    publish_all(&producer, 1..4).await.assert_all_ok();
    files.until_messages(4).await;
    assert_eq!(broker.channel(TOPIC, CHANNEL).await.in_flight, 3);
    tool.signal(Signal::HUP).unwrap();
    until_channel(&broker, 0, 0).await;
    end_cleanly(tool).await;
    let expected = BTreeMap::from([(TOPIC.to_owned(), lines(0..4))]);
    assert_eq!(files.finished(), expected);
}

async fn full_flight_is_synced_without_a_timer(broker: Broker) {
    let files = Files::of(&broker, &[NO_TICKS, "--max-in-flight=1"]).await;
    publish_all(&producer(&broker).await, 0..20)
        .await
        .assert_all_ok();
    let tool = files.start();
    until_channel(&broker, 0, 0).await;
    end_cleanly(tool).await;
    assert_eq!(files.messages(), Vec::from_iter(0..20));
}

async fn message_is_synced_before_it_expires(broker: Broker) {
    let short = "--consumer-opt=msg_timeout,2s";
    let files = Files::of(&broker, &[NO_TICKS, short]).await;
    let producer = producer(&broker).await;
    publish_all(&producer, 0..1).await.assert_all_ok();
    let tool = files.start();
    files.until_messages(1).await;
    until_channel(&broker, 0, 0).await;
    publish_all(&producer, 1..3).await.assert_all_ok();
    files.until_messages(3).await;
    until_channel(&broker, 0, 0).await;
    end_cleanly(tool).await;
    assert_eq!(files.messages(), [0, 1, 2]);
}

async fn hangup_with_a_work_dir_moves_the_file_and_goes_on(broker: Broker) {
    let files = Files::with_work_dir(&broker, &[NO_TICKS]).await;
    let producer = producer(&broker).await;
    let tool = files.start();
    for round in 0..3 {
        publish_all(&producer, 2 * round..2 * round + 2)
            .await
            .assert_all_ok();
        files.until_messages(2 * round + 2).await;
        assert_eq!(files.finished().len(), round);
        tool.signal(Signal::HUP).unwrap();
        let has_moved = || files.finished().len() == round + 1;
        wait::until("the file has moved", has_moved).await;
        until_channel(&broker, 0, 0).await;
    }
    end_cleanly(tool).await;
    let expected = (0..3).map(|round| {
        let name = format!("{TOPIC}-{round:06}");
        (name, lines(2 * round..2 * round + 2))
    });
    assert_eq!(files.finished(), expected.collect());
    assert_eq!(fs::read_dir(files.work()).unwrap().count(), 0);
}

/// The destination is there before the file is opened, or it comes later.
async fn finished_file_never_overwrites_another_one(broker: Broker) {
    let files = Files::with_work_dir(&broker, &[NO_TICKS]).await;
    let other = |revision: usize| {
        let path = files.output().join(format!("{TOPIC}-{revision:06}"));
        fs::write(path, format!("other {revision}\n")).unwrap();
    };
    fs::create_dir(files.output()).unwrap();
    other(0);
    let tool = files.start();
    publish_all(&producer(&broker).await, 0..1)
        .await
        .assert_all_ok();
    until_channel(&broker, 0, 0).await;
    files.until_messages(1).await;
    other(1);
    end_cleanly(tool).await;
    let other = |revision: usize| vec![format!("other {revision}")];
    let expected = [other(0), other(1), lines([0])];
    assert!(
        files.finished().values().eq(&expected),
        "{:?}",
        files.finished()
    );
}

/// The channel's statistics say how many messages are finished.
async fn killed_tool_has_finished_nothing_that_is_missing(broker: Broker) {
    for kind in ["--gzip=false", "--gzip", "--rotate-size=2000"] {
        // What a killed consumer had comes again after the timeout.
        let timeout = "--consumer-opt=msg_timeout,2s";
        let flags = [OFTEN, timeout, kind];
        let files = if kind.starts_with("--gzip") {
            Files::of(&broker, &flags).await
        } else {
            Files::with_work_dir(&broker, &flags).await
        };
        let producer = producer(&broker).await;
        let published = Cell::new(0);
        for _ in 0..3 {
            let tool = files.start();
            let before = files.written().len();
            let is_killed = Cell::new(false);
            let load = async {
                while !is_killed.get() {
                    let next = published.get() + 20;
                    let numbers = published.get()..next;
                    publish_all(&producer, numbers).await.assert_all_ok();
                    published.set(next);
                    tool.until_reported("syncing").await;
                }
            };
            let kill = async {
                files.until_messages(before + 500).await;
                let more = published.get() + 100;
                wait::until("more is published", || published.get() >= more).await;
                tool.signal(Signal::KILL).unwrap();
                is_killed.set(true);
            };
            join(load, kill).await;
            let ended = tool.ended().await;
            assert_eq!(ended.code, None, "{}", ended.stderr);
            let written = files.written().len();
            until_unfinished(&broker, published.get() - written).await;
        }
        let tool = files.start();
        until_channel(&broker, 0, 0).await;
        end_cleanly(tool).await;
        assert!(files.written().into_iter().eq(0..published.get()), "{kind}");
    }
}

/// Waits until the channel has at least this number of messages: its statistics do not count those
/// that are moving to it.
async fn until_unfinished(broker: &Broker, count: usize) {
    let end = Instant::now() + PATIENCE;
    loop {
        let state = broker.channel(TOPIC, CHANNEL).await;
        if (state.depth + state.in_flight + state.deferred) as usize >= count {
            return;
        }
        assert!(
            Instant::now() < end,
            "{count} messages are not in the files, and less are not finished: {state:?}"
        );
    }
}

async fn file_above_rotate_size_is_followed_by_the_next(broker: Broker) {
    // A line has 26 bytes.
    let files = Files::of(&broker, &[NO_TICKS, "--rotate-size=77"]).await;
    publish_all(&producer(&broker).await, 0..10)
        .await
        .assert_all_ok();
    let tool = files.start();
    files.until_messages(10).await;
    end_cleanly(tool).await;
    let finished = files.finished();
    let names: Vec<_> = (0..4).map(|it| format!("{TOPIC}-{it:06}")).collect();
    assert!(finished.keys().eq(&names), "{finished:?}");
    let counts: Vec<_> = finished.values().map(Vec::len).collect();
    assert_eq!(counts, [3, 3, 3, 1]);
    let mut messages = files.messages();
    messages.sort_unstable();
    assert_eq!(messages, Vec::from_iter(0..10));
}

async fn file_is_rotated_without_messages_unless_empty(broker: Broker) {
    let rotated = "--rotate-interval=100ms";
    let files = Files::of(&broker, &[OFTEN, rotated]).await;
    let tool = files.start();
    let are_there = || files.finished().len() >= 3;
    wait::until("there are empty files", are_there).await;
    end_cleanly(tool).await;
    assert!(files.finished().values().all(Vec::is_empty));

    let flags = [OFTEN, rotated, "--skip-empty-files"];
    let files = Files::with_work_dir(&broker, &flags).await;
    let producer = producer(&broker).await;
    let tool = files.start();
    for number in 0..2 {
        publish_all(&producer, number..number + 1)
            .await
            .assert_all_ok();
        let is_finished = || files.finished().len() == number + 1;
        wait::until("the file is finished", is_finished).await;
    }
    end_cleanly(tool).await;
    let finished = files.finished();
    assert!(
        finished.values().all(|lines| lines.len() == 1),
        "{finished:?}"
    );
    assert_eq!(finished.len(), 2);
}

async fn half_line_of_a_killed_predecessor_is_ended_first(broker: Broker) {
    let files = Files::of(&broker, &[OFTEN]).await;
    fs::create_dir(files.output()).unwrap();
    fs::write(files.output().join(TOPIC), "whole\nha").unwrap();
    publish_all(&producer(&broker).await, 0..1)
        .await
        .assert_all_ok();
    let tool = files.start();
    files.until_messages(1).await;
    end_cleanly(tool).await;
    let text = fs::read_to_string(files.output().join(TOPIC)).unwrap();
    assert_eq!(text, format!("whole\nha\n{}\n", lines([0])[0]));
}

async fn signal_finishes_what_is_written_and_returns_the_rest(broker: Broker) {
    for signal in [Signal::TERM, Signal::INT] {
        let files = Files::of(&broker, &[NO_TICKS, "--gzip"]).await;
        let producer = producer(&broker).await;
        let tool = files.start();
        let wait_for_the_file = async {
            tool.until_reported("opening").await;
            tool.signal(signal).unwrap();
            tool.ended().await
        };
        let publishing = publish_all(&producer, 0..2000);
        let (answers, ended) = join(publishing, wait_for_the_file).await;
        answers.assert_all_ok();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        // Each is written and finished, or left.
        until_channel(&broker, 2000 - files.messages().len() as u64, 0).await;
        broker.empty_channel(TOPIC, CHANNEL).await;
    }
}

async fn second_signal_ends_the_tool_although_nsqd_is_frozen(broker: Broker) {
    let files = Files::of(&broker, &[NO_TICKS]).await;
    let producer = producer(&broker).await;
    publish_all(&producer, 0..1).await.assert_all_ok();
    let tool = files.start();
    tool.until_reported("syncing 1 records").await;
    publish_all(&producer, 1..3).await.assert_all_ok();
    files.until_messages(3).await;
    broker.freeze(true).await;
    tool.signal(Signal::TERM).unwrap();
    tool.until_reported("syncing 2 records").await;
    let ended = end(tool).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let is_drained = ended.stderr.contains("written again");
    assert!(!is_drained, "{}", ended.stderr);
    broker.freeze(false).await;
    assert_eq!(files.messages(), [0, 1, 2]);
}

async fn full_disk_ends_the_tool_and_finishes_nothing_unsynced(broker: Broker) {
    let files = Files::of(&broker, &[NO_TICKS]).await;
    let producer = producer(&broker).await;
    let program = example::program("nsq_to_file").unwrap();
    fs::create_dir(files.output()).unwrap();
    let mut command = small_disk::command(&program, &files.output(), 64 << 10).unwrap();
    command.args(&files.flags);
    let tool = Tool::run(command).unwrap();
    publish(&producer, "small").await.unwrap();
    tool.until_reported("syncing 1 records").await;
    until_channel(&broker, 0, 0).await;
    for _ in 0..10 {
        publish(&producer, vec![b'x'; 10_000]).await.unwrap();
    }
    let ended = tool.ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let path = files.output().join(TOPIC);
    let expected = format!(
        "cannot write to {}: No space left on device",
        path.display()
    );
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
    until_channel(&broker, 10, 0).await;
}

async fn wrong_command_line_of_nsq_to_file_is_rejected(_: Broker) {
    let address = format!("--nsqd-tcp-address={NOWHERE}");
    for (flags, reason) in [
        ("", "--topic or --topic-pattern is required"),
        ("--topic a/b", "a/b"),
        ("--topic t --channel c!", "c!"),
        ("--topic-pattern t", "needs --lookupd-http-address"),
        ("--topic t --topic-pattern (", "--topic-pattern \"(\""),
        ("--topic t --topic-pattern u", "no --topic matches"),
        (
            "--topic t --lookupd-http-address h:1",
            "cannot be used with",
        ),
        (
            "--topic t --consumer-opt nonsense,1",
            "unknown option \"nonsense\"",
        ),
        ("--topic t --gzip --filename-format <TOPIC>", "has no <REV>"),
        (
            "--topic t --rotate-size 1 --filename-format x",
            "has no <REV>",
        ),
        (
            "--topic t --rotate-interval 1s --filename-format x",
            "has no <REV>",
        ),
        ("--topic t --work-dir x --filename-format x", "has no <REV>"),
        (
            "--topic t --filename-format <TOPICS>",
            "unknown placeholder <TOPICS>",
        ),
        ("--topic t --filename-format ../x", "contains \"..\""),
        (
            "--topic t --host-identifier <NAME>",
            "unknown placeholder <NAME>",
        ),
        ("--topic t --datetime-format %j", "unknown conversion %j"),
        ("--topic t --gzip-level 10", "1..=9"),
        ("--topic t --sync-interval 0", "must be positive"),
        ("--topic t --rotate-interval soon", "must be a duration"),
        (
            "--topic t --http-client-request-timeout 1h",
            "from 1ms to 5m",
        ),
        (
            "--topic t --log-level loud",
            "[possible values: debug, info, warn, error, fatal]",
        ),
    ] {
        let flags = flags.split(' ').filter(|flag| !flag.is_empty());
        let flags = flags.chain([&address[..]]).map(str::to_owned);
        let tool = Tool::start("nsq_to_file", &Vec::from_iter(flags)).unwrap();
        let Ended { code, stderr, .. } = tool.ended().await;
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains(reason), "{reason:?}: {stderr}");
    }
}

async fn unusable_directory_or_nsqd_ends_the_tool(broker: Broker) {
    let mut files = Files::of(&broker, &[]).await;
    fs::write(files.output(), "").unwrap();
    let ended = files.start().ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let path = files.output();
    let expected = format!("cannot create the directory {}: ", path.display());
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);

    fs::remove_file(path).unwrap();
    files.flags.push(format!("--nsqd-tcp-address={NOWHERE}"));
    let ended = files.start().ended().await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains(NOWHERE), "{}", ended.stderr);
}

async fn pattern_finds_topics_at_once_and_later_ones(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    broker.create_channel("orders.new", CHANNEL).await;
    broker.create_channel("payments", CHANNEL).await;
    lookupd
        .until_producers("payments", Some(&[port(&broker).await]), PATIENCE)
        .await;
    let folder = tempfile::tempdir().unwrap();
    let tool = |refresh: &str| {
        let flags = [
            "--topic-pattern=^orders".to_owned(),
            format!("--lookupd-http-address={}", lookupd.http_address()),
            format!("--output-dir={}", folder.path().display()),
            format!("--topic-refresh={refresh}"),
            "--filename-format=<TOPIC>".to_owned(),
            OFTEN.to_owned(),
        ];
        Tool::start("nsq_to_file", &flags).unwrap()
    };
    let are_written = |names: &[&str]| files(folder.path()).keys().eq(names);
    let at_once = tool("1h");
    let written = || are_written(&["orders.new"]);
    wait::until("the topic is found at once", written).await;
    end_cleanly(at_once).await;
    let later = tool("100ms");
    broker.create_channel("orders.old", CHANNEL).await;
    let written = || are_written(&["orders.new", "orders.old"]);
    wait::until("the other topic is found later", written).await;
    end_cleanly(later).await;
}
