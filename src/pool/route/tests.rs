//! Tests of the choice of members. Members are `a`, `b`, `c`; what they show is written by hand.

use super::*;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECOND: Duration = Duration::from_secs(1);

/// A router, its time, and what each member shows.
struct Bench {
    router: Router,
    now: Instant,
    shown: Vec<Observed>,
}

const UP: Observed = Observed {
    is_up: true,
    is_replacing: false,
    outstanding: 0,
    oldest: None,
    answers: (0, Duration::ZERO),
};

const DOWN: Observed = Observed { is_up: false, ..UP };

impl Bench {
    /// Members that are up, whose runs are 4 publishes or 100 bytes.
    fn new(strategy: Strategy, members: usize) -> Self {
        let run = Usage {
            publishes: 4,
            bytes: 100,
        };
        let mut bench = Self {
            router: Router::new(strategy, 5 * SECOND, run),
            now: Instant::now(),
            shown: Vec::new(),
        };
        for _ in 0..members {
            bench.add(UP);
        }
        bench
    }

    fn add(&mut self, observed: Observed) {
        let slot = self.shown.len();
        self.router.add(slot, address(slot));
        self.shown.push(observed);
        self.look();
    }

    /// Passes on what the members show. Returns those that have become slow.
    fn look(&mut self) -> String {
        self.router.decay(self.now);
        let mut slow = String::new();
        for (slot, shown) in self.shown.iter().enumerate() {
            if self.router.observe(slot, *shown, self.now, Some(self.now)) {
                slow.push_str(&address(slot));
            }
        }
        slow
    }

    fn show(&mut self, member: &str, observed: Observed) -> String {
        self.shown[slot(member)] = observed;
        self.look()
    }

    /// Time passes, and the members show the same.
    fn wait(&mut self, time: Duration) -> String {
        self.now += time;
        self.look()
    }

    /// The member answers commands, each after `time`, and has nothing left.
    fn answer(&mut self, member: &str, count: u64, time: Duration) {
        let shown = &mut self.shown[slot(member)];
        let (answered, total) = shown.answers;
        let time = time * u32::try_from(count).unwrap();
        *shown = Observed {
            outstanding: 0,
            oldest: None,
            answers: (answered + count, total + time),
            ..*shown
        };
        self.look();
    }

    /// The member has this many publishes, the oldest of which was sent now.
    fn load(&mut self, member: &str, outstanding: usize) {
        let shown = &mut self.shown[slot(member)];
        shown.outstanding = outstanding;
        shown.oldest = (outstanding > 0).then_some(self.now);
        self.look();
    }

    /// Makes a member suspect.
    fn suspect(&mut self, member: &str) {
        self.router.on_failed(slot(member), self.now);
        self.look();
    }

    fn route(&mut self, topic: &str) -> String {
        self.route_sized(topic, 1)
    }

    fn route_sized(&mut self, topic: &str, size: usize) -> String {
        self.route_excluding(topic, size, "")
    }

    /// The member of a publish that does not go to those in `excluded`; `-` if it waits.
    fn route_excluding(&mut self, topic: &str, size: usize, excluded: &str) -> String {
        let excluded = excluded.chars().map(|it| bit(slot(&it.to_string())));
        let excluded = excluded.fold(0, |all, one| all | one);
        let topic = Topic::new(topic).unwrap();
        let chosen = self.router.route(&topic, size, 1, excluded, self.now);
        let chosen = chosen.map(|(slot, _)| slot);
        chosen.map_or_else(|| "-".to_owned(), |slot| address(slot).to_string())
    }

    /// The members of this many publishes that wait at the same time.
    fn route_burst(&mut self, topic: &str, count: usize) -> String {
        let topic = Topic::new(topic).unwrap();
        let mut members = String::new();
        while members.len() < count {
            let left = count - members.len();
            let (slot, further) = self.router.route(&topic, 1, left, 0, self.now).unwrap();
            let publishes = further.publishes.min(left - 1);
            let further = Usage {
                publishes,
                bytes: publishes,
            };
            self.router.on_routed_further(slot, further);
            members.push_str(&address(slot).repeat(publishes + 1));
        }
        self.look();
        members
    }

    /// The members of this many publishes to one topic, with nothing outstanding between them.
    fn routes(&mut self, topic: &str, count: usize) -> String {
        (0..count)
            .map(|_| {
                let chosen = self.route(topic);
                self.look();
                chosen
            })
            .collect()
    }
}

