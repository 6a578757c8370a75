//! A connection is cut at every byte of a session, in both directions, with a FIN and with a RST, between real sockets: each
//! publish is answered once, and what the broker holds bears every answer out.

mod cases;
pub mod session;

use std::cell::RefCell;
use std::time::{Duration, Instant};

use actix_nsq::{Delivery, ProducerConfigBuilder};
use futures::StreamExt;

use self::cases::{Case, Cases, Whole};
use self::session::{Played, Say, Session};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Settings};
use crate::support::chaos::{self, ChaosProxy, Direction};
use crate::support::record::{Id, Record};

pub fn scenarios() -> Vec<Scenario> {
    let limited = || Settings {
        max_msg_size: LIMIT,
        in_memory: true,
        ..Settings::default()
    };
    let patient = Duration::from_secs(300);
    scenarios![
        a_session_cut_at_any_byte_answers_each_publish_once_and_truly
            .with(limited())
            .within(patient),
        a_session_with_large_bodies_cut_around_them_answers_each_publish_once_and_truly
            .with(Settings {
                in_memory: true,
                ..Settings::default()
            })
            .within(patient),
        cut_at_any_byte_with_at_least_once_all_are_stored_and_only_what_may_have_been_is_twice
            .with(limited())
            .within(patient),
    ]
}

/// nsqd's, and unknown to the producer.
const LIMIT: usize = 200;

/// So many cases there are at least, which are all there were when this was written but for a few, in case the texts of a
/// handshake get shorter.
const AT_LEAST: usize = 12_000;

/// How many sessions are played at a time.
const TOGETHER: usize = 8;

/// What the producer of a session is set up with besides, and whether at every place or at each so many.
struct Variant {
    name: &'static str,
    options: fn(ProducerConfigBuilder) -> ProducerConfigBuilder,
    /// Whether what may be stored is sent again.
    at_least_once: bool,
    step: usize,
}

const VARIANTS: [Variant; 3] = [
    Variant {
        name: "by default",
        options: |config| config,
        at_least_once: false,
        step: 1,
    },
    Variant {
        name: "each publish a command",
        options: |config| config.auto_batch(false),
        at_least_once: false,
        step: 1,
    },
    Variant {
        name: "one at a time",
        options: |config| config.publish_window(1),
        at_least_once: false,
        step: 7,
    },
];

const FIRST_PUBLISH: Session = Session {
    name: "a handshake and a first publish",
    limit: LIMIT,
    says: &[Say::Pub("cuts.first", 30)],
};

const PIPELINED: Session = Session {
    name: "PUB, MPUB and DPUB, pipelined",
    limit: LIMIT,
    says: &[
        Say::Pub("cuts.one", 30),
        Say::Mpub("cuts.two", &[25, 40, 25]),
        Say::Dpub("cuts.one", 30),
        Say::Pub("cuts.two", 25),
        Say::Mpub("cuts.three", &[30]),
        Say::Pub("cuts.one", 50),
    ],
};

/// What one command can carry, around what goes by itself.
const FOLDED: Session = Session {
    name: "two rows of PUB that can be one command each",
    limit: LIMIT,
    says: &[
        Say::Pub("cuts.one", 30),
        Say::Pub("cuts.one", 25),
        Say::Pub("cuts.two", 25),
        Say::Pub("cuts.one", 40),
        Say::Mpub("cuts.one", &[25, 25]),
        Say::Pub("cuts.one", 25),
        Say::Pub("cuts.two", 30),
        Say::Pub("cuts.one", 25),
    ],
};

/// A row of them, one of which nsqd refuses.
const REFUSED_AMONG_OTHERS: Session = Session {
    name: "one that nsqd refuses, in a row of PUB",
    limit: LIMIT,
    says: &[
        Say::Pub("cuts.one", 25),
        Say::Pub("cuts.one", 25),
        Say::Pub("cuts.one", LIMIT + 1),
        Say::Pub("cuts.one", 25),
        Say::Pub("cuts.two", 25),
    ],
};

