//! Answers that are none, servers that are no nsqlookupd, and what is logged.

use std::sync::atomic::Ordering;

use actix_nsq::{
    SubscribeEvents,
    lookup::{LookupEvent, Refresh, RemoveLookupd},
};
use log::Level;

use super::world::{Answer, World, http, node, nodes, now, producers, state, unknown_topic};
use crate::harness::{Recorder, consumer_stats, in_virtual_time, ms, s};
use crate::support::logs;

/// Queries an nsqlookupd that answers so, and returns the error.
#[track_caller]
fn error_of(answer: Answer) -> String {
    let mut text = String::new();
    in_virtual_time(async |network| {
        let world = World::new(network);
        world.lookupd("lookupd:4161", answer);
        let config = world.config(&["lookupd:4161"]).build().unwrap();
        let error = actix_nsq::lookup::nodes(&config).await.unwrap_err();
        text = error.to_string();
    });
    text
}

/// fault: C9
#[test]
fn wrong_ports_are_named() {
    let nsqd = error_of(Answer::Last(b"\0\0\0\x12\0\0\0\x01E_BAD_PROTOCOL".to_vec()));
    assert!(nsqd.contains("not nsqd's TCP port"), "{nsqd}");
    let lookupd = error_of(Answer::Last(b"\0\0\0\x0eE_BAD_PROTOCOL".to_vec()));
    assert!(
        lookupd.contains("nsqlookupd's TCP port (usually 4160)"),
        "{lookupd}"
    );
    let http_port = error_of(now(http("404 Not Found", r#"{"message":"NOT_FOUND"}"#)));
    assert!(
        http_port.contains("nsqd's HTTP port (usually 4151)"),
        "{http_port}"
    );
    let other = error_of(Answer::Last(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()));
    assert!(other.starts_with("the answer is not HTTP"), "{other}");
}

/// fault: C9
#[test]
fn redirect_names_its_location() {
    let moved = b"HTTP/1.1 301 Moved Permanently\r\nLocation: /lookup/nodes\r\n\
                  Content-Length: 0\r\n\r\n";
    let text = error_of(now(moved.to_vec()));
    assert_eq!(text, "redirected (301) to /lookup/nodes: use that address");
}

/// fault: C9
#[test]
fn body_above_the_limit_is_an_error() {
    let large = " ".repeat(10 << 20);
    let text = "the answer exceeds 4194304 bytes";
    assert_eq!(error_of(now(http("200 OK", &large))), text);
    // Without a length, and in chunks.
    let mut endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..80 {
        endless.extend(format!("10000\r\n{}\r\n", " ".repeat(0x10000)).bytes());
    }
    assert_eq!(error_of(Answer::Last(endless)), text);
    let mut headers = b"HTTP/1.1 200 OK\r\n".to_vec();
    headers.extend("x".repeat(1 << 20).bytes());
    assert!(error_of(Answer::Last(headers)).starts_with("the answer is not HTTP"));
}

/// fault: C9
#[test]
fn slow_answer_ends_with_the_request_timeout() {
    let mut slow = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
    slow.extend([b' '; 100_000]);
    let text = "no complete answer within lookupd_poll_timeout (10s)";
    assert_eq!(error_of(Answer::Slowly(slow)), text);
}

/// The two framings of an answer: with a length, and in chunks.
fn framings() -> [Vec<u8>; 2] {
    let json = format!(r#"{{"producers":[{}]}}"#, node("nsqd", 4150));
    let chunked = format!(
        "HTTP/1.1 200 OK\r\nX-Nsq-Content-Type: nsq; version=1.0\r\n\
         Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{json}\r\n0\r\n\r\n",
        json.len()
    );
    [http("200 OK", &json), chunked.into_bytes()]
}

/// fault: C9
#[test]
fn answer_cut_at_any_byte_changes_nothing() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["kept"]));
        let consumer = world.start(&["lookupd:4161"], |config| {
            config.lookupd_poll_timeout(ms(100))
        });
        let _nsqd = world.subscribed("kept:4150").await;
        for whole in framings() {
            for cut in 0..whole.len() {
                world.lookupd("lookupd:4161", Answer::Last(whole[..cut].to_vec()));
                consumer.send(Refresh).await.unwrap();
                tokio::time::sleep(ms(200)).await;
                let state = state(&consumer).await;
                assert!(state.lookupds[0].last_error.is_some(), "cut at {cut}");
                assert_eq!(state.nodes.len(), 1, "cut at {cut}");
            }
        }
        assert!(consumer_stats(&consumer).await.nsqds[0].is_subscribed);
    });
}

/// fault: C9
#[test]
fn chunked_answer_byte_by_byte_is_understood() {
    for whole in framings() {
        in_virtual_time(async |network| {
            let mut world = World::new(network);
            world.lookupd("lookupd:4161", Answer::Slowly(whole));
            let _consumer = world.start(&["lookupd:4161"], |config| config);
            let _nsqd = world.subscribed("nsqd:4150").await;
        });
    }
}

/// fault: C9
#[test]
fn invalid_nodes_are_reported_once_by_name() {
    in_virtual_time(async |network| {
        logs::capture();
        let mut world = World::new(network);
        let json = format!(
            r#"{{"producers":[{},{}]}}"#,
            node("bad", 70_000),
            node("nsqd", 4150)
        );
        world.lookupd("lookupd:4161", now(http("200 OK", &json)));
        let consumer = world.start(&["lookupd:4161"], |config| config);
        let _nsqd = world.subscribed("nsqd:4150").await;
        tokio::time::sleep(s(300)).await;
        let line = "nsqlookupd lookupd:4161: node bad:70000 is skipped: invalid tcp_port";
        let lines = logs::take();
        let found = lines
            .iter()
            .filter(|(level, text)| *level == Level::Warn && text == line);
        assert_eq!(found.count(), 1, "{lines:?}");
        drop(consumer);
    });
}