fn address(slot: usize) -> Arc<str> {
    let letter = char::from(b'a' + u8::try_from(slot).unwrap());
    letter.to_string().into()
}

fn slot(member: &str) -> usize {
    usize::from(member.as_bytes()[0] - b'a')
}

/// pool contract: 4
#[test]
fn run_of_a_topic_ends_by_messages_and_members_take_turns() {
    let mut bench = Bench::new(Strategy::Spread, 3);
    assert_eq!(bench.routes("t", 13), "bbbbccccaaaab");
}

/// pool contract: 4
#[test]
fn run_ends_early_if_a_burst_does_not_fit() {
    let mut bench = Bench::new(Strategy::Spread, 3);
    let members = [3, 3, 1, 9].map(|count| bench.route_burst("t", count));
    assert_eq!(members, ["bbb", "ccc", "c", "aaaabbbbc"]);
}

/// pool contract: 4
#[test]
fn run_of_a_topic_ends_by_bytes() {
    let mut bench = Bench::new(Strategy::Spread, 2);
    for (size, member) in [(60, "b"), (40, "b"), (60, "a"), (41, "b"), (1000, "a")] {
        assert_eq!(bench.route_sized("t", size), member, "{size} bytes");
        bench.look();
    }
}

/// pool contract: 4
#[test]
fn topics_have_runs_of_their_own() {
    let mut bench = Bench::new(Strategy::Spread, 3);
    let members: Vec<_> = ["t", "u", "t", "u", "v"]
        .map(|topic| bench.routes(topic, 1))
        .into();
    assert_eq!(members, ["b", "c", "b", "c", "a"]);
}

/// pool contract: 4
#[test]
fn run_ends_when_its_member_is_lost_or_suspect() {
    let mut bench = Bench::new(Strategy::Spread, 3);
    assert_eq!(bench.routes("t", 1), "b");
    bench.show("b", DOWN);
    assert_eq!(bench.routes("t", 1), "c");
    bench.suspect("c");
    assert_eq!(bench.routes("t", 1), "a");
}

/// pool contract: 7
#[test]
fn run_goes_to_the_member_with_less_to_answer_and_shorter_times() {
    let mut bench = Bench::new(Strategy::Spread, 3);
    for (member, time) in [("a", 1), ("b", 1), ("c", 10)] {
        bench.answer(member, 1, MS(time));
    }
    bench.load("b", 2);
    assert_eq!(bench.routes("t", 8), "aaaaaaaa");
    bench.load("a", 30);
    // Three times 1 ms are better than once 10 ms, and that is better than 31 times 1 ms.
    assert_eq!(bench.routes("t", 4), "bbbb");
    bench.load("b", 29);
    assert_eq!(bench.routes("t", 4), "cccc");
}

/// pool contract: 7
#[test]
fn estimate_of_a_slow_answer_moves_halfway_to_the_best() {
    let mut bench = Bench::new(Strategy::Spread, 2);
    bench.answer("a", 1, MS(1));
    bench.answer("b", 1, MS(15));
    // 15, 8, 4.5, 2.75, 1.875 ms: at most twice the best one.
    for _ in 0..3 {
        assert_eq!(bench.routes("t", 8), "aaaaaaaa");
        bench.wait(SECOND);
    }
    bench.wait(SECOND);
    assert!(bench.routes("t", 8).contains("bbbb"));
}

/// pool contract: 7
#[test]
fn publishes_count_when_they_are_routed() {
    let mut bench = Bench::new(Strategy::Spread, 3);
    let mut members = String::new();
    // One burst: what the members show does not change meanwhile.
    for number in 0..48 {
        members.push_str(&bench.route(&format!("t{number}")));
    }
    for member in ["a", "b", "c"] {
        assert_eq!(members.matches(member).count(), 16, "{members}");
    }
}

/// pool contract: 7
#[test]
fn member_without_answer_is_slow_after_twenty_milliseconds() {
    let mut bench = Bench::new(Strategy::Spread, 2);
    bench.load("b", 1);
    assert_eq!(bench.router.next_deadline(), Some(bench.now + MS(20)));
    assert_eq!(bench.wait(MS(19)), "");
    assert_eq!(bench.wait(MS(1)), "b");
    assert_eq!(bench.routes("t", 8), "aaaaaaaa");
    // It is reported once, and needs no timer any more.
    assert_eq!(bench.wait(MS(1)), "");
    assert_eq!(bench.router.next_deadline(), None);
}

