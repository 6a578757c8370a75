//! A connection inside TLS, and compressed in there, is cut at every byte that goes over the wire, both ways: each publish is answered
//! once, and what the broker holds bears every answer out.
//!
//! What stands at a place is not to be known beforehand, as it is for a plain session (`cuts`): it is encrypted, and its length
//! varies by a few bytes. So the record of all sessions decides.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use actix_nsq::{Delivery, ProducerConfig, ProducerConfigBuilder, PublishError, WaitConnected};
use futures::StreamExt;

use super::cuts::session::{self, Played, Say, Session};
use super::layers::{Compression, Layers};
use super::load::start;
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Settings};
use crate::support::chaos::{self, ChaosProxy, Direction, End, Faults, Way};
use crate::support::record::Record;
use crate::support::settings::Tls;

pub fn scenarios() -> Vec<Scenario> {
    let open_to_all = || Settings {
        in_memory: true,
        tls: Some(Tls::default()),
        ..Settings::default()
    };
    let patient = Duration::from_secs(300);
    scenarios![
        a_session_in_tls_and_deflate_cut_at_any_byte_answers_each_publish_once_and_truly
            .with(open_to_all())
            .within(patient),
        a_session_in_tls_and_snappy_cut_at_any_byte_answers_each_publish_once_and_truly
            .with(open_to_all())
            .within(patient),
        a_byte_that_arrives_as_another_one_inside_tls_is_believed_by_nobody
            .with(open_to_all())
            .within(patient),
    ]
}

const SESSION: Session = Session {
    name: "PUB and MPUB, pipelined",
    limit: usize::MAX,
    says: &[
        Say::Pub("cuts.one", 30),
        Say::Mpub("cuts.two", &[25, 40]),
        Say::Pub("cuts.one", 25),
        Say::Pub("cuts.two", 30),
    ],
};

/// So near to its end, a handshake may be over, and a session: the last word can be understood before the last record is there.
/// And the lengths of signatures vary.
const LAST_RECORDS: usize = 128;

/// How many sessions are played at a time.
const TOGETHER: usize = 8;

/// fault: T4
async fn a_session_in_tls_and_deflate_cut_at_any_byte_answers_each_publish_once_and_truly(
    broker: Broker,
) {
    cut_everywhere(&broker, Compression::Deflate).await;
}

/// fault: T4
async fn a_session_in_tls_and_snappy_cut_at_any_byte_answers_each_publish_once_and_truly(
    broker: Broker,
) {
    cut_everywhere(&broker, Compression::Snappy).await;
}

/// On its way up, and on its way down; before TLS, a byte can be anything.
/// fault: T4
async fn a_byte_that_arrives_as_another_one_inside_tls_is_believed_by_nobody(broker: Broker) {
    let mut campaign = Campaign::new(&broker, Compression::None).await;
    for compression in [Compression::None, Compression::Deflate, Compression::Snappy] {
        campaign.layers.compression = compression;
        let (in_clear_text, whole) = (campaign.in_clear_text().await, campaign.whole().await);
        let cases = [Direction::Up, Direction::Down].into_iter();
        let cases = cases.flat_map(|direction| {
            let places = length(in_clear_text, direction)..length(whole, direction);
            places.step_by(13).map(move |at| (direction, at))
        });
        futures::stream::iter(cases)
            .for_each_concurrent(TOGETHER, |(direction, at)| {
                campaign.play_corrupted(direction, at)
            })
            .await;
        let unknown = campaign.unknown.replace(0);
        assert!(
            unknown >= 5,
            "{compression:?}: something unknown only {unknown} times"
        );
    }
    campaign.judge().await;
}

