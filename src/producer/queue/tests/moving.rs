//! Publishes that move between the queues of a pool: its own, and those of its members.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use super::*;

const MS: Duration = Duration::from_millis(1);

/// The queue of a member.
const MEMBER: Limits = Limits {
    is_pooled: true,
    ..WIDE
};

/// What nsqd answers because of its own state, and the kind of the error.
const OF_SERVER: [(&str, &str); 4] = [
    ("E_PUB_FAILED PUB failed", "PubFailed"),
    ("E_DPUB_FAILED DPUB failed", "DpubFailed"),
    ("E_AUTH_FAILED AUTH failed", "AuthFailed"),
    ("E_INVALID cannot PUB (TLS required)", "Invalid"),
];

/// Routes everything that `decide` does not keep or reject.
struct Chooser<F> {
    decide: F,
    taken: Moving<Caller>,
}

/// It goes to the member, and those that follow are decided apart.
const SENT: Routed = Routed::To {
    slot: 0,
    further: usage(0, 0),
};

impl<F: FnMut(&Pending<Caller>) -> Routed> Route<Caller> for Chooser<F> {
    fn route(&mut self, publish: &Pending<Caller>, _: usize) -> Routed {
        (self.decide)(publish)
    }

    fn outgoing(&mut self, _: usize, _: Usage) -> Option<&mut Moving<Caller>> {
        Some(&mut self.taken)
    }
}

impl Bench {
    /// The queue of a pool, with these limits of what is pending.
    fn pool(publishes: usize, bytes: usize) -> Self {
        Self::with(Limits {
            pending: usage(publishes, bytes),
            ..BATCHING
        })
    }

    /// The queue of a member of this pool.
    fn member(&mut self) -> Self {
        self.member_with(MEMBER)
    }

    fn member_with(&mut self, limits: Limits) -> Self {
        let capacity = Rc::clone(self.queue().capacity());
        let mut member = Self::with(limits);
        member.queue = Some(TransactionQueue::new(limits, capacity));
        member.now = self.now;
        member
    }

    /// The pool passes on what `decide` routes.
    fn pass_on(&mut self, decide: impl FnMut(&Pending<Caller>) -> Routed) -> Moving<Caller> {
        let mut chooser = Chooser {
            decide,
            taken: Moving::new(Vec::new()),
        };
        let now = self.now;
        self.queue().pass_on(&mut chooser, now);
        chooser.taken
    }

    /// Everything that is queued in the pool goes to this member.
    fn pass_to(&mut self, member: &mut Self) {
        let moving = self.pass_on(|_| SENT);
        member.now = self.now;
        member.queue().take_in(moving);
    }

    /// Publishes to these topics, a millisecond apart, and passes them on to the member.
    fn publish_to(&mut self, member: &mut Self, topics: &str) {
        for topic in topics.chars() {
            self.now += MS;
            self.publish(&topic.to_string());
        }
        self.pass_to(member);
    }

    fn give_back(&mut self) -> Moving<Caller> {
        self.queue().give_back();
        self.finish_jobs();
        self.queue().pooled().unwrap().take_given_back()
    }

    /// What is queued goes to the other queue, as the pool passes it on. Returns how many publishes
    /// that are.
    fn move_to(&mut self, other: &mut Self) -> usize {
        let mut moving = self.give_back();
        let moved = moving.len();
        other.now = other.now.max(self.now);
        moving.note_given_back(1, other.now);
        other.queue().take_in(moving);
        moved
    }

    /// What the queues of the pool use together.
    fn used(&mut self) -> (usize, usize) {
        let held = self.queue().capacity().held();
        (held.publishes, held.bytes)
    }
}

/// pool contract: 2, 6
#[test]
fn given_back_is_what_is_queued_and_not_in_flight() {
    let mut pool = Bench::batching();
    let mut member = pool.member_with(Limits {
        window: usage(2, 100),
        ..MEMBER
    });
    let mut other = pool.member();
    pool.publish_to(&mut member, "abab");
    member.sends(["PUB a 1", "PUB b 2"]);
    assert_eq!(member.move_to(&mut other), 2);
    assert_eq!((member.held(), other.held()), ((2, 2), (2, 2)));
    member.oks(2);
    member.sends([]);
    assert!(member.queue().is_empty());
    other.sends(["PUB a 3", "PUB b 4"]);
    other.oks(2);
    pool.answers(["1 Ok", "2 Ok", "3 Ok", "4 Ok"]);
    assert_eq!(pool.used(), (0, 0));
}