/// pool contract: 7
#[test]
fn slow_answer_is_judged_when_its_timer_has_fired() {
    // The arbiter was blocked: the answer may be in the socket.
    let mut bench = Bench::new(Strategy::Spread, 1);
    bench.load("a", 1);
    let (shown, late) = (bench.shown[0], bench.now + SECOND);
    for due in [None, Some(bench.now + MS(19))] {
        assert!(!bench.router.observe(0, shown, late, due), "{due:?}");
    }
    assert!(
        bench
            .router
            .observe(0, shown, late, Some(bench.now + MS(20)))
    );
}

/// pool contract: 7
#[test]
fn member_is_slow_after_eight_times_its_usual_time() {
    let mut bench = Bench::new(Strategy::Spread, 2);
    bench.answer("b", 10, MS(10));
    bench.load("b", 1);
    assert_eq!(bench.wait(MS(79)), "");
    assert_eq!(bench.wait(MS(1)), "b");
    // However long it usually takes, one second is the limit.
    bench.answer("a", 10, MS(500));
    bench.load("a", 1);
    assert_eq!(bench.wait(MS(999)), "");
    assert_eq!(bench.wait(MS(1)), "a");
}

/// pool contract: 7
#[test]
fn publish_on_its_way_to_a_member_makes_it_slow_too() {
    // The member's own task does not run, so that it shows no command in flight.
    let mut bench = Bench::new(Strategy::Spread, 1);
    assert_eq!(bench.route("t"), "a");
    bench.shown[0].outstanding = 1;
    assert_eq!(bench.wait(MS(19)), "");
    assert_eq!(bench.wait(MS(1)), "a");
}

/// pool contract: 7
#[test]
fn slow_member_recovers_with_an_answer_in_its_usual_time() {
    let mut bench = Bench::new(Strategy::Spread, 2);
    bench.load("b", 1);
    assert_eq!(bench.wait(MS(20)), "b");
    bench.answer("b", 1, MS(60));
    assert!(bench.router.is_suspect(1), "60 ms are not its usual time");
    bench.wait(SECOND);
    assert_eq!(bench.route("t"), "b");
    bench.answer("b", 1, MS(60));
    assert!(!bench.router.is_suspect(1), "60 ms are its usual time");
}

/// pool contract: 7
/// fault: D6
#[test]
fn recovered_member_has_its_share_at_once() {
    let mut bench = Bench::new(Strategy::Spread, 2);
    bench.answer("a", 1, MS(1));
    // Its first answer takes long: nsqd creates the topic.
    bench.load("b", 1);
    assert_eq!(bench.wait(MS(20)), "b");
    bench.answer("b", 1, MS(100));
    bench.wait(SECOND);
    assert_eq!(bench.route("t"), "b");
    bench.answer("b", 1, MS(1));
    assert!(bench.routes("t", 8).contains("bbbb"));
}

/// pool contract: 7
#[test]
fn suspect_member_gets_one_probe_per_second() {
    let mut bench = Bench::new(Strategy::Spread, 2);
    bench.suspect("b");
    for _ in 0..3 {
        assert_eq!(bench.routes("t", 2), "aa");
        bench.wait(MS(999));
        assert_eq!(bench.routes("t", 2), "aa");
        bench.wait(MS(1));
        assert_eq!(bench.routes("t", 3), "baa");
    }
}

/// pool contract: 7
#[test]
fn unanswered_probe_is_the_only_one() {
    let mut bench = Bench::new(Strategy::Spread, 2);
    bench.suspect("b");
    bench.wait(SECOND);
    assert_eq!(bench.route("t"), "b");
    bench.load("b", 1);
    bench.wait(60 * SECOND);
    assert_eq!(bench.routes("t", 4), "aaaa");
    bench.answer("b", 1, 60 * SECOND);
    assert_eq!(bench.routes("t", 2), "ba");
}

/// pool contract: 7
#[test]
fn probe_is_one_publish_of_a_topic_that_went_there_before() {
    for strategy in [Strategy::Spread, Strategy::Primary] {
        let mut bench = Bench::new(strategy, 2);
        let member = bench.route("t");
        bench.look();
        bench.suspect(&member);
        bench.wait(SECOND);
        let topic = Topic::from_static("t");
        let routed = bench.router.route(&topic, 1, 1, 0, bench.now);
        assert_eq!(routed, Some((slot(&member), Usage::default())));
    }
}

