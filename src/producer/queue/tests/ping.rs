//! Pings: commands that carry no publishes.

use super::*;

/// checklist: 44
#[test]
fn ping_is_sent_before_queued_publishes() {
    let mut bench = Bench::new();
    bench.publish("a");
    bench.send();
    bench.publish("a");
    bench.ping();
    bench.ping();
    bench.sends(["IDENTIFY {}", "IDENTIFY {}", "PUB a 2"]);
    for answer in ["1 Ok", "3 Ok", "4 Ok", "2 Ok"] {
        bench.ok();
        bench.answers([answer]);
    }
    assert!(bench.queue().is_empty() && bench.queue().oldest_end().is_none());
}

/// checklist: 44
#[test]
fn ping_that_times_out_in_flight_keeps_its_entry() {
    let mut bench = Bench::new();
    bench.ping_within(SECOND);
    bench.publish("a");
    bench.send();
    bench.ping_within(SECOND);
    bench.wait(SECOND);
    bench.answers(["1 Timeout NotWritten", "3 Timeout NotWritten"]);
    let text = "not sent within 1s; last connection error: closed by the peer";
    assert_eq!(bench.latest_error(), text);
    bench.sends([]);
    bench.ok();
    bench.answers([]);
    bench.ok();
    bench.answers(["2 Ok"]);
    bench.ping_within(SECOND);
    bench.send();
    bench.wait(SECOND);
    let text = "sent, but nsqd did not respond within 1s";
    assert_eq!(bench.latest_error(), text);
    // It is not sent again.
    bench.lose(0);
    bench.sends([]);
}

/// checklist: 44
#[test]
fn rejected_ping_affects_no_publish() {
    for text in ["E_BAD_BODY IDENTIFY body too big 21 > 20", "E_BAD_TOPIC no"] {
        let mut bench = Bench::new();
        bench.ping();
        bench.ping();
        bench.multi_publish("a", 100);
        bench.send();
        assert_eq!(bench.reject(text).requeued, 1);
        assert_eq!(bench.take_answers().len(), 1);
        // The other ping is retried like a publish.
        bench.sends(["IDENTIFY {}", "MPUB a 3 3"]);
        bench.lose(0);
        bench.sends(["IDENTIFY {}", "MPUB a 3 3"]);
        bench.oks(2);
        bench.answers(["2 Ok", "3 Ok"]);
        assert_eq!(bench.queue().counters().published, 1);
    }
}

/// checklist: 44
#[test]
fn cancelled_pings_do_not_accumulate() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        bench.ping();
    }
    assert_eq!(bench.send().len(), 3);
    bench.cancel(2);
    for _ in 0..60 {
        let id = bench.ping();
        bench.cancel(id);
    }
    let awaited = bench.ping();
    assert_eq!(bench.queue().pings.entries(), 64);
    // Those in flight and those awaited are kept.
    let last = bench.ping();
    assert_eq!(bench.queue().pings.entries(), 5);
    for _ in 0..10_000 {
        let id = bench.ping();
        bench.cancel(id);
    }
    assert!(bench.queue().pings.entries() <= 64);
    bench.oks(3);
    bench.answers(["1 Ok", "2 Ok", "3 Ok"]);
    bench.sends(["IDENTIFY {}", "IDENTIFY {}"]);
    bench.oks(2);
    bench.answers_each([awaited, last], "Ok");
}