async fn cut_everywhere(broker: &Broker, compression: Compression) {
    let campaign = Campaign::new(broker, compression).await;
    let layers = campaign.layers;
    let (handshake, whole) = (campaign.handshake().await, campaign.whole().await);
    let (began, mut count) = (Instant::now(), 0);
    let cases = [Direction::Up, Direction::Down].into_iter();
    let cases = cases.flat_map(|direction| {
        let (handshake, whole) = (length(handshake, direction), length(whole, direction));
        (0..whole).flat_map(move |at| {
            let case = move |end| Case {
                direction,
                at,
                end,
                nothing_sent: at + LAST_RECORDS < handshake,
                is_reached: at + LAST_RECORDS < whole,
            };
            // While no publish is under way, one end will do.
            let both = at + LAST_RECORDS >= handshake;
            let one = if at % 2 == 0 { End::Fin } else { End::Rst };
            let ends = [End::Fin, End::Rst].into_iter();
            ends.filter(move |end| both || *end == one).map(case)
        })
    });
    let cases = cases.inspect(|_| count += 1);
    futures::stream::iter(cases)
        .for_each_concurrent(TOGETHER, |case| campaign.play(case))
        .await;
    let (ok, unknown) = (campaign.all_ok.get(), campaign.unknown.get());
    let told = format!("{count} cuts: all ok {ok} times, some unknown {unknown} times");
    eprintln!("{layers:?}, {told}: {:.1?}", began.elapsed());
    // The control: both came to pass, and there were as many places as there are bytes.
    assert!(count >= 2_000 && ok >= 1_000 && unknown >= 20, "{told}");
    campaign.judge().await;
}

fn length((up, down): (usize, usize), direction: Direction) -> usize {
    match direction {
        Direction::Up => up,
        Direction::Down => down,
    }
}

/// Each way, over the one connection.
fn passed(proxy: &ChaosProxy) -> (usize, usize) {
    let counts = proxy.counts();
    assert_eq!(counts.connections, 1);
    let size = |bytes: u64| usize::try_from(bytes).unwrap();
    (size(counts.up), size(counts.down))
}

/// The first connection ends there; the next ones live.
#[derive(Clone, Copy, Debug)]
struct Case {
    direction: Direction,
    at: usize,
    end: End,
    /// It is certainly before any publish.
    nothing_sent: bool,
    /// The session certainly comes so far.
    is_reached: bool,
}

impl Case {
    fn faults(&self) -> Faults {
        Faults::cut_once(self.direction, self.at, self.end)
    }
}

/// All sessions of a scenario, on one broker.
struct Campaign<'a> {
    broker: &'a Broker,
    layers: Layers,
    address: String,
    seed: u64,
    record: RefCell<Record>,
    /// In so many sessions all was ok, or something unknown.
    all_ok: Cell<usize>,
    unknown: Cell<usize>,
}

impl<'a> Campaign<'a> {
    /// In TLS.
    async fn new(broker: &'a Broker, compression: Compression) -> Self {
        Self {
            broker,
            layers: Layers {
                tls: true,
                compression,
            },
            address: broker.address().await,
            seed: chaos::seed(),
            record: RefCell::default(),
            all_ok: Cell::default(),
            unknown: Cell::default(),
        }
    }

    fn proxy(&self, faults: Faults) -> ChaosProxy {
        let proxy = ChaosProxy::start_apart(&self.address, faults, self.seed).unwrap();
        proxy.start_recording();
        proxy
    }

    /// By whichever address nsqd is dialled.
    fn asked(&self, config: ProducerConfigBuilder) -> ProducerConfigBuilder {
        let config = self.layers.asked(self.broker, config);
        config.tls_server_name("localhost")
    }

    async fn session(&self, proxy: &ChaosProxy) -> Played {
        let options = |config: ProducerConfigBuilder| self.asked(config);
        SESSION.play(proxy, options, &self.record).await
    }

    /// What passes each way until it is connected.
    async fn handshake(&self) -> (usize, usize) {
        let proxy = self.proxy(Faults::default());
        let config = ProducerConfig::builder(proxy.address().to_string());
        let config = self.asked(config);
        let producer = start(config.client_id("cuts").hostname("cuts"));
        let timeout = Duration::from_secs(10);
        let connected = producer.send(WaitConnected { timeout }).await;
        connected.unwrap().unwrap();
        passed(&proxy)
    }