/// pool contract: 5
#[test]
fn moved_publish_precedes_everything_younger_of_its_topic() {
    let mut pool = Bench::batching();
    let mut first = pool.member();
    let mut second = pool.member_with(Limits {
        is_pooled: true,
        ..BATCHING
    });
    pool.publish_to(&mut first, "ab");
    pool.publish_to(&mut second, "ab");
    pool.publish_to(&mut first, "ab");
    pool.publish_to(&mut second, "ab");
    assert_eq!(first.move_to(&mut second), 4);
    let mut commands = second.send();
    commands.sort();
    assert_eq!(commands, ["MPUB a 1 3 5 7", "MPUB b 2 4 6 8"]);
}

/// pool contract: 5
#[test]
fn moved_publish_follows_what_is_in_flight_at_its_new_member() {
    let mut pool = Bench::batching();
    let (mut first, mut second) = (pool.member(), pool.member());
    pool.publish_to(&mut first, "a");
    pool.publish_to(&mut second, "a");
    second.sends(["PUB a 2"]);
    pool.publish_to(&mut second, "a");
    first.move_to(&mut second);
    second.sends(["PUB a 1", "PUB a 3"]);
    // The one in flight returns to its place behind it.
    second.lose(0);
    second.sends(["PUB a 2", "PUB a 1", "PUB a 3"]);
}

/// pool contract: 5
#[test]
fn moved_publishes_of_one_burst_keep_their_order() {
    let mut pool = Bench::batching();
    let (mut first, mut second) = (pool.member(), pool.member());
    // All are accepted at the same time.
    pool.publish_all("aaa");
    pool.pass_to(&mut first);
    pool.publish_all("aaa");
    pool.pass_to(&mut second);
    first.move_to(&mut second);
    second.sends([
        "PUB a 1", "PUB a 2", "PUB a 3", "PUB a 4", "PUB a 5", "PUB a 6",
    ]);
}

/// pool contract: 5
#[test]
fn publish_that_comes_back_to_the_pool_precedes_younger_ones() {
    let mut pool = Bench::batching();
    let (mut first, mut second) = (pool.member(), pool.member());
    pool.publish_to(&mut first, "aa");
    pool.publish("a");
    first.move_to(&mut pool);
    pool.publish("a");
    pool.pass_to(&mut second);
    second.sends(["PUB a 1", "PUB a 2", "PUB a 3", "PUB a 4"]);
}

/// pool contract: 2
#[test]
fn rejection_because_of_the_server_moves_the_publish() {
    for (text, _) in OF_SERVER {
        let mut pool = Bench::batching();
        let (mut first, mut second) = (pool.member(), pool.member());
        pool.publish_to(&mut first, "aab");
        first.send();
        first.reject(text);
        pool.answers([]);
        assert!(first.queue().pooled().unwrap().take_rejected());
        let mut moving = first.give_back();
        assert!(moving.note_given_back(1, pool.now), "{text}");
        assert!(!moving.note_given_back(1, pool.now), "{text}: noted once");
        second.queue().take_in(moving);
        second.sends(["PUB a 1", "PUB a 2", "PUB b 3"]);
        second.oks(3);
        pool.answers(["1 Ok", "2 Ok", "3 Ok"]);
    }
}

/// pool contract: 2
#[test]
fn plain_queue_answers_a_rejection_because_of_the_server() {
    for (text, code) in OF_SERVER {
        let mut bench = Bench::new();
        bench.publish("a");
        bench.send();
        bench.reject(text);
        bench.answers_each([1], &format!("Rejected({code}) NotWritten"));
        assert!(bench.queue().pooled().is_none());
    }
}