const REFUSED: Session = Session {
    name: "one that nsqd refuses, between others",
    limit: LIMIT,
    says: &[
        Say::Pub("cuts.one", 25),
        Say::Mpub("cuts.two", &[25, 25]),
        Say::Pub("cuts.one", LIMIT + 1),
        Say::Pub("cuts.one", 25),
        Say::Mpub("cuts.two", &[25, 25]),
        Say::Dpub("cuts.three", 25),
    ],
};

/// Bodies that the producer shares with its caller, and does not copy.
const LARGE: Session = Session {
    name: "large bodies between small ones",
    limit: usize::MAX,
    says: &[
        Say::Pub("cuts.one", 30),
        Say::Pub("cuts.one", 6_000),
        Say::Pub("cuts.one", 30),
        Say::Mpub("cuts.two", &[5_000, 30, 9_000]),
        Say::Dpub("cuts.two", 4_500),
        Say::Pub("cuts.one", 30),
    ],
};

/// contract: 1
/// fault: P7
async fn a_session_cut_at_any_byte_answers_each_publish_once_and_truly(broker: Broker) {
    let campaign = Campaign::new(&broker).await;
    let (mut count, mut folded) = (0, 0);
    // What is made of rows of PUB without batching, the others show.
    let sessions = [
        (&FIRST_PUBLISH, &VARIANTS[..]),
        (&PIPELINED, &VARIANTS),
        (&REFUSED, &VARIANTS),
        (&FOLDED, &VARIANTS[..1]),
        (&REFUSED_AMONG_OTHERS, &VARIANTS[..1]),
    ];
    for (session, variants) in sessions {
        for variant in variants {
            let whole = campaign.whole(session, variant).await;
            folded += whole.folded();
            let cases = Cases::at_every(variant.step, &whole);
            count += campaign.play_all(session, variant, &whole, cases).await;
        }
    }
    campaign.judge(|_| false).await;
    assert!(count >= AT_LEAST, "only {count} cases");
    // The two rows, and the one with the refusal.
    assert!(
        folded >= 3,
        "only {folded} commands carry several publishes"
    );
}

/// contract: 1
/// fault: P7
async fn a_session_with_large_bodies_cut_around_them_answers_each_publish_once_and_truly(
    broker: Broker,
) {
    let campaign = Campaign::new(&broker).await;
    for variant in &VARIANTS {
        let whole = campaign.whole(&LARGE, variant).await;
        let cases = Cases::around_bodies(variant.step, &whole);
        campaign.play_all(&LARGE, variant, &whole, cases).await;
    }
    campaign.judge(|_| false).await;
}

/// contract: 1
/// fault: P7
async fn cut_at_any_byte_with_at_least_once_all_are_stored_and_only_what_may_have_been_is_twice(
    broker: Broker,
) {
    let campaign = Campaign::new(&broker).await;
    let variants = [
        Variant {
            name: "at least once",
            options: |config| config.retry_maybe_written(true),
            at_least_once: true,
            step: 3,
        },
        Variant {
            name: "at least once, each publish a command",
            options: |config| config.retry_maybe_written(true).auto_batch(false),
            at_least_once: true,
            step: 3,
        },
    ];
    for session in [&PIPELINED, &FOLDED, &REFUSED] {
        for variant in &variants {
            let whole = campaign.whole(session, variant).await;
            let cases = Cases::at_every(variant.step, &whole);
            campaign.play_all(session, variant, &whole, cases).await;
        }
    }
    let may_be_twice = campaign.may_be_twice.borrow().clone();
    let twice = campaign.judge(|id| may_be_twice.contains(&id)).await;
    assert!(twice > 0, "nothing was ever sent again that was stored");
}

/// All sessions of a scenario, on one broker.
struct Campaign<'a> {
    broker: &'a Broker,
    address: String,
    seed: u64,
    record: RefCell<Record>,
    /// What a first connection may have stored before a second one did.
    may_be_twice: RefCell<Vec<Id>>,
}

