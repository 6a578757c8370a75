//! `SubscribeEvents`: what happens to a connection is told as it happens, in order, and with the numbers that are true.

mod failures;

use actix::{Addr, Recipient};
use actix_nsq::{ConnectionEvent, Drain, Producer, Publish, SubscribeEvents};
use tokio::time::sleep;

use crate::harness::{HOUR, Network, Recorder, in_virtual_time, ms, publish, s, send, topic};
use crate::support::spoken::{error_frame, ok_frame};

type Events = Recorder<ConnectionEvent>;

fn subscribe(producer: &Addr<Producer>) -> Events {
    let (recipient, seen) = Events::start();
    producer.do_send(SubscribeEvents(recipient));
    seen
}

/// An event for people, without the address, which must be the one that was configured, and without a delay.
fn show(event: ConnectionEvent) -> String {
    let (address, text) = match event {
        ConnectionEvent::Connecting { address, failed } => {
            (address, format!("connecting after {failed}"))
        }
        ConnectionEvent::Connected {
            address,
            negotiated,
            auth: None,
        } => (address, format!("connected to {}", negotiated.version)),
        ConnectionEvent::Lost {
            address,
            why,
            resent,
            unknown,
        } => (
            address,
            format!("lost: {why}: {resent} resent, {unknown} unknown"),
        ),
        ConnectionEvent::BackingOff {
            address, failed, ..
        } => (address, format!("backing off after {failed}")),
        ConnectionEvent::Draining { address } => (address, "draining".into()),
        ConnectionEvent::Drained { address, report } => {
            let (ok, not, maybe) = (report.ok, report.not_written, report.maybe_written);
            (address, format!("drained: {ok} {not} {maybe}"))
        }
        other => panic!("{other:?} is new"),
    };
    assert_eq!(&*address, "nsqd in memory");
    text
}

/// What was told since the last look, once all is quiet.
async fn told(seen: &Events) -> Vec<String> {
    sleep(ms(1)).await;
    seen.take().into_iter().map(show).collect()
}

/// checklist: 103, 106
#[test]
fn a_connection_is_told_from_its_dial_to_its_loss() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let dial = network.dial().await;
        // Whoever subscribes after the start hears of what comes from then on.
        let first = told(&seen).await;
        assert!(first.len() <= 1, "{first:?}");
        let mut nsqd = dial.accept();
        nsqd.greet().await;
        assert_eq!(told(&seen).await, ["connected to 1.3.0"]);
        nsqd.fin().await;
        let lost = "lost: closed by the peer: 0 resent, 0 unknown";
        assert_eq!(told(&seen).await, [lost, "backing off after 1"]);
        let _hangs = network.dial().await;
        assert_eq!(told(&seen).await, ["connecting after 1"]);
    });
}

/// checklist: 106
#[test]
fn what_was_negotiated_is_shown() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let _nsqd = network.connected().await;
        sleep(ms(1)).await;
        let event = seen.take().pop();
        let Some(ConnectionEvent::Connected { negotiated, .. }) = event else {
            panic!("{event:?}");
        };
        assert_eq!(negotiated.version, "1.3.0");
        assert_eq!(negotiated.max_rdy_count, 2500);
        assert!(!negotiated.auth_required);
    });
}

/// checklist: 106
#[test]
fn every_wait_is_told_as_long_as_it_takes_and_attempts_are_counted() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let attempts = 12;
        for _ in 0..attempts {
            network.dial().await.refuse();
        }
        network.connected().await;
        sleep(ms(1)).await;
        let mut events = seen.take_timed();
        events.retain(|(_, event)| !matches!(event, ConnectionEvent::Connected { .. }));
        // The attempt at the start may have been before the subscription.
        let off = events
            .iter()
            .position(|(_, event)| matches!(event, ConnectionEvent::BackingOff { .. }));
        let pairs = &events[off.unwrap()..];
        let mut waits = 0;
        for pair in pairs.chunks(2) {
            let [(began, waits_for), (ended, then)] = pair else {
                // Of the connection that is lost at the end of this test.
                break;
            };
            let ConnectionEvent::BackingOff { delay, failed, .. } = waits_for else {
                break;
            };
            waits += 1;
            assert_eq!(*failed, waits);
            let ConnectionEvent::Connecting { failed, .. } = then else {
                panic!("{then:?}");
            };
            assert_eq!(*failed, waits);
            let took = *ended - *began;
            assert!(
                took >= *delay && took <= *delay + ms(2),
                "told {delay:?}, took {took:?}"
            );
        }
        assert!(waits >= attempts, "{waits} waits");
    });
}