/// pool contract: 7
#[test]
fn if_all_are_suspect_none_is() {
    for strategy in [Strategy::Spread, Strategy::Primary] {
        let mut bench = Bench::new(strategy, 2);
        bench.suspect("a");
        bench.suspect("b");
        let all = match strategy {
            Strategy::Spread => "bbbbaaaa",
            _ => "aaaaaaaa",
        };
        assert_eq!(bench.routes("t", 8), all, "{strategy:?}");
    }
}

/// pool contract: 6
#[test]
fn publish_waits_while_no_member_is_up() {
    for strategy in [Strategy::Spread, Strategy::Primary, Strategy::PerTopic] {
        let mut bench = Bench::new(strategy, 2);
        bench.show("a", DOWN);
        bench.show("b", DOWN);
        assert_eq!(bench.route("t"), "-", "{strategy:?}");
        bench.show("b", UP);
        assert_eq!(bench.route("t"), "b", "{strategy:?}");
    }
}

/// pool contract: 2
#[test]
fn excluded_member_does_not_get_the_publish_and_keeps_its_run() {
    for strategy in [Strategy::Spread, Strategy::Primary] {
        let mut bench = Bench::new(strategy, 2);
        let member = bench.routes("t", 1);
        let other = if member == "a" { "b" } else { "a" };
        assert_eq!(bench.route_excluding("t", 1, &member), other);
        assert_eq!(bench.route_excluding("t", 1, "ab"), "-");
        if strategy == Strategy::Primary {
            assert_eq!(bench.routes("t", 1), member);
        }
    }
}

/// pool contract: 4
#[test]
fn primary_is_the_first_member_that_is_up() {
    let mut bench = Bench::new(Strategy::Primary, 3);
    assert_eq!(bench.routes("t", 10), "aaaaaaaaaa");
    bench.show("a", DOWN);
    assert_eq!(bench.routes("t", 3), "bbb");
    bench.show("b", DOWN);
    assert_eq!(bench.routes("t", 3), "ccc");
}

/// pool contract: 4
#[test]
fn primary_returns_after_failback_after() {
    let mut bench = Bench::new(Strategy::Primary, 2);
    bench.routes("t", 1);
    bench.show("a", DOWN);
    assert_eq!(bench.routes("t", 1), "b");
    bench.show("a", UP);
    assert_eq!(bench.routes("t", 1), "b");
    // A topic that was not published before is on the same side.
    assert_eq!(bench.routes("u", 1), "b");
    bench.wait(MS(4_999));
    assert_eq!(bench.routes("t", 1), "b");
    // It must be up all the time.
    bench.show("a", DOWN);
    bench.show("a", UP);
    bench.wait(MS(4_999));
    assert_eq!(bench.routes("t", 1), "b");
    bench.wait(MS(1));
    assert_eq!(bench.routes("t", 1), "a");
    assert_eq!(bench.routes("u", 1), "a");
}

/// pool contract: 4
#[test]
fn member_that_returns_is_used_at_once_if_no_other_is_up() {
    let mut bench = Bench::new(Strategy::Primary, 2);
    bench.routes("t", 1);
    bench.show("a", DOWN);
    bench.show("b", DOWN);
    bench.show("a", UP);
    assert_eq!(bench.routes("t", 1), "a");
    bench.show("b", UP);
    bench.wait(SECOND);
    assert_eq!(bench.routes("t", 2), "aa");
}

/// pool contract: 5
#[test]
fn publishes_wait_while_their_former_member_settles() {
    for strategy in [Strategy::Primary, Strategy::PerTopic] {
        let mut bench = Bench::new(strategy, 2);
        let member = bench.routes("t", 1);
        let settling = Observed {
            outstanding: 1,
            ..DOWN
        };
        bench.show(&member, settling);
        assert_eq!(bench.route("t"), "-", "{strategy:?}");
        // Other topics did not go there.
        bench.show(&member, DOWN);
        assert_ne!(bench.route("t"), member, "{strategy:?}");
    }
}

