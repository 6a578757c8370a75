//! One poll visits a bounded number of publishes, whatever happens to all of them.

use super::*;

const BUDGET: usize = 4_000;

/// More than two polls may visit.
const MANY: usize = 10_000;

/// The default of `publish_window`.
const WINDOW: usize = 20_000;

/// What happens to many publishes.
#[derive(Debug, Clone, Copy)]
enum Event {
    Expiry,
    ExpiryInFlight,
    ExpiryOfWaiting,
    Cancellation,
    CancellationBeforeOne,
    CancellationOfWaiting,
    Purge,
    Responses,
    RejectedTopic,
    RequiredTls,
    LostConnection,
    LostWritten,
    Drain,
}

const EVENTS: [Event; 13] = [
    Event::Expiry,
    Event::ExpiryInFlight,
    Event::ExpiryOfWaiting,
    Event::Cancellation,
    Event::CancellationBeforeOne,
    Event::CancellationOfWaiting,
    Event::Purge,
    Event::Responses,
    Event::RejectedTopic,
    Event::RequiredTls,
    Event::LostConnection,
    Event::LostWritten,
    Event::Drain,
];

/// A queue with many publishes, as the producer uses it.
struct Polled {
    bench: Bench,
    publishes: usize,
    topics: usize,
    /// Whether they are in flight, and whether they wait for capacity.
    in_flight: bool,
    waiting: bool,
    /// CPU time of the longest poll.
    longest: Duration,
}

impl Polled {
    fn new(event: Event, publishes: usize, topics: usize, batch: Option<Batch>) -> Self {
        use Event::*;
        let in_flight = matches!(
            event,
            ExpiryInFlight | Responses | RejectedTopic | RequiredTls | LostConnection | LostWritten
        );
        let waiting = matches!(event, ExpiryOfWaiting | CancellationOfWaiting);
        let all = usage(publishes + 1, usize::MAX);
        let bench = Bench::with(Limits {
            pending: match event {
                ExpiryOfWaiting | CancellationOfWaiting => usage(1, usize::MAX),
                Purge => usage(publishes, usize::MAX),
                _ => all,
            },
            window: usage(WINDOW, usize::MAX),
            batch,
            budget: BUDGET,
            ..WIDE
        });
        let mut polled = Self {
            bench,
            publishes,
            topics,
            in_flight,
            waiting,
            longest: Duration::ZERO,
        };
        polled.fill();
        // So that their log is not copied.
        polled.bench.log.answers.borrow_mut().reserve(publishes + 1);
        polled
    }

    fn fill(&mut self) {
        if self.waiting {
            self.bench.publish("first");
        }
        let topics: Vec<_> = (0..self.topics)
            .map(|number| format!("t{number}"))
            .collect();
        for number in 0..self.publishes {
            let body = Bytes::from_static(b"body");
            // Batching keeps few in flight, except of those that are not batched.
            let payload = if self.in_flight {
                Payload::deferred(body, 1)
            } else {
                Payload::Publish(body)
            };
            let topic = &topics[number % self.topics];
            self.bench.push(topic, payload, SECOND, WhenFull::Wait);
            self.bench.finish_jobs();
        }
        if self.in_flight {
            self.poll(hand_over);
        }
    }

    /// Polls until nothing is left undone. Each poll does `action`, and goes on with the jobs.
    fn poll(&mut self, mut action: impl FnMut(&mut Bench)) {
        loop {
            let start = cpu_time();
            if self.bench.queue().work() {
                self.bench.queue().admit_waiters();
                action(&mut self.bench);
            }
            self.longest = self.longest.max(cpu_time() - start);
            if !self.bench.queue().renew_budget() {
                return;
            }
        }
    }

    /// Does something once, and then polls.
    fn once(&mut self, action: impl FnOnce(&mut Bench)) {
        let mut action = Some(action);
        self.poll(|bench| {
            if let Some(action) = action.take() {
                action(bench);
            }
        });
    }

    fn cancel_all_but(&self, kept: usize) {
        let callers = &self.bench.callers;
        callers[..callers.len() - kept]
            .iter()
            .for_each(|caller| caller.set(true));
    }

    fn lose(&mut self, written: u64) {
        let cause = Cause::ConnectionLost(ConnectionError::ClosedByPeer);
        self.once(|bench| {
            let cause = &cause;
            bench
                .queue()
                .on_disconnected(ConnectionEnd::Lost { written, cause });
        });
    }