/// checklist: 106
#[test]
fn attempts_are_counted_anew_after_a_good_connection() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        for _ in 0..3 {
            network.dial().await.refuse();
        }
        let nsqd = network.connected().await;
        sleep(s(2)).await;
        told(&seen).await;
        drop(nsqd);
        let _hangs = network.dial().await;
        let events = told(&seen).await;
        assert_eq!(
            events[1..],
            ["backing off after 1", "connecting after 1"],
            "{events:?}"
        );
    });
}

/// checklist: 106
#[test]
fn a_loss_counts_what_may_be_stored_and_what_is_sent_again() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        // 11 bytes each: three are taken whole, the fourth by half, the fifth and the sixth not at all.
        let (mut nsqd, _line) = network.connected_over(40).await;
        let publishes: Vec<_> = ["1", "2", "3", "4", "5", "6"]
            .map(|body| publish(&producer, body))
            .into();
        sleep(ms(1)).await;
        told(&seen).await;
        nsqd.fin().await;
        let mut nsqd = network.connected().await;
        let events = told(&seen).await;
        let lost = "lost: closed by the peer: 3 resent, 3 unknown";
        let again = [
            "backing off after 1",
            "connecting after 1",
            "connected to 1.3.0",
        ];
        assert_eq!(events[0], lost);
        assert_eq!(events[1..], again);
        for body in ["4", "5", "6"] {
            nsqd.expect_pub("t", body).await;
            nsqd.send(ok_frame()).await;
        }
        for (number, answer) in publishes.into_iter().enumerate() {
            assert_eq!(answer.await.is_ok(), number >= 3, "{number}");
        }
    });
}

/// checklist: 106
#[test]
fn a_refusal_counts_the_bystanders() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let mut nsqd = network.connected().await;
        let first = publish(&producer, "good");
        nsqd.expect_pub("t", "good").await;
        nsqd.send(ok_frame()).await;
        first.await.unwrap();
        told(&seen).await;
        let bad = publish(&producer, "bad");
        let bystanders = ["1", "2"].map(|body| publish(&producer, body));
        // Out of time before the refusal comes: answered already, and sent again for nobody.
        let hasty = send(&producer, Publish::new(topic("t"), "h").timeout(s(1)));
        nsqd.expect_pub("t", "bad").await;
        sleep(s(2)).await;
        hasty.await.unwrap_err();
        nsqd.send(error_frame("E_PUB_FAILED PUB failed")).await;
        nsqd.fin().await;
        bad.await.unwrap_err();
        let mut nsqd = network.connected().await;
        let events = told(&seen).await;
        let lost = "lost: closed by nsqd after it rejected a command: E_PUB_FAILED PUB failed: 2 resent, 0 unknown";
        assert_eq!(events[0], lost);
        // 20 ms, since nsqd is well: no attempt has failed.
        assert_eq!(events[1], "backing off after 0");
        for (body, answer) in ["1", "2"].into_iter().zip(bystanders) {
            nsqd.expect_pub("t", body).await;
            nsqd.send(ok_frame()).await;
            answer.await.unwrap();
        }
    });
}

/// checklist: 106
#[test]
fn a_drain_is_told_at_its_begin_and_with_its_report_at_its_end() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let mut nsqd = network.connected().await;
        let publishes = ["1", "2"].map(|body| publish(&producer, body));
        nsqd.expect_pub("t", "1").await;
        nsqd.expect_pub("t", "2").await;
        told(&seen).await;
        let deadline = s(5);
        let drain = producer.send(Drain { timeout: deadline });
        let again = producer.send(Drain { timeout: deadline });
        sleep(ms(1)).await;
        let drain = tokio::task::spawn_local(drain);
        assert_eq!(told(&seen).await, ["draining"]);
        nsqd.send(ok_frame()).await;
        let report = again.await.unwrap();
        assert_eq!(drain.await.unwrap().unwrap(), report);
        assert_eq!(told(&seen).await, ["drained: 1 0 1"]);
        assert_eq!((report.ok, report.maybe_written), (1, 1));
        // It is over, and nothing more is told.
        producer.send(Drain { timeout: deadline }).await.unwrap();
        producer.do_send(actix_nsq::Reconnect);
        publish(&producer, "late").await.unwrap_err();
        sleep(HOUR).await;
        assert_eq!(told(&seen).await, [""; 0]);
        let [one, two] = publishes;
        one.await.unwrap();
        two.await.unwrap_err();
    });
}

