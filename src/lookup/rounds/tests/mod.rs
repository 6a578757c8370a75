//! Tests of the rounds: single rules, and a random model.

mod model;

use std::time::{Duration, Instant};

use super::*;

pub(super) const INTERVAL: Duration = Duration::from_secs(60);

pub(super) fn node(name: &str) -> Node {
    Node {
        address: name.into(),
        broadcast_address: name.into(),
        hostname: String::new(),
        tcp_port: 4150,
        http_port: 4151,
        version: "1.3.0".into(),
        remote_address: String::new(),
        topics: Vec::new(),
    }
}

fn nodes(names: &[&str]) -> Vec<Node> {
    names.iter().map(|name| node(name)).collect()
}

fn dial(name: &str) -> Decision {
    Decision::Dial(node(name))
}

fn dropped(name: &str) -> Decision {
    Decision::Drop(name.into())
}

/// Rounds with a clock that the test advances.
struct Scene {
    rounds: Rounds,
    now: Instant,
}

impl Scene {
    fn new() -> Self {
        let timing = Timing {
            interval: INTERVAL,
            jitter: 0.5,
        };
        let now = Instant::now();
        Self {
            rounds: Rounds::new(timing, now),
            now,
        }
    }

    fn add(&mut self) -> LookupdId {
        self.rounds.add(self.now)
    }

    fn poll(&mut self) -> Vec<LookupdId> {
        self.rounds.poll(self.now, 1.0)
    }

    /// Advances to the next deadline, and returns the seconds until then.
    fn wait(&mut self) -> u64 {
        let next = self.rounds.deadline().unwrap();
        let time = next.saturating_duration_since(self.now);
        self.now += time;
        time.as_secs()
    }

    fn answer(&mut self, id: LookupdId, names: &[&str]) -> Vec<Decision> {
        self.rounds.on_answer(id, Ok(nodes(names)));
        self.rounds.take_decisions()
    }

    fn fail(&mut self, id: LookupdId) -> Vec<Decision> {
        self.rounds.on_answer(id, Err(()));
        self.rounds.take_decisions()
    }

    fn lose(&mut self, name: &str) {
        self.rounds.lost(name, self.now);
        assert_eq!(self.rounds.take_decisions(), []);
    }

    /// With one nsqlookupd, and a connection to the node `a` that it has named.
    fn connected() -> (Self, LookupdId) {
        let mut scene = Self::new();
        let id = scene.add();
        assert_eq!(scene.poll(), [id]);
        assert_eq!(scene.answer(id, &["a"]), [dial("a")]);
        scene.rounds.connected("a");
        (scene, id)
    }
}

/// checklist: 82
#[test]
fn rounds_without_nodes_double_up_to_the_interval() {
    let mut scene = Scene::new();
    let id = scene.add();
    let mut gaps = Vec::new();
    for _ in 0..9 {
        gaps.push(scene.wait());
        assert_eq!(scene.poll(), [id]);
        assert_eq!(scene.answer(id, &[]), []);
    }
    assert_eq!(gaps, [0, 1, 1, 2, 4, 8, 16, 90, 90]);
}

/// checklist: 82
#[test]
fn found_node_ends_the_early_rounds() {
    let (mut scene, id) = Scene::connected();
    assert_eq!(scene.wait(), 90);
    assert_eq!(scene.poll(), [id]);
    assert_eq!(scene.answer(id, &["a", "b"]), [dial("b")]);
    assert_eq!(scene.wait(), 90);
}

/// checklist: 88
#[test]
fn early_rounds_after_a_loss_end_with_the_new_connection() {
    let (mut scene, id) = Scene::connected();
    scene.now += Duration::from_secs(10);
    scene.lose("a");
    let mut gaps = Vec::new();
    for _ in 0..4 {
        gaps.push(scene.wait());
        assert_eq!(scene.poll(), [id]);
        scene.answer(id, &[]);
    }
    assert_eq!(gaps, [0, 1, 1, 2]);
    scene.wait();
    scene.poll();
    assert_eq!(scene.answer(id, &["a"]), [dial("a")]);
    // They go on until it is connected.
    assert_eq!(scene.wait(), 8);
    scene.poll();
    scene.answer(id, &["a"]);
    scene.rounds.connected("a");
    assert_eq!(scene.wait(), 90);
}

