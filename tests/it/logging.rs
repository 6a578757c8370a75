//! What the log tells, and that neither users nor peers can flood it.

use actix_nsq::Publish;
use tokio::time::sleep;

use crate::harness::{Network, in_virtual_time, ms, s, topic};
use crate::support::logs;
use crate::support::spoken::response_frame;

/// The lines with this word since the last look.
fn lines_with(word: &str) -> Vec<String> {
    let lines = logs::take_info().into_iter().map(|(_, line)| line);
    lines.filter(|line| line.contains(word)).collect()
}

/// fault: A5
/// checklist: 106
#[test]
fn failures_that_nobody_awaits_are_all_counted_and_logged_once_a_second() {
    logs::capture();
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let _nsqd = network.connected().await;
        let fail = |times: usize| {
            for _ in 0..times {
                producer.do_send(Publish::new(topic("t"), ""));
            }
        };
        fail(100);
        sleep(ms(1)).await;
        assert!(lines_with("nobody awaits")[0].contains(": 100;"));
        fail(50);
        sleep(ms(500)).await;
        fail(60);
        assert_eq!(lines_with("nobody awaits"), [""; 0]);
        // Nothing else happens that could remind the producer.
        sleep(ms(501)).await;
        assert!(lines_with("nobody awaits")[0].contains(": 110;"));
        sleep(s(5)).await;
        fail(7);
        drop(producer);
        sleep(ms(1)).await;
        let last = lines_with("nobody awaits");
        assert!(last.len() == 1 && last[0].contains(": 7;"), "{last:?}");
    });
}

/// checklist: 106
#[test]
fn the_version_of_a_peer_is_logged_on_one_short_line() {
    logs::capture();
    in_virtual_time(async |mut network: Network| {
        let _producer = network.start();
        let mut nsqd = network.accept().await;
        nsqd.expect_magic().await;
        nsqd.expect_identify().await;
        let version = "1\\nERROR".repeat(10_000);
        nsqd.send(response_frame(format!(r#"{{"version":"{version}"}}"#)))
            .await;
        sleep(ms(1)).await;
        let lines = lines_with("connected to nsqd");
        assert!(
            lines.len() == 1 && lines[0].len() < 200 && !lines[0].contains('\n'),
            "{} bytes",
            lines[0].len()
        );
    });
}
