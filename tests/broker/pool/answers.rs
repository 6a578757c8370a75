//! Pools, and what an embedded nsqlookupd answers wrongly.

use std::fmt::Write as _;

use actix_nsq::SubscribeEvents;
use actix_nsq::actix::{Actor, Context, Handler};
use actix_nsq::embedded::{LookupdFaults, LookupdNode};
use actix_nsq::lookup::LookupEvent;
use actix_nsq::pool::GetMembers;

use super::discovery::{assert_undisturbed, config, publish, rounds, start, state, until_members};
use crate::consume::fixture::until;
use crate::harness::{Scenario, lookupd_scenarios};
use crate::lookupd::{port, registered};
use crate::support::broker::Kind;
use crate::support::lookupd::{Lookupd, LookupdSettings};
use crate::support::scaled;

pub fn scenarios() -> Vec<Scenario> {
    let default = LookupdSettings::default;
    let reason = "it answers wrongly";
    lookupd_scenarios![
        wrong_answers_cost_no_member(default()).only(Kind::Embedded, reason),
        answer_cut_at_any_byte_costs_no_member(default()).only(Kind::Embedded, reason),
        ten_thousand_nodes_stay_within_max_members(default()).only(Kind::Embedded, reason),
        invalid_nodes_are_skipped(default()).only(Kind::Embedded, reason),
        alternating_lists_cost_no_member(default()).only(Kind::Embedded, reason),
        unresolvable_name_is_reported_once(default()).only(Kind::Embedded, reason),
    ]
}

/// Switches a fault on.
type Fault = fn(LookupdFaults<'_>);

/// An answer of `/nodes` with nodes of these hosts and ports.
fn nodes(nodes: impl IntoIterator<Item = (String, String)>) -> String {
    let mut json = String::from(r#"{"producers":["#);
    for (number, (host, port)) in nodes.into_iter().enumerate() {
        let comma = if number > 0 { "," } else { "" };
        write!(
            json,
            r#"{comma}{{"remote_address":"127.0.0.1:5","hostname":"h","broadcast_address":{host},
                "tcp_port":{port},"http_port":4151,"version":"1.3.0","tombstones":[],"topics":[]}}"#
        )
        .unwrap();
    }
    json + "]}"
}