/// fault: C10
/// checklist: 91
#[test]
fn unresolvable_name_is_reported_once_with_a_hint() {
    in_virtual_time(async |network| {
        logs::capture();
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["unresolvable", "nsqd"]));
        let (events, recorder) = Recorder::<LookupEvent>::start();
        let consumer = world.start(&["lookupd:4161"], |config| config);
        consumer.send(SubscribeEvents(events)).await.unwrap();
        // The connection to the other one is not delayed.
        let _nsqd = world.subscribed("nsqd:4150").await;
        assert!(world.elapsed() < ms(10), "{:?}", world.elapsed());
        tokio::time::sleep(s(60)).await;
        let hint = "set --broadcast-address of this nsqd to a name or address that its clients \
                    can resolve";
        let lines = logs::take();
        let hints = lines.iter().filter(|(_, line)| line.contains(hint));
        assert_eq!(hints.count(), 1, "{lines:?}");
        let is_it = |event: &LookupEvent| matches!(event, LookupEvent::Unresolvable { .. });
        assert_eq!(recorder.take().iter().filter(|it| is_it(it)).count(), 1);
    });
}

/// checklist: 83
#[test]
fn unknown_topic_is_logged_once_without_a_warning() {
    in_virtual_time(async |network| {
        let world = World::new(network);
        world.lookupd("lookupd:4161", unknown_topic());
        logs::capture();
        let _consumer = world.start(&["lookupd:4161"], |config| config);
        tokio::time::sleep(s(600)).await;
        let lines = logs::take_info();
        let line = "nsqlookupd lookupd:4161: does not know the topic yet";
        assert_eq!(lines, [(Level::Info, line.to_owned())]);
    });
}

/// fault: C9
#[test]
fn single_failures_are_no_warnings() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let consumer = world.start(&["lookupd:4161"], |config| config);
        let _nsqd = world.subscribed("nsqd:4150").await;
        tokio::time::sleep(s(1)).await;
        logs::capture();
        let levels = || -> Vec<_> { logs::take_info().iter().map(|(level, _)| *level).collect() };
        for _ in 0..5 {
            world.lookupd("lookupd:4161", Answer::Last(Vec::new()));
            consumer.send(Refresh).await.unwrap();
            tokio::time::sleep(s(1)).await;
            world.lookupd("lookupd:4161", nodes(&["nsqd"]));
            consumer.send(Refresh).await.unwrap();
            tokio::time::sleep(s(1)).await;
            // It failed, and it answers again.
            assert_eq!(levels(), [Level::Info, Level::Info]);
        }
        world.lookupd("lookupd:4161", Answer::Last(Vec::new()));
        tokio::time::sleep(s(600)).await;
        // The first failure, and the third.
        assert_eq!(levels(), [Level::Info, Level::Warn]);
        // Another text.
        world.lookupd("lookupd:4161", Answer::Refused);
        tokio::time::sleep(s(100)).await;
        assert_eq!(levels(), [Level::Warn]);
    });
}

/// fault: C9
#[test]
fn failure_is_a_warning_while_nothing_was_ever_found() {
    in_virtual_time(async |network| {
        logs::capture();
        let world = World::new(network);
        let consumer = world.start(&["lookupd:4161"], |config| config);
        tokio::time::sleep(s(600)).await;
        let lines = logs::take_info();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(lines[0].0, Level::Warn);
        let text = "nsqlookupd lookupd:4161: cannot connect to lookupd:4161: connection refused";
        assert!(lines[0].1.starts_with(text), "{lines:?}");
        let state = state(&consumer).await;
        assert!(state.lookupds[0].errors >= 10, "{state:?}");
        assert_eq!(
            u64::from(state.lookupds[0].failures),
            state.lookupds[0].errors
        );
    });
}

/// checklist: 83
#[test]
fn ten_thousand_polls_leave_nothing_behind() {
    in_virtual_time(async |network| {
        let open = network.open_counter();
        let world = World::new(network);
        world.lookupd("lookupd-1:4161", unknown_topic());
        world.lookupd("lookupd-2:4161", Answer::Last(producers(&[])));
        let lookupds = ["lookupd-1:4161", "lookupd-2:4161", "lookupd-3:4161"];
        let consumer = world.start(&lookupds, |config| {
            config
                .lookupd_poll_interval(ms(50))
                .lookupd_poll_jitter(0.0)
        });
        logs::capture();
        tokio::time::sleep(s(50)).await;
        for address in &lookupds[1..] {
            let remove = RemoveLookupd((*address).to_owned());
            assert!(consumer.send(remove).await.unwrap());
        }
        tokio::time::sleep(s(450)).await;
        let state = state(&consumer).await;
        assert!(state.lookupds[0].queries >= 9_900, "{state:?}");
        assert_eq!(state.lookupds[0].errors, 0);
        assert_eq!(state.nodes, []);
        // The connection to the first is kept.
        assert_eq!(open.load(Ordering::SeqCst), 1);
        assert!(logs::take_info().len() <= 8);
    });
}
