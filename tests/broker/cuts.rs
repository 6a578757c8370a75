//! The first connection of a session is cut after any byte, in either direction, by FIN or RST.
//! Every publish has one answer, and the stored messages agree with all answers.
//!
//! By default, the places are the bounds of commands, bodies and frames, and every n-th byte
//! starting at a random one (`CHAOS_SEED` repeats a run). With `FULL=1`, every byte.

mod campaign;
mod consumer;
mod layered;
mod session;
mod whole;

use actix_nsq::{Delivery, ProducerConfigBuilder};

use self::campaign::Campaign;
use self::session::{Played, Send, Session};
use self::whole::{Cut, Whole, cuts_at};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Settings};
use crate::support::chaos::{Direction, Faults};
use crate::support::{full, scaled};

pub fn scenarios() -> Vec<Scenario> {
    let limited = || Settings {
        max_msg_size: LIMIT,
        in_memory: true,
        ..Settings::default()
    };
    let plain = scenarios![
        cut_session_gives_true_answers.with(limited()),
        session_cut_around_large_bodies_gives_true_answers.with(Settings::in_memory()),
        cut_session_with_retry_maybe_written_stores_everything.with(limited()),
        session_in_slices_of_any_size_is_stored_unchanged.with(Settings::in_memory()),
    ];
    let plain = plain.into_iter().chain(consumer::scenarios());
    plain.chain(layered::scenarios()).collect()
}

/// nsqd's maximum message size. The producer does not know it.
const LIMIT: usize = 200;

/// A configuration of the producer.
struct Variant {
    name: &'static str,
    configure: fn(ProducerConfigBuilder) -> ProducerConfigBuilder,
    /// With `retry_maybe_written`.
    retries: bool,
    /// Distance of the places.
    step: usize,
}

const DEFAULT: Variant = Variant {
    name: "default",
    configure: |config| config,
    retries: false,
    step: 1,
};

const VARIANTS: [Variant; 3] = [
    DEFAULT,
    Variant {
        name: "no batching",
        configure: |config| config.auto_batch(false),
        ..DEFAULT
    },
    Variant {
        name: "window of 1",
        configure: |config| config.publish_window(1),
        step: 7,
        ..DEFAULT
    },
];

const RETRYING: [Variant; 2] = [
    Variant {
        name: "retry",
        configure: |config| config.retry_maybe_written(true),
        retries: true,
        step: 3,
    },
    Variant {
        name: "retry, no batching",
        configure: |config| config.retry_maybe_written(true).auto_batch(false),
        retries: true,
        step: 3,
    },
];

const PIPELINED: Session = Session {
    name: "pipelined PUB, MPUB and DPUB",
    limit: LIMIT,
    sends: &[
        Send::Pub("cuts.one", 30),
        Send::Mpub("cuts.two", &[25, 40, 25]),
        Send::Dpub("cuts.one", 30),
        Send::Pub("cuts.two", 25),
        Send::Mpub("cuts.three", &[30]),
        Send::Pub("cuts.one", 50),
    ],
};

const BATCHED: Session = Session {
    name: "PUBs that form automatic batches",
    limit: LIMIT,
    sends: &[
        Send::Pub("cuts.one", 30),
        Send::Pub("cuts.one", 25),
        Send::Pub("cuts.two", 25),
        Send::Pub("cuts.one", 40),
        Send::Mpub("cuts.one", &[25, 25]),
        Send::Pub("cuts.one", 25),
        Send::Pub("cuts.two", 30),
        Send::Pub("cuts.one", 25),
    ],
};

const REJECTED_IN_A_BATCH: Session = Session {
    name: "a rejected PUB in an automatic batch",
    limit: LIMIT,
    sends: &[
        Send::Pub("cuts.one", 25),
        Send::Pub("cuts.one", 25),
        Send::Pub("cuts.one", LIMIT + 1),
        Send::Pub("cuts.one", 25),
        Send::Pub("cuts.two", 25),
    ],
};

const REJECTED: Session = Session {
    name: "a rejected PUB between other commands",
    limit: LIMIT,
    sends: &[
        Send::Pub("cuts.one", 25),
        Send::Mpub("cuts.two", &[25, 25]),
        Send::Pub("cuts.one", LIMIT + 1),
        Send::Pub("cuts.one", 25),
        Send::Mpub("cuts.two", &[25, 25]),
        Send::Dpub("cuts.three", 25),
    ],
};

/// Large bodies are not copied into the write buffer.
const LARGE: Session = Session {
    name: "large and small bodies",
    limit: usize::MAX,
    sends: &[
        Send::Pub("cuts.one", 30),
        Send::Pub("cuts.one", 6_000),
        Send::Pub("cuts.one", 30),
        Send::Mpub("cuts.two", &[5_000, 30, 9_000]),
        Send::Dpub("cuts.two", 4_500),
        Send::Pub("cuts.one", 30),
    ],
};

/// contract: 1
/// fault: P7
async fn cut_session_gives_true_answers(broker: Broker) {
    let campaign = Campaign::new(&broker).await;
    let (mut count, mut batches) = (0, 0);
    let sessions = [
        (&PIPELINED, &VARIANTS[..]),
        (&REJECTED, &VARIANTS),
        (&BATCHED, &VARIANTS[..1]),
        (&REJECTED_IN_A_BATCH, &VARIANTS[..1]),
    ];
    for (session, variants) in sessions {
        for variant in variants {
            let whole = whole(&campaign, session, variant).await;
            batches += whole.batches();
            let places = |direction| whole.places(direction, variant.step, campaign.seed);
            let cuts = cuts_at(places);
            count += cuts.len();
            play_all(&campaign, session, variant, &whole, cuts).await;
        }
    }
    campaign.audit(&[]).await;
    // Control: there were cuts, and automatic batches.
    assert!(
        count >= if full() { 10_000 } else { 300 },
        "only {count} cuts"
    );
    assert!(batches >= 3, "only {batches} automatic batches");
}