/// checklist: 106
#[test]
fn a_drain_during_an_outage_goes_on_telling_of_attempts() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        network.dial().await.refuse();
        let _late = publish(&producer, "a");
        let report = producer.send(Drain { timeout: s(1) });
        let report = tokio::task::spawn_local(report);
        while !report.is_finished() {
            tokio::select! {
                dial = network.dial() => dial.refuse(),
                () = sleep(ms(100)) => {}
            }
        }
        let events = told(&seen).await;
        let last = events.last().unwrap();
        assert_eq!(last, "drained: 0 1 0");
        assert!(events.contains(&"draining".into()), "{events:?}");
        let waits = events.iter().filter(|event| event.starts_with("backing"));
        assert!(waits.count() > 1, "{events:?}");
    });
}

/// checklist: 106
#[test]
fn all_subscribers_are_told_the_same_and_one_that_is_gone_is_forgotten() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (first, second) = (subscribe(&producer), subscribe(&producer));
        let (stays, gone) = Stopping::start();
        producer.do_send(SubscribeEvents(stays));
        let mut nsqd = network.connected().await;
        assert_eq!(told(&first).await.last().unwrap(), "connected to 1.3.0");
        assert_eq!(told(&second).await.last().unwrap(), "connected to 1.3.0");
        // It has stopped at its first event.
        assert_eq!(gone.get(), 1);
        nsqd.fin().await;
        let _hangs = network.dial().await;
        let events = told(&first).await;
        assert_eq!(events.len(), 3);
        assert_eq!(told(&second).await, events);
        assert_eq!(gone.get(), 1);
    });
}

/// checklist: 106
#[test]
fn a_subscriber_keeps_no_producer_alive() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let seen = subscribe(&producer);
        let mut nsqd = network.connected().await;
        told(&seen).await;
        let before = network.elapsed();
        drop(producer);
        nsqd.wait_closed().await;
        assert!(network.next_dial().await.is_none());
        assert_eq!(network.elapsed(), before);
    });
}

/// checklist: 106
#[test]
fn a_subscriber_that_holds_the_address_keeps_the_producer_alive_as_a_user_does() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (recipient, seen) = Events::start_holding(producer.clone());
        producer.do_send(SubscribeEvents(recipient));
        network.connected().await;
        drop(producer);
        let mut nsqd = network.connected().await;
        let events = told(&seen).await;
        assert!(events.len() >= 4, "{events:?}");
        // The circle of the two is the user's to break; a drain leaves it idle.
        nsqd.expect_silence(s(10)).await;
        seen.drop_held();
        nsqd.wait_closed().await;
        assert!(network.next_dial().await.is_none());
    });
}

/// A subscriber that stops at its first event, and how many it heard.
struct Stopping(std::rc::Rc<std::cell::Cell<u32>>);

impl Stopping {
    fn start() -> (
        Recipient<ConnectionEvent>,
        std::rc::Rc<std::cell::Cell<u32>>,
    ) {
        let heard = std::rc::Rc::default();
        let stopping = Self(std::rc::Rc::clone(&heard));
        (actix::Actor::start(stopping).recipient(), heard)
    }
}

impl actix::Actor for Stopping {
    type Context = actix::Context<Self>;
}

impl actix::Handler<ConnectionEvent> for Stopping {
    type Result = ();

    fn handle(&mut self, _: ConnectionEvent, ctx: &mut Self::Context) {
        self.0.set(self.0.get() + 1);
        actix::ActorContext::stop(ctx);
    }
}

/// checklist: 106
#[test]
fn after_the_last_event_a_subscriber_and_the_producer_let_go_of_each_other() {
    in_virtual_time(async |mut network: Network| {
        let producer = network.start();
        let (recipient, seen) = Events::start_holding(producer.clone());
        let weak = producer.downgrade();
        producer.do_send(SubscribeEvents(recipient));
        network.connected().await;
        producer.send(Drain { timeout: s(1) }).await.unwrap();
        let (late, never) = Events::start_holding(producer.clone());
        producer.send(SubscribeEvents(late)).await.unwrap();
        assert!(!seen.take().is_empty() && never.take().is_empty());
        drop((producer, seen, never));
        sleep(s(1)).await;
        assert!(weak.upgrade().is_none(), "they hold each other");
    });
}