/// checklist: 47
/// fault: D9
async fn wrong_answers_cost_no_member(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let pool = start(config(&[lookupd.http_address()]));
    until_members(&pool, &[&broker]).await;
    let faults: [(&str, Fault); 8] = [
        ("500", |it| it.respond(500, "")),
        ("503", |it| it.respond(503, r#"{"message":"OVERLOADED"}"#)),
        ("other JSON", |it| it.respond(200, r#"{"producers":7}"#)),
        ("no JSON", |it| it.respond(200, "\0\u{7f}<html>")),
        ("no HTTP", |it| it.respond_raw(b"\0\xff\r\n\r\n garbage")),
        ("10 MB", |it| it.pad(10 << 20)),
        ("closed", |it| it.close()),
        ("a redirect", |it| it.redirect("http://127.0.0.1:1/nodes")),
    ];
    for (what, fault) in faults {
        fault(lookupd.embedded().faults().of("/nodes"));
        until(what, async || {
            state(&pool).await.lookupds[0].last_error.is_some()
        })
        .await;
        rounds(&pool, 1).await;
        assert_undisturbed(&pool, 1).await;
        lookupd.embedded().faults().clear();
        until("it answers again", async || {
            state(&pool).await.lookupds[0].last_error.is_none()
        })
        .await;
    }
    // These are answers.
    for empty in [r#"{"producers":[]}"#, r#"{"producers":null}"#] {
        let faults = lookupd.embedded().faults();
        faults.of("/nodes").respond(200, empty);
        until("it names no node", async || {
            state(&pool).await.lookupds[0].nodes == Some(0)
        })
        .await;
        rounds(&pool, 2).await;
        assert_undisturbed(&pool, 1).await;
        faults.clear();
    }
}

/// checklist: 47
/// fault: D9
async fn answer_cut_at_any_byte_costs_no_member(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let pool = start(config(&[lookupd.http_address()]));
    until_members(&pool, &[&broker]).await;
    // Head and body are longer than 300 bytes.
    for cut in (0..300).step_by(scaled(23, 1)) {
        let errors = state(&pool).await.lookupds[0].errors;
        lookupd.embedded().faults().of("/nodes").cut_response(cut);
        until("a query fails", async || {
            state(&pool).await.lookupds[0].errors > errors
        })
        .await;
    }
    assert_undisturbed(&pool, 1).await;
}

/// checklist: 47
/// fault: D9
async fn ten_thousand_nodes_stay_within_max_members(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let pool = start(config(&[lookupd.http_address()]));
    until_members(&pool, &[&broker]).await;
    // Addresses of this host on which nothing listens.
    let dead = (0..10_000).map(|number| {
        let host = format!("\"127.1.{}.{}\"", number / 250, number % 250 + 1);
        (host, "1".to_owned())
    });
    let faults = lookupd.embedded().faults();
    faults.of("/nodes").respond(200, nodes(dead));
    until("the pool is full", async || {
        pool.send(GetMembers).await.unwrap().len() == 64
    })
    .await;
    rounds(&pool, 2).await;
    assert_eq!(pool.send(GetMembers).await.unwrap().len(), 64);
    assert!(state(&pool).await.nodes.len() <= 1_000);
    publish(&pool, 10).await;
    faults.clear();
    until_members(&pool, &[&broker]).await;
    assert_undisturbed(&pool, 1).await;
}

/// checklist: 47
/// fault: D9
async fn invalid_nodes_are_skipped(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    let good = port(&broker).await.to_string();
    let long = format!("\"{}\"", "x".repeat(100_000));
    let invalid = [
        ("\"127.0.0.1\"", "70000"),
        ("\"127.0.0.1\"", "-1"),
        ("\"127.0.0.1\"", "\"4150\""),
        (r#""a b\n<x>""#, "4150"),
        (&long, "4150"),
        ("\"nsqd.example:9999\"", "4150"),
        ("\"\"", "4150"),
        ("null", "4150"),
        ("\"/tmp/nsqd.sock\"", "4150"),
        // The same nsqd twice is one member.
        ("\"127.0.0.1\"", &good),
        ("\"127.0.0.1\"", &good),
    ];
    let named = invalid.map(|(host, port)| (host.to_owned(), port.to_owned()));
    let faults = lookupd.embedded().faults();
    faults.of("/nodes").respond(200, nodes(named));
    let pool = start(config(&[lookupd.http_address()]));
    until_members(&pool, &[&broker]).await;
    rounds(&pool, 2).await;
    let state = state(&pool).await;
    assert_eq!((state.lookupds[0].nodes, state.nodes.len()), (Some(1), 1));
    assert_undisturbed(&pool, 1).await;
}

/// checklist: 47
/// fault: D9
async fn alternating_lists_cost_no_member(lookupd: Lookupd) {
    let brokers = [
        registered(lookupd.kind(), &lookupd).await,
        registered(lookupd.kind(), &lookupd).await,
    ];
    let pool = start(config(&[lookupd.http_address()]));
    until_members(&pool, &[&brokers[0], &brokers[1]]).await;
    let faults = lookupd.embedded().faults();
    for number in 0..scaled(10, 100) {
        let port = port(&brokers[number % 2]).await.to_string();
        let list = nodes([("\"127.0.0.1\"".to_owned(), port)]);
        faults.of("/nodes").respond(200, list);
        rounds(&pool, 1).await;
    }
    until_members(&pool, &[&brokers[0], &brokers[1]]).await;
    assert_undisturbed(&pool, 2).await;
}

/// Counts reports of names that cannot be resolved.
#[derive(Default)]
struct Unresolvable(std::rc::Rc<std::cell::RefCell<Vec<String>>>);

impl Actor for Unresolvable {
    type Context = Context<Self>;
}

impl Handler<LookupEvent> for Unresolvable {
    type Result = ();

    fn handle(&mut self, event: LookupEvent, _: &mut Context<Self>) {
        if let LookupEvent::Unresolvable { .. } = event {
            self.0.borrow_mut().push(event.to_string());
        }
    }
}

/// checklist: 47, 91
async fn unresolvable_name_is_reported_once(lookupd: Lookupd) {
    let broker = registered(lookupd.kind(), &lookupd).await;
    // No name server is asked for a label of more than 63 bytes.
    let name = "x".repeat(70);
    lookupd
        .embedded()
        .register_node(LookupdNode::new(name.as_str(), 4150));
    let pool = start(config(&[lookupd.http_address()]));
    let reports = Unresolvable::default();
    let seen = std::rc::Rc::clone(&reports.0);
    let observer = reports.start().recipient();
    pool.send(SubscribeEvents::<LookupEvent>(observer))
        .await
        .unwrap();
    until("it is reported", async || !seen.borrow().is_empty()).await;
    rounds(&pool, 4).await;
    assert_eq!(seen.borrow().len(), 1, "{seen:?}");
    assert!(seen.borrow()[0].contains("--broadcast-address"), "{seen:?}");
    publish(&pool, 10).await;
    assert_eq!(broker.message_count(crate::fixture::TOPIC).await, 10);
    // Forgotten when it is named no more.
    lookupd
        .embedded()
        .forget(LookupdNode::new(name.as_str(), 4150));
    until_members(&pool, &[&broker]).await;
}