    /// Lets the event happen; returns how many publishes it answers.
    fn happen(&mut self, event: Event) -> usize {
        match event {
            Event::Expiry | Event::ExpiryInFlight | Event::ExpiryOfWaiting => {
                self.once(|bench| bench.wait(SECOND));
            }
            Event::Cancellation | Event::CancellationOfWaiting => {
                self.cancel_all_but(0);
                self.once(|bench| bench.queue().remove_cancelled());
            }
            Event::CancellationBeforeOne => {
                self.cancel_all_but(1);
                let mut sent = 0;
                self.poll(|bench| sent += bench.send().len());
                assert_eq!(sent, 1);
            }
            Event::Purge => {
                self.cancel_all_but(0);
                self.once(|bench| _ = bench.publish("t0"));
            }
            Event::Responses => self.poll(|bench| {
                hand_over(bench);
                while bench.queue().oldest_end().is_some() && bench.queue().may_complete_oldest() {
                    bench.ok();
                }
            }),
            Event::RejectedTopic => self.once(|bench| bench.error("E_BAD_TOPIC no").unwrap()),
            Event::RequiredTls => self.once(|bench| {
                bench.error("E_INVALID cannot PUB (TLS required)").unwrap();
            }),
            Event::LostConnection => self.lose(0),
            Event::LostWritten => self.lose(u64::MAX),
            Event::Drain => self.once(|bench| bench.queue().fail_all(&Cause::Drained)),
        }
        self.bench.take_answers().len()
    }

    fn most(&self) -> usize {
        self.bench.queue.as_ref().unwrap().most_visited()
    }
}

/// Sends what may be sent. Unlike [`Bench::send`] it does not read the commands.
fn hand_over(bench: &mut Bench) {
    let queue = bench.queue.as_mut().unwrap();
    while queue.next_command(b"{}", &mut bench.out, bench.now) {}
    bench.sent = bench.out.total();
    drop(bench.out.take());
}

/// CPU time of this thread, as of its latest switch.
fn cpu_time() -> Duration {
    std::thread::yield_now();
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// Number of publishes that an event answers, of `publishes` to `topics`.
fn answered(event: Event, publishes: usize, topics: usize) -> usize {
    match event {
        Event::ExpiryOfWaiting => publishes,
        // Their callers are gone.
        Event::CancellationOfWaiting => 1,
        Event::CancellationBeforeOne => publishes - 1,
        Event::RejectedTopic => publishes / topics,
        // The new one is rejected at once.
        Event::Purge => publishes + 1,
        Event::LostConnection => 0,
        Event::LostWritten => publishes.min(WINDOW),
        _ => publishes,
    }
}

/// Topics, and whether publishes are batched.
fn variants(topics: usize) -> [(usize, Option<Batch>); 3] {
    [(1, None), (1, BATCHING.batch), (topics, BATCHING.batch)]
}

#[test]
fn batch_is_no_larger_than_the_budget() {
    let mut bench = Bench::with(Limits {
        budget: 12,
        ..BATCHING
    });
    for _ in 0..4 {
        bench.publish_all("aaaa");
        bench.finish_jobs();
    }
    let commands = bench.send();
    assert_eq!(commands, ["MPUB a 1 2 3 4 5 6 7 8 9 10 11 12"]);
}

#[test]
fn poll_visits_a_bounded_number_of_publishes() {
    for event in EVENTS {
        for (topics, batch) in variants(MANY / 10) {
            let mut polled = Polled::new(event, MANY, topics, batch);
            assert_eq!(
                polled.happen(event),
                answered(event, MANY, topics),
                "{event:?}"
            );
            let most = polled.most();
            // All polls but the last are used up; one publish may have come on top.
            assert!(
                (BUDGET / 2..=BUDGET + 1).contains(&most),
                "{event:?}: {most}"
            );
        }
    }
}

/// On an idle machine: `cargo test --release --lib poll_takes -- --ignored --nocapture`, with
/// `MALLOC_TRIM_THRESHOLD_` and `MALLOC_ARENA_MAX` as in `.ci/run`.
#[test]
#[ignore = "measures time"]
fn poll_takes_a_few_milliseconds_at_a_million_publishes() {
    for event in EVENTS {
        for (topics, batch) in variants(10_000) {
            let longest = || {
                let mut polled = Polled::new(event, 1_000_000, topics, batch);
                polled.longest = Duration::ZERO;
                polled.happen(event);
                assert!(polled.most() <= BUDGET + 1, "{event:?}: {}", polled.most());
                polled.longest
            };
            // Other programs on the machine make single polls longer.
            let longest = (0..3).map(|_| longest()).min().unwrap();
            let batching = batch.is_some();
            println!("{longest:10.1?}  {event:?}, {topics} topics, batching: {batching}");
            assert!(longest < Duration::from_millis(5));
        }
    }
}