    /// The same for a session without a cut.
    async fn whole(&self) -> (usize, usize) {
        let proxy = self.proxy(Faults::default());
        let played = self.session(&proxy).await;
        assert!(played.answers.iter().all(Result::is_ok), "{played:?}");
        passed(&proxy)
    }

    /// What passes each way before TLS begins.
    async fn in_clear_text(&self) -> (usize, usize) {
        let proxy = self.proxy(Faults::default());
        self.session(&proxy).await;
        let recorded = proxy.record().remove(0);
        let size = |bytes: &[u8]| {
            let size = bytes[..4].try_into().expect("four bytes");
            4 + u32::from_be_bytes(size) as usize
        };
        let (magic_and_line, up) = recorded.up.said.split_at(b"  V2IDENTIFY\n".len());
        (magic_and_line.len() + size(up), size(&recorded.down.said))
    }

    async fn play_corrupted(&self, direction: Direction, at: usize) {
        let corrupt = Way {
            corrupt: Some(at as u64),
            ..Way::default()
        };
        let (up, down) = match direction {
            Direction::Up => (corrupt, Way::default()),
            Direction::Down => (Way::default(), corrupt),
        };
        let proxy = self.proxy(Faults {
            up,
            down,
            times: Some(1),
            ..Faults::default()
        });
        // Who is told of a longer record waits for the rest of it.
        let soon = |config: ProducerConfigBuilder| {
            let config = self.asked(config);
            let config = config.handshake_timeout(Duration::from_millis(500));
            config.ack_timeout(Duration::from_millis(500))
        };
        let Played { answers, .. } = SESSION.play(&proxy, soon, &self.record).await;
        let told = format!(
            "{:?}, {direction:?} {at}, {proxy}: {answers:?}",
            self.layers
        );
        for answer in &answers {
            let is_not_written = |error: &PublishError| error.delivery() == Delivery::NotWritten;
            assert!(!answer.as_ref().is_err_and(is_not_written), "{told}");
        }
        let all_ok = answers.iter().all(Result::is_ok);
        self.unknown.set(self.unknown.get() + usize::from(!all_ok));
    }

    async fn play(&self, case: Case) {
        let began = Instant::now();
        let proxy = self.proxy(case.faults());
        let Played { answers, .. } = self.session(&proxy).await;
        let told = format!("{:?}, {case:?}, {proxy}: {answers:?}", self.layers);

        // The control: it was this byte.
        let first = &proxy.record()[0];
        let way = match case.direction {
            Direction::Up => &first.up,
            Direction::Down => &first.down,
        };
        let passed: usize = way.pieces.iter().sum();
        assert!(passed <= case.at, "{told}");
        assert!(passed == case.at || !case.is_reached, "{told}");

        // A cut leaves nobody in the lurch: what is not sent is sent again.
        for answer in &answers {
            let is_true = match answer {
                Ok(()) => true,
                Err(error) => error.delivery() != Delivery::NotWritten && !case.nothing_sent,
            };
            assert!(is_true, "{answer:?}: {told}");
        }
        let count = match answers.iter().all(Result::is_ok) {
            true => &self.all_ok,
            false => &self.unknown,
        };
        count.set(count.get() + 1);
        // A cut is seen, and not waited for.
        assert!(began.elapsed() < session::ACK_TIMEOUT, "{told}");
    }

    /// Holds all answers against what the broker has.
    async fn judge(&self) {
        self.broker.until_no_client_is_left().await;
        let record = self.record.take();
        let mut found = Vec::new();
        for topic in record.topics() {
            let bodies = self.broker.bodies(&topic, record.ok_in(&topic)).await;
            found.extend(bodies.into_iter().map(|body| (topic.clone(), body)));
        }
        let found = found
            .iter()
            .map(|(topic, body)| (topic.as_str(), &body[..]));
        let verdict = record.judge(found);
        eprintln!("{verdict}, seed {}", self.seed);
        verdict.assert_clean();
    }
}