/// pool contract: 3
#[test]
fn rejection_because_of_the_message_is_answered_at_once() {
    for (text, answer) in [
        ("E_BAD_TOPIC no", "Rejected(BadTopic) NotWritten"),
        ("E_BAD_MESSAGE no", "Rejected(BadMessage) NotWritten"),
        ("E_BAD_BODY no", "Rejected(BadBody) NotWritten"),
        ("E_INVALID no", "Rejected(Invalid) NotWritten"),
        ("E_UNAUTHORIZED no", "Rejected(Unauthorized) NotWritten"),
        // Stored or not: another nsqd could store it again.
        ("E_MPUB_FAILED no", "Rejected(MpubFailed) MaybeWritten"),
        ("E_NEW something", "Rejected(Unknown) MaybeWritten"),
    ] {
        let mut pool = Bench::batching();
        let mut member = pool.member();
        pool.publish_to(&mut member, "ab");
        member.send();
        member.reject(text);
        pool.answers_each([1], answer);
        assert!(!member.queue().pooled().unwrap().take_rejected(), "{text}");
        assert_eq!(member.give_back().len(), 1, "{text}");
    }
}

/// pool contract: 2
#[test]
fn publish_that_may_be_stored_does_not_move() {
    let mut pool = Bench::batching();
    let (mut first, mut second) = (pool.member(), pool.member());
    pool.publish_to(&mut first, "aaa");
    first.send();
    first.lose(2 * pub_size(1) - 1 + 1);
    pool.answers_each([1, 2], "ConnectionLost MaybeWritten");
    assert_eq!(first.move_to(&mut second), 1);
    second.sends(["PUB a 3"]);
}

/// pool contract: 2
#[test]
fn retry_maybe_written_moves_and_stays_ambiguous() {
    let mut pool = Bench::batching();
    let mut first = pool.member_with(Limits {
        retry_maybe_written: true,
        ..MEMBER
    });
    let mut second = pool.member();
    pool.publish_to(&mut first, "a");
    first.send();
    first.lose(u64::MAX);
    assert_eq!(first.move_to(&mut second), 1);
    second.wait(30 * SECOND);
    pool.answers(["1 Timeout MaybeWritten"]);
    assert_eq!(pool.used(), (0, 0));
}

/// pool contract: 1
#[test]
fn moved_publish_keeps_its_deadline() {
    let mut pool = Bench::batching();
    let (mut first, mut second) = (pool.member(), pool.member());
    pool.publish_within("a", 3 * SECOND);
    pool.pass_to(&mut first);
    first.wait(2 * SECOND);
    second.now = first.now;
    first.move_to(&mut second);
    second.wait(SECOND - MS);
    pool.answers([]);
    second.wait(MS);
    pool.answers(["1 Timeout NotWritten"]);
    first.wait(SECOND);
    pool.answers([]);
}

/// pool contract: 1
#[test]
fn publish_cancelled_while_it_moves_is_not_sent() {
    let mut pool = Bench::batching();
    let (mut first, mut second) = (pool.member(), pool.member());
    pool.publish_to(&mut first, "aa");
    let moving = first.give_back();
    pool.cancel(1);
    second.queue().take_in(moving);
    second.sends(["PUB a 2"]);
    second.ok();
    assert_eq!(pool.used(), (0, 0));
}

/// pool contract: 1
#[test]
fn moving_publishes_that_are_dropped_are_answered() {
    let mut pool = Bench::batching();
    let mut member = pool.member_with(Limits {
        retry_maybe_written: true,
        ..MEMBER
    });
    pool.publish_to(&mut member, "aa");
    member.send();
    member.lose(pub_size(1));
    drop(member.give_back());
    pool.answers(["1 Closed MaybeWritten", "2 Closed NotWritten"]);
}