/// checklist: 88
#[test]
fn query_that_ran_at_a_loss_is_repeated() {
    let (mut scene, id) = Scene::connected();
    scene.wait();
    assert_eq!(scene.poll(), [id]);
    scene.now += Duration::from_secs(5);
    scene.lose("a");
    assert!(scene.poll().is_empty());
    // Its answer says nothing about the node.
    assert_eq!(scene.answer(id, &["a"]), []);
    assert_eq!(scene.poll(), [id]);
    assert_eq!(scene.answer(id, &["a"]), [dial("a")]);
}

/// checklist: 88
#[test]
fn lost_node_is_dialled_if_all_queries_fail() {
    let (mut scene, one) = Scene::connected();
    let other = scene.add();
    scene.poll();
    scene.answer(other, &[]);
    scene.lose("a");
    scene.now += Duration::from_secs(1);
    assert_eq!(scene.poll(), [one, other]);
    assert_eq!(scene.fail(one), []);
    assert_eq!(scene.fail(other), [dial("a")]);
}

/// checklist: 89
#[test]
fn node_is_dropped_when_all_its_sources_omit_it() {
    let (mut scene, one) = Scene::connected();
    let other = scene.add();
    scene.poll();
    assert_eq!(scene.answer(other, &["a"]), []);
    scene.lose("a");
    scene.now += Duration::from_secs(1);
    assert_eq!(scene.poll(), [one, other]);
    assert_eq!(scene.answer(one, &[]), []);
    assert_eq!(scene.fail(other), []);
    scene.wait();
    assert_eq!(scene.poll(), [one, other]);
    assert_eq!(scene.answer(one, &[]), []);
    assert_eq!(scene.answer(other, &[]), [dropped("a")]);
}

/// checklist: 90
#[test]
fn removed_lookupd_counts_no_more() {
    let (mut scene, one) = Scene::connected();
    let other = scene.add();
    scene.poll();
    scene.answer(other, &[]);
    scene.lose("a");
    scene.now += Duration::from_secs(1);
    assert_eq!(scene.poll(), [one, other]);
    assert_eq!(scene.answer(other, &[]), []);
    scene.rounds.remove(one);
    assert_eq!(scene.rounds.take_decisions(), [dropped("a")]);
}

/// checklist: 90
#[test]
fn without_lookupds_lost_nodes_are_dialled() {
    let (mut scene, id) = Scene::connected();
    scene.rounds.remove(id);
    assert_eq!(scene.rounds.deadline(), None);
    scene.rounds.lost("a", scene.now);
    assert_eq!(scene.rounds.take_decisions(), [dial("a")]);
}

#[test]
fn changed_topics_are_reported_once() {
    let (mut scene, one) = Scene::connected();
    let other = scene.add();
    scene.poll();
    let topic = |name| crate::protocol::node::NodeTopic {
        topic: crate::protocol::Topic::from_static(name),
        is_tombstoned: name == "u",
    };
    let named = Node {
        topics: vec![topic("t"), topic("u")],
        remote_address: "10.0.0.1:1".into(),
        ..node("a")
    };
    scene.rounds.on_answer(other, Ok(vec![named.clone()]));
    let changed = Node {
        remote_address: String::new(),
        ..named.clone()
    };
    assert_eq!(scene.rounds.take_decisions(), [Decision::Changed(changed)]);
    scene.rounds.refresh(scene.now);
    assert_eq!(scene.poll(), [one, other]);
    scene.rounds.on_answer(one, Ok(vec![named.clone()]));
    scene.rounds.on_answer(other, Ok(vec![named]));
    assert_eq!(scene.rounds.take_decisions(), []);
}

#[test]
fn ignored_node_is_not_dialled_while_it_is_named() {
    let (mut scene, id) = Scene::connected();
    scene.rounds.ignore("a");
    for names in [&["a"][..], &["a"], &[]] {
        scene.wait();
        assert_eq!(scene.poll(), [id]);
        let expected: &[_] = if names.is_empty() {
            &[dropped("a")]
        } else {
            &[]
        };
        assert_eq!(scene.answer(id, names), expected);
    }
    scene.wait();
    scene.poll();
    assert_eq!(scene.answer(id, &["a"]), [dial("a")]);
}