impl<'a> Campaign<'a> {
    async fn new(broker: &'a Broker) -> Self {
        Self {
            broker,
            address: broker.address().await,
            seed: chaos::seed(),
            record: RefCell::default(),
            may_be_twice: RefCell::default(),
        }
    }

    /// The session without a cut: what is said, both ways.
    async fn whole(&self, session: &Session, variant: &Variant) -> Whole {
        let proxy =
            ChaosProxy::start_apart(&self.address, chaos::Faults::default(), self.seed).unwrap();
        proxy.start_recording();
        let played = session.play(&proxy, variant.options, &self.record).await;
        for (say, answer) in session.says.iter().zip(&played.answers) {
            let is_refused = say.is_longer_than(session.limit);
            assert_eq!(answer.is_err(), is_refused, "{answer:?}");
        }
        Whole::new(&proxy.record()[0], played.bodies)
    }

    async fn play_all(
        &self,
        session: &Session,
        variant: &Variant,
        whole: &Whole,
        cases: Vec<Case>,
    ) -> usize {
        let (began, count) = (Instant::now(), cases.len());
        let cases = futures::stream::iter(cases);
        let play = |case| self.play(session, variant, whole, case);
        cases.for_each_concurrent(TOGETHER, play).await;
        let (name, variant, took) = (session.name, variant.name, began.elapsed());
        eprintln!("{count} cuts of {name}, {variant}: {took:.1?}");
        count
    }

    async fn play(&self, session: &Session, variant: &Variant, whole: &Whole, case: Case) {
        let began = Instant::now();
        let proxy = ChaosProxy::start_apart(&self.address, case.faults(), self.seed).unwrap();
        proxy.start_recording();
        let Played { answers, ids, .. } = session.play(&proxy, variant.options, &self.record).await;
        let told = format!("{}, {}, {proxy}: {answers:?}", session.name, variant.name);

        // The control: it was this byte.
        let first = &proxy.record()[0];
        let way = match case.direction {
            Direction::Up => &first.up,
            Direction::Down => &first.down,
        };
        assert_eq!(way.pieces.iter().sum::<usize>(), case.at, "{told}");

        let nothing_sent = whole.is_before_publishes(case);
        for (say, answer) in session.says.iter().zip(&answers) {
            let is_refused = say.is_longer_than(session.limit);
            let is_true = match answer {
                Ok(()) => !is_refused,
                Err(error) if is_refused => {
                    error.delivery() == Delivery::NotWritten || !nothing_sent
                }
                // Another one's refusal or a cut leaves nobody in the lurch: what is not sent is sent again.
                Err(error) => {
                    error.delivery() != Delivery::NotWritten
                        && !(nothing_sent || variant.at_least_once)
                }
            };
            assert!(is_true, "{say:?} was answered {answer:?}: {told}");
        }
        let ok = answers.iter().filter(|answer| answer.is_ok()).count();
        let heard = whole.ok_before(case);
        assert!(ok >= heard, "{heard} answers reached the producer: {told}");
        // A cut is seen, and not waited for.
        assert!(began.elapsed() < session::ACK_TIMEOUT, "{told}");
        self.may_be_twice
            .borrow_mut()
            .extend(whole.may_be_stored_at(case, &ids));
    }

    /// Holds all answers against what the broker has; how many are there twice, where they may.
    async fn judge(&self, may_be_twice: impl Fn(Id) -> bool) -> usize {
        let broker = self.broker;
        broker.until_no_client_is_left().await;
        let record = self.record.take();
        let topics = record.topics();
        let mut found = Vec::new();
        for topic in &topics {
            let expected = record.ok_in(topic);
            found.extend(
                broker
                    .bodies(topic, expected)
                    .await
                    .into_iter()
                    .map(|body| (topic, body)),
            );
        }
        let found = found
            .iter()
            .map(|(topic, body)| (topic.as_str(), &body[..]));
        let mut verdict = record.judge(found);
        let twice = verdict.duplicate.len();
        verdict.duplicate.retain(|id| !may_be_twice(*id));
        eprintln!("{verdict}, seed {}", self.seed);
        verdict.assert_clean();
        twice - verdict.duplicate.len()
    }
}