/// pool contract: 8
#[test]
fn queues_of_a_pool_share_their_limit() {
    let mut pool = Bench::pool(3, 100);
    let (mut first, mut second) = (pool.member(), pool.member());
    pool.publish_to(&mut first, "aa");
    pool.publish_to(&mut second, "a");
    assert_eq!(pool.used(), (3, 3));
    pool.publish("a");
    pool.answers(["4 Full NotWritten"]);
    // A move frees nothing.
    first.move_to(&mut second);
    second.move_to(&mut pool);
    pool.publish("a");
    pool.answers(["5 Full NotWritten"]);
    pool.pass_to(&mut second);
    second.send();
    second.ok();
    pool.answers(["1 Ok"]);
    pool.publish("a");
    pool.publish("a");
    pool.answers(["7 Full NotWritten"]);
    second.oks(2);
    pool.pass_to(&mut first);
    first.send();
    first.ok();
    assert_eq!(pool.used(), (0, 0));
}

/// pool contract: 8
#[test]
fn queues_of_a_pool_share_the_limits_of_bytes_and_topics() {
    let mut pool = Bench::with(Limits {
        pending: usage(100, 10),
        pending_per_topic: Some(2),
        ..BATCHING
    });
    let mut member = pool.member();
    pool.publish_sized("a", 5);
    pool.publish_sized("a", 1);
    pool.pass_to(&mut member);
    pool.publish_sized("b", 5);
    pool.publish_sized("a", 1);
    pool.answers(["3 Full NotWritten", "4 Full NotWritten"]);
    member.send();
    member.ok();
    pool.publish_sized("a", 1);
    pool.publish_sized("b", 5);
    pool.answers(["1 Ok"]);
    assert_eq!(pool.used(), (3, 7));
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// pool contract: 8
#[test]
fn publish_waits_until_a_member_has_answered() {
    let mut pool = Bench::pool(1, 100);
    let mut member = pool.member();
    pool.publish_to(&mut member, "a");
    pool.publish_waiting(1, SECOND);
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let waker = Waker::from(Arc::clone(&flag));
    pool.queue().capacity().wait(&waker);
    member.send();
    member.ok();
    member.queue().capacity().wake();
    assert!(flag.0.load(Ordering::Relaxed), "the pool is woken");
    pool.queue().admit_waiters();
    pool.pass_to(&mut member);
    member.sends(["PUB a 2"]);
}

/// pool contract: 8
#[test]
fn publish_that_waits_takes_the_place_of_one_that_is_not_sent() {
    let mut pool = Bench::pool(1, 100);
    let mut member = pool.member();
    pool.publish("a");
    pool.publish_waiting(1, SECOND);
    pool.cancel(1);
    pool.pass_to(&mut member);
    member.sends(["PUB a 2"]);
}

/// pool contract: 1
#[test]
fn moved_publish_is_counted_once() {
    let mut pool = Bench::batching();
    let (mut first, mut second) = (pool.member(), pool.member());
    pool.publish_to(&mut first, "aaa");
    first.move_to(&mut pool);
    pool.pass_to(&mut second);
    second.send();
    second.oks(3);
    let counters = [&mut pool, &mut first, &mut second].map(|it| it.queue().counters());
    assert_eq!(counters.map(|it| it.published), [3, 0, 0]);
    assert_eq!(counters.map(|it| it.ok), [0, 0, 3]);
    assert_eq!(counters.map(|it| it.answered()), [0, 0, 3]);
}

/// pool contract: 2
#[test]
fn publish_goes_to_a_member_again_after_a_second() {
    let mut pool = Bench::batching();
    let mut member = pool.member();
    pool.publish_to(&mut member, "a");
    let mut moving = member.give_back();
    moving.note_given_back(0b01, pool.now);
    let mut excluded = |after| {
        let publish = moving.iter_mut().next().unwrap();
        publish
            .tried()
            .unwrap()
            .excluded(u64::MAX, pool.now + after)
            .0
    };
    assert_eq!(excluded(Duration::ZERO), 0b01);
    assert_eq!(excluded(SECOND - MS), 0b01);
    assert_eq!(excluded(SECOND), 0);
    moving.note_given_back(0b10, pool.now + SECOND / 2);
    let publish = moving.iter_mut().next().unwrap();
    let tried = publish.tried().unwrap();
    // Only these two are up.
    assert_eq!(tried.excluded(0b11, pool.now + SECOND).0, 0);
    assert_eq!(tried.excluded(u64::MAX, pool.now + SECOND).0, 0b11);
    assert_eq!(tried.excluded(u64::MAX, pool.now + 3 * SECOND / 2).0, 0);
}

/// pool contract: 2
#[test]
fn publish_is_rejected_when_all_members_have_rejected_it() {
    let mut pool = Bench::batching();
    let (mut first, mut second) = (pool.member(), pool.member());
    pool.publish_to(&mut first, "a");
    first.send();
    first.reject(OF_SERVER[0].0);
    let mut moving = first.give_back();
    moving.note_given_back(0b001, pool.now);
    let rejected_by_all = |moving: &mut Moving<Caller>, members| {
        let publish = moving.iter_mut().next().unwrap();
        publish.tried().unwrap().rejected_by_all(members).is_some()
    };
    assert!(rejected_by_all(&mut moving, 0b001));
    assert!(!rejected_by_all(&mut moving, 0b011));
    // A member that gives it back for another reason has not rejected it.
    moving.note_given_back(0b010, pool.now);
    assert!(!rejected_by_all(&mut moving, 0b011));
    second.queue().take_in(moving);
    second.send();
    second.reject(OF_SERVER[1].0);
    let mut moving = second.give_back();
    moving.note_given_back(0b010, pool.now);
    assert!(rejected_by_all(&mut moving, 0b011));
    assert!(!rejected_by_all(&mut moving, 0b111));
}

/// pool contract: 6
#[test]
fn publish_that_stays_holds_up_its_topic_only() {
    let mut pool = Bench::batching();
    let mut member = pool.member();
    pool.publish_all("aba");
    let moving = pool.pass_on(|publish| match publish.topic().as_str() {
        "a" => Routed::Stays,
        _ => SENT,
    });
    member.queue().take_in(moving);
    member.sends(["PUB b 2"]);
    pool.pass_to(&mut member);
    member.sends(["PUB a 1", "PUB a 3"]);
}

/// pool contract: 1, 2
#[test]
fn publish_that_will_not_be_sent_is_answered_by_the_pool() {
    let mut pool = Bench::batching();
    let mut member = pool.member();
    pool.publish_within("a", SECOND);
    pool.publish("a");
    pool.publish("a");
    pool.publish("a");
    pool.cancel(2);
    pool.now += SECOND;
    let error = server_error(OF_SERVER[0].0);
    let mut is_first = true;
    let moving = pool.pass_on(|_| match std::mem::take(&mut is_first) {
        true => Routed::Rejected(error.clone()),
        false => SENT,
    });
    assert_eq!(moving.len(), 1);
    pool.answers([
        "1 Timeout NotWritten",
        "2 Closed NotWritten",
        "3 Rejected(PubFailed) NotWritten",
    ]);
    assert_eq!(pool.used(), (1, 1));
    member.queue().take_in(moving);
    member.sends(["PUB a 4"]);
}

/// contract: 12
#[test]
fn pass_over_many_publishes_takes_several_polls() {
    let limits = Limits {
        budget: 10,
        ..BATCHING
    };
    let mut pool = Bench::with(limits);
    let mut member = pool.member_with(Limits {
        budget: 10,
        ..MEMBER
    });
    for _ in 0..25 {
        pool.publish("a");
        pool.queue().renew_budget();
    }
    let mut passed = Vec::new();
    for _ in 0..3 {
        let moving = pool.pass_on(|_| SENT);
        passed.push(moving.len());
        member.queue().take_in(moving);
        assert!(pool.queue().renew_budget() || passed.len() == 3);
        member.queue().renew_budget();
    }
    assert_eq!(passed, [10, 10, 5]);
    // Giving them back takes as many polls.
    member.queue().give_back();
    assert!(member.queue().has_work());
    let mut polls = 1;
    while member.queue().has_work() {
        member.queue().renew_budget();
        member.queue().work();
        polls += 1;
    }
    assert!((3..=4).contains(&polls), "{polls} polls");
    assert_eq!(member.queue().pooled().unwrap().take_given_back().len(), 25);
}