/// pool contract: 5
#[test]
fn publishes_wait_for_a_connection_that_is_replaced() {
    let mut bench = Bench::new(Strategy::Primary, 2);
    assert_eq!(bench.routes("t", 1), "a");
    let replaced = Observed {
        is_replacing: true,
        ..DOWN
    };
    bench.show("a", replaced);
    assert_eq!(bench.route("t"), "-");
    // A topic that begins now does not.
    assert_eq!(bench.route("u"), "b");
    bench.show("a", UP);
    assert_eq!(bench.routes("t", 1), "a");
}

/// pool contract: 4
#[test]
fn slow_member_keeps_its_topics_for_a_second_with_primary() {
    let mut bench = Bench::new(Strategy::Primary, 2);
    bench.load("a", 1);
    assert_eq!(bench.wait(MS(999)), "");
    assert_eq!(bench.route("t"), "a");
    assert_eq!(bench.wait(MS(1)), "a");
    assert_eq!(bench.route("t"), "b");
}

/// pool contract: 4
#[test]
fn per_topic_is_stable_even_and_moves_no_other_topic() {
    let topics: Vec<_> = (0..3_000).map(|number| format!("topic_{number}")).collect();
    let members = |bench: &mut Bench| -> Vec<String> {
        topics.iter().map(|topic| bench.routes(topic, 1)).collect()
    };
    let mut bench = Bench::new(Strategy::PerTopic, 3);
    let before = members(&mut bench);
    assert_eq!(members(&mut bench), before);
    // Another process with the same members, in another order of events.
    assert_eq!(members(&mut Bench::new(Strategy::PerTopic, 3)), before);
    for member in ["a", "b", "c"] {
        let count = before.iter().filter(|it| *it == member).count();
        assert!((850..1_150).contains(&count), "{member}: {count} of 3000");
    }
    bench.show("b", DOWN);
    let without = members(&mut bench);
    let moved_to = |to: &str| {
        let both = before.iter().zip(&without);
        both.filter(|(was, is)| *was == "b" && *is == to).count()
    };
    for (was, is) in before.iter().zip(&without) {
        assert!(was == is || was == "b", "{was} -> {is}");
    }
    // The topics of a member that is lost are spread over the others.
    assert!(moved_to("a") > 300 && moved_to("c") > 300);
    bench.show("b", UP);
    bench.wait(5 * SECOND);
    assert_eq!(members(&mut bench), before);
}

/// pool contract: 4
#[test]
fn per_topic_hash_stays_the_same() {
    // Producers of different versions share topics.
    let topic = Topic::new("orders").unwrap();
    let hashes = ["nsqd-1:4150", "nsqd-2:4150"].map(|it| rendezvous_hash(&topic, it));
    assert_eq!(hashes, [0xc14e_3491_787d_3b06, 0x6771_cd05_c584_59fe]);
}

/// pool contract: 9
#[test]
fn tombstoned_topic_is_not_published_at_its_member() {
    for strategy in [Strategy::Spread, Strategy::Primary, Strategy::PerTopic] {
        let mut bench = Bench::new(strategy, 2);
        let topics = HashSet::from([Topic::new("t").unwrap()]);
        bench.router.set_tombstones(0, topics);
        assert_eq!(bench.routes("t", 10), "bbbbbbbbbb", "{strategy:?}");
        let others: String = (0..10)
            .map(|it| bench.routes(&format!("u{it}"), 1))
            .collect();
        assert!(others.contains('a'), "{strategy:?}: {others}");
        bench.show("b", DOWN);
        assert_eq!(bench.route("t"), "-", "{strategy:?}");
        bench.router.set_tombstones(0, HashSet::new());
        assert_eq!(bench.route("t"), "a", "{strategy:?}");
    }
}

/// pool contract: 9
#[test]
fn removed_member_gets_nothing_and_its_slot_is_used_again() {
    let mut bench = Bench::new(Strategy::Primary, 2);
    assert_eq!(bench.routes("t", 1), "a");
    bench.router.remove(0);
    assert_eq!(bench.route("t"), "b");
    assert_eq!(bench.router.up(), bit(1));
    // The new member is the last in the order.
    bench.router.add(0, address(0));
    bench.look();
    assert_eq!(bench.routes("t", 2), "bb");
    bench.show("b", DOWN);
    assert_eq!(bench.routes("t", 1), "a");
}

#[test]
fn runs_of_many_topics_are_bounded() {
    let mut bench = Bench::new(Strategy::Spread, 2);
    for number in 0..10 * MAX_RUNS {
        bench.route(&format!("t{number}"));
    }
    assert!(bench.router.runs.len() <= MAX_RUNS);
}