/// contract: 1
/// fault: P7
async fn session_cut_around_large_bodies_gives_true_answers(broker: Broker) {
    let campaign = Campaign::new(&broker).await;
    for variant in &VARIANTS {
        let whole = whole(&campaign, &LARGE, variant).await;
        let cuts = cuts_at(|direction| whole.places_around_bodies(direction, variant.step));
        play_all(&campaign, &LARGE, variant, &whole, cuts).await;
    }
    campaign.audit(&[]).await;
}

/// contract: 1
/// fault: P7
async fn cut_session_with_retry_maybe_written_stores_everything(broker: Broker) {
    let campaign = Campaign::new(&broker).await;
    let mut may_repeat = Vec::new();
    for session in [&PIPELINED, &BATCHED, &REJECTED] {
        for variant in &RETRYING {
            let whole = whole(&campaign, session, variant).await;
            let cuts = cuts_at(|direction| whole.places(direction, variant.step, campaign.seed));
            may_repeat.extend(play_all(&campaign, session, variant, &whole, cuts).await);
        }
    }
    let repeated = campaign.audit(&may_repeat).await;
    assert!(repeated > 0, "no stored message was retried");
}

/// Plays a session without a cut.
async fn whole(campaign: &Campaign<'_>, session: &Session, variant: &Variant) -> Whole {
    let proxy = campaign.proxy(Faults::default());
    let played = campaign.play(session, &proxy, variant.configure).await;
    for (send, answer) in session.sends.iter().zip(&played.answers) {
        let rejected = send.is_longer_than(session.limit);
        assert_eq!(answer.is_err(), rejected, "{answer:?}");
    }
    Whole::new(&proxy.record()[0], played.bodies)
}

/// Plays a session with each of the cuts. Returns the messages that may be stored twice.
async fn play_all(
    campaign: &Campaign<'_>,
    session: &Session,
    variant: &Variant,
    whole: &Whole,
    cuts: Vec<Cut>,
) -> Vec<crate::support::record::Id> {
    eprintln!("{} cuts of {}, {}", cuts.len(), session.name, variant.name);
    let played = campaign.concurrently(cuts, async |cut: Cut| {
        let proxy = campaign.proxy(cut.faults());
        let Played { answers, ids, .. } = campaign.play(session, &proxy, variant.configure).await;
        let case = format!("{}, {}, {proxy}: {answers:?}", session.name, variant.name);

        let first = &proxy.record()[0];
        let passed = match cut.direction {
            Direction::Up => &first.up.pieces,
            Direction::Down => &first.down.pieces,
        };
        assert_eq!(passed.iter().sum::<usize>(), cut.at, "{case}");

        let nothing_sent = whole.is_before_publishes(cut);
        for (send, answer) in session.sends.iter().zip(&answers) {
            let rejected = send.is_longer_than(session.limit);
            let delivery = answer.as_ref().err().map(|error| error.delivery());
            let expected = match delivery {
                None => !rejected,
                Some(Delivery::NotWritten) => rejected,
                // A message that may be stored is retried if that was asked for.
                Some(_) if rejected => !nothing_sent,
                Some(_) => !nothing_sent && !variant.retries,
            };
            assert!(expected, "{send:?}: {answer:?}: {case}");
        }
        let ok = answers.iter().filter(|answer| answer.is_ok()).count();
        let received = whole.ok_before(cut);
        assert!(
            ok >= received,
            "{received} OKs reached the producer: {case}"
        );
        whole.may_be_stored_at(cut, &ids)
    });
    played.await.into_iter().flatten().collect()
}

/// fault: P8
async fn session_in_slices_of_any_size_is_stored_unchanged(broker: Broker) {
    // Sizes around the limit above which bodies are not copied.
    const SIZES: &[usize] = &[30, 1_000, 4_095, 4_096, 4_097, 9_000, 31, 32];
    const SLICED: Session = Session {
        name: "slices",
        limit: usize::MAX,
        sends: &[
            Send::Pub("slices", 30),
            Send::Pub("slices", 4_095),
            Send::Pub("slices", 4_096),
            Send::Pub("slices", 4_097),
            Send::Mpub("slices", SIZES),
            Send::Pub("slices", 9_000),
            Send::Mpub("slices", SIZES),
        ],
    };
    let campaign = Campaign::new(&broker).await;
    for (list, most_up, most_down) in [
        ("slice=1", 1, 1),
        ("slice=1..7", 7, 7),
        ("slice=1..100", 100, 100),
        ("slice-down=1,slice-up=4096", 4_096, 1),
    ] {
        for _ in 0..scaled(1, 3) {
            let proxy = campaign.proxy(list.parse().unwrap());
            let played = campaign.play(&SLICED, &proxy, |config| config).await;
            assert!(
                played.answers.iter().all(Result::is_ok),
                "{list}: {played:?}"
            );
            let record = proxy.record();
            let largest = |pieces: &[usize]| pieces.iter().max().copied().unwrap();
            let (up, down) = (
                largest(&record[0].up.pieces),
                largest(&record[0].down.pieces),
            );
            assert!(up <= most_up && down <= most_down, "{list}: {up}, {down}");
            assert_eq!(record.len(), 1, "{list}: more than one connection");
        }
    }
    campaign.audit(&[]).await;
}
