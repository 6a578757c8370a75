//! The first connection of a consumer is cut after any byte, in either direction, plain and inside
//! TLS with deflate. Every message is finished in the end, and each answer is reported truthfully.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_nsq::actix::Addr;
use actix_nsq::{
    AnswerError, Consumer, ConsumerConfig, ConsumerConfigBuilder, IncomingMessage, MultiPublish,
    Producer, Requeue,
    consumer::{Drain, GetStats, Stats},
};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::campaign::Campaign;
use super::whole::{Cut, Whole, cuts_at};
use crate::compression::{Compression, Layers};
use crate::fixture::{self, LONG, number_of, numbered, producer, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, ChannelState, Settings};
use crate::support::chaos::{ChaosProxy, Direction, End, Faults, Recorded};
use crate::support::settings::Tls;
use crate::support::spoken::Command;
use crate::support::wire_log::messages;
use crate::support::{full, scaled};

pub fn scenarios() -> Vec<Scenario> {
    let with_tls = Settings {
        in_memory: true,
        ..Settings::tls(Tls::default())
    };
    scenarios![
        cut_consumer_finishes_every_message.with(Settings::in_memory()),
        cut_consumer_in_tls_and_deflate_finishes_every_message.with(with_tls),
    ]
}

/// Sessions that are played at the same time, each with its own topic. Most of them wait for nsqd's
/// message timeout.
const LANES: usize = 24;

const CHANNEL: &str = "cuts";

/// The shortest that nsqd accepts.
const MSG_TIMEOUT: Duration = Duration::from_secs(1);

/// Messages that are handled before the drain, and those that handlers have during it.
const HANDLED: usize = 6;
const HELD: usize = 4;

const MAX_IN_FLIGHT: usize = 5;
/// One less than are held: one message is returned by the drain.
const CONCURRENCY: usize = HELD - 1;

/// The answers to one message, over all deliveries.
#[derive(Debug, Default)]
struct Answers {
    /// Handlers that have it now, and the most at the same time.
    running: usize,
    most_running: usize,
    deliveries: usize,
    finished: usize,
    /// FINs whose result was that the deadline had passed; nsqd may have executed them.
    finished_late: usize,
    connection_lost: usize,
}

/// The handlers of a session.
#[derive(Debug)]
struct Handlers {
    first: usize,
    answers: RefCell<BTreeMap<usize, Answers>>,
    is_draining: watch::Sender<bool>,
}

impl Handlers {
    fn new(first: usize) -> Rc<Self> {
        Rc::new(Self {
            first,
            answers: RefCell::default(),
            is_draining: watch::Sender::new(false),
        })
    }

    fn change<T>(&self, number: usize, change: impl FnOnce(&mut Answers) -> T) -> T {
        change(self.answers.borrow_mut().entry(number).or_default())
    }

    /// The first delivery of some messages is requeued, dropped or touched.
    async fn handle(&self, message: IncomingMessage) {
        let number = number_of(message.body());
        let is_first = self.change(number, |it| {
            it.running += 1;
            it.most_running = it.most_running.max(it.running);
            it.deliveries += 1;
            it.deliveries == 1
        });
        let place = number - self.first;
        if place >= HANDLED {
            let mut is_draining = self.is_draining.subscribe();
            is_draining.wait_for(|it| *it).await.expect("it is kept");
        }
        let answered = match place % 4 {
            1 if is_first => {
                let requeue = Requeue::now().without_backoff();
                message.requeue(requeue).map(|()| false)
            }
            2 if is_first => {
                drop(message);
                Ok(false)
            }
            3 => {
                let touched = message.touch();
                sleep(Duration::from_millis(1)).await;
                touched.and(message.finish()).map(|()| true)
            }
            _ => message.finish().map(|()| true),
        };
        self.change(number, |it| {
            it.running -= 1;
            match answered {
                Ok(is_finish) => it.finished += usize::from(is_finish),
                Err(AnswerError::Expired) => it.finished_late += 1,
                Err(_) => it.connection_lost += 1,
            }
        });
    }

    /// Whether all messages with these places were finished, as far as the handlers know.
    fn have_finished(&self, places: usize) -> bool {
        let answers = self.answers.borrow();
        let is_finished = |it: &Answers| it.finished + it.finished_late > 0;
        (0..places).all(|place| answers.get(&(self.first + place)).is_some_and(is_finished))
    }
}

/// What a session has done.
struct Played {
    handlers: Rc<Handlers>,
    stats: Stats,
    /// A drain whose report is clean has left nothing in flight, and all that it returned.
    is_exact: bool,
}

struct Consumers<'a> {
    campaign: Campaign<'a>,
    producer: Addr<Producer>,
    layers: Layers,
    free_lanes: RefCell<Vec<usize>>,
    next: Cell<usize>,
}

impl<'a> Consumers<'a> {
    async fn new(broker: &'a Broker, layers: Layers) -> Self {
        let mut campaign = Campaign::new(broker).await;
        campaign.concurrent = LANES;
        let consumers = Self {
            campaign,
            producer: producer(broker).await,
            layers,
            free_lanes: RefCell::new((0..LANES).collect()),
            next: Cell::new(0),
        };
        // nsqd needs up to 5 s to notice the timeouts of a new channel.
        for lane in 0..LANES {
            consumers.publish(lane, consumers.next.get()..1).await;
            consumers.consume_rest(lane, &Handlers::new(0), 1).await;
        }
        consumers.next.set(1);
        consumers
    }

    async fn publish(&self, lane: usize, numbers: std::ops::Range<usize>) {
        let bodies = numbers.map(numbered);
        let publish = MultiPublish::new(topic(&name(lane)), bodies);
        self.producer.send(publish).await.unwrap().unwrap();
    }

    fn config(&self, address: SocketAddr) -> ConsumerConfigBuilder {
        let config = ConsumerConfig::builder(address.to_string())
            .reconnect_backoff(Duration::from_millis(1))
            .max_reconnect_backoff(Duration::from_millis(20))
            .msg_timeout(MSG_TIMEOUT)
            .max_in_flight(MAX_IN_FLIGHT)
            .concurrency(CONCURRENCY)
            .default_requeue_delay(Duration::ZERO)
            .max_backoff_duration(Duration::ZERO)
            .client_id("cuts")
            .hostname("cuts");
        let config = self.layers.configure_consumer(self.campaign.broker, config);
        if self.layers.tls {
            config.tls_server_name("localhost")
        } else {
            config
        }
    }

    /// Starts a consumer whose messages go to the handlers.
    fn start(
        &self,
        lane: usize,
        config: ConsumerConfigBuilder,
        to: &Rc<Handlers>,
    ) -> Addr<Consumer> {
        let (consumer, mut messages) = fixture::consumer(config, &name(lane), CHANNEL);
        let handlers = Rc::clone(to);
        actix_rt::spawn(async move {
            while let Some(message) = messages.next().await {
                let handlers = Rc::clone(&handlers);
                actix_rt::spawn(async move { handlers.handle(message).await });
            }
        });
        consumer
    }

    async fn state(&self, lane: usize) -> ChannelState {
        self.campaign.broker.channel(&name(lane), CHANNEL).await
    }

    /// Waits until all messages with these places are finished, also as far as nsqd knows.
    async fn until_finished(&self, lane: usize, handlers: &Handlers, places: usize) {
        while !handlers.have_finished(places) {
            sleep(Duration::from_millis(2)).await;
        }
        let mut pause = Duration::from_millis(5);
        while self.state(lane).await != ChannelState::default() {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    /// Finishes what nsqd still has of this number of messages, without a proxy.
    async fn consume_rest(&self, lane: usize, handlers: &Rc<Handlers>, places: usize) {
        let address = self.campaign.broker.address().await.parse().unwrap();
        let consumer = self.start(lane, self.config(address), handlers);
        self.until_finished(lane, handlers, places).await;
        let report = consumer.send(Drain::new(LONG)).await.unwrap();
        assert!(report.is_clean(), "{report}");
    }

    /// Plays a session through a proxy: messages are handled, then a drain begins while handlers
    /// have some.
    async fn play(&self, lane: usize, proxy: &ChaosProxy) -> Played {
        let first = self.next.get();
        self.next.set(first + HANDLED + HELD);
        let handlers = Handlers::new(first);
        self.publish(lane, first..first + HANDLED).await;
        let config = self.config(proxy.address());
        // See `ChaosProxy::start_apart`.
        let config = config.local_addr(SocketAddr::new(proxy.address().ip(), 0));
        let consumer = self.start(lane, config, &handlers);
        self.until_finished(lane, &handlers, HANDLED).await;
        let before = consumer.send(GetStats).await.unwrap();

        self.publish(lane, first + HANDLED..first + HANDLED + HELD)
            .await;
        loop {
            let stats = consumer.send(GetStats).await.unwrap();
            if stats.waiting + stats.with_handlers >= HELD {
                break;
            }
            sleep(Duration::from_millis(2)).await;
        }
        let drain = consumer.send(Drain::new(LONG));
        let drain = actix_rt::spawn(drain);
        // The drain comes first: answers are taken in a later poll.
        consumer.send(GetStats).await.unwrap();
        handlers.is_draining.send_replace(true);
        let report = drain.await.unwrap().unwrap();
        let stats = consumer.send(GetStats).await.unwrap();
        // Messages that timed out meanwhile are reported as well.
        let not_executed = |stats: &Stats| {
            let counters = &stats.counters;
            counters.timed_out + counters.expired + counters.answers_failed
        };
        let is_same_connection = stats.nsqds[0].connects == before.nsqds[0].connects;
        let are_in_time = not_executed(&stats) == not_executed(&before);
        let is_confirmed = report.is_clean() && is_same_connection && are_in_time;
        let expected = ChannelState {
            depth: report.returned + report.requeued,
            ..ChannelState::default()
        };
        let is_exact = !is_confirmed || self.state(lane).await == expected;
        self.consume_rest(lane, &handlers, HANDLED + HELD).await;
        Played {
            handlers,
            stats,
            is_exact,
        }
    }

    /// Plays a session with a cut; the case is named if it fails or does not end.
    async fn play_cut(&self, cut: Cut) -> (ChaosProxy, Played) {
        let proxy = self.campaign.proxy(cut.faults());
        let lane = self.free_lanes.borrow_mut().pop().expect("a free lane");
        let played = timeout(LONG, self.play(lane, &proxy)).await;
        self.free_lanes.borrow_mut().push(lane);
        let played = played.unwrap_or_else(|_| panic!("no end within {LONG:?}: {proxy}"));
        // The proxy's FIN cannot be told from that of nsqd, which follows all answers.
        let is_fin = cut.end == End::Fin && has_cut(&proxy, cut);
        assert!(played.is_exact || is_fin, "{proxy}: {:?}", played.stats);
        let most = proxy.counts().connections as usize;
        for (number, answers) in &*played.handlers.answers.borrow() {
            let is_one_each = answers.most_running <= most;
            assert!(
                is_one_each,
                "{number}: {answers:?}, {most} connections, {proxy}"
            );
        }
        (proxy, played)
    }
}

fn name(lane: usize) -> String {
    format!("cuts.consumer{lane}")
}

/// Whether the connection was cut: another one was opened, or the drain was not confirmed.
fn has_cut(proxy: &ChaosProxy, cut: Cut) -> bool {
    let first = &proxy.record()[0];
    let passed: usize = match cut.direction {
        Direction::Up => first.up.pieces.iter().sum(),
        Direction::Down => first.down.pieces.iter().sum(),
    };
    assert!(passed <= cut.at, "{proxy}");
    passed == cut.at
}

/// consumer contract: 1, 2, 3, 11
async fn cut_consumer_finishes_every_message(broker: Broker) {
    let layers = Layers {
        tls: false,
        compression: Compression::None,
    };
    let consumers = Consumers::new(&broker, layers).await;
    let proxy = consumers.campaign.proxy(Faults::default());
    let whole = consumers.play(0, &proxy).await;
    assert!(whole.is_exact, "{:?}", whole.stats);
    check_record(&proxy.record(), &whole.handlers);
    let whole = Whole::new(&proxy.record()[0], Vec::new());
    let cuts = cuts_at(|direction| whole.places(direction, 1, consumers.campaign.seed));
    let count = cuts.len();
    let played = consumers.campaign.concurrently(cuts, async |cut: Cut| {
        let (proxy, played) = consumers.play_cut(cut).await;
        check_record(&proxy.record(), &played.handlers);
        (has_cut(&proxy, cut), played)
    });
    report(count, played.await);
}

/// consumer contract: 1, 2, 11
/// fault: T4
async fn cut_consumer_in_tls_and_deflate_finishes_every_message(broker: Broker) {
    let layers = Layers {
        tls: true,
        compression: Compression::Deflate,
    };
    let consumers = Consumers::new(&broker, layers).await;
    let proxy = consumers.campaign.proxy(Faults::default());
    assert!(consumers.play(0, &proxy).await.is_exact);
    let counts = proxy.counts();
    let step = scaled(131, 1);
    let mut cuts = Vec::new();
    for (direction, length) in [(Direction::Up, counts.up), (Direction::Down, counts.down)] {
        let places = (consumers.campaign.seed as usize % step..length as usize).step_by(step);
        let ends = [End::Fin, End::Rst].into_iter().cycle();
        cuts.extend(places.zip(ends).map(|(at, end)| Cut { direction, at, end }));
    }
    let count = cuts.len();
    let played = consumers.campaign.concurrently(cuts, async |cut: Cut| {
        let (proxy, played) = consumers.play_cut(cut).await;
        (has_cut(&proxy, cut), played)
    });
    report(count, played.await);
}

/// Prints the counts, and checks that cuts were made.
fn report(count: usize, played: Vec<(bool, Played)>) {
    let cut = played.iter().filter(|(is_cut, _)| *is_cut).count();
    let sum = |of: fn(&Answers) -> usize| -> usize {
        let sum = |(_, played): &(bool, Played)| -> usize {
            played.handlers.answers.borrow().values().map(of).sum()
        };
        played.iter().map(sum).sum()
    };
    let (deliveries, lost) = (sum(|it| it.deliveries), sum(|it| it.connection_lost));
    let late = sum(|it| it.finished_late);
    let overlapping = sum(|it| usize::from(it.most_running > 1));
    let counter = |of: fn(&Stats) -> u64| -> u64 { played.iter().map(|it| of(&it.1.stats)).sum() };
    let inexact = played.iter().filter(|it| !it.1.is_exact).count();
    let unwritten = counter(|stats| stats.counters.unwritten);
    eprintln!(
        "{count} sessions, {cut} were cut: {deliveries} deliveries, {lost} answers after the \
         connection was lost, {late} late ones, {unwritten} unwritten ones, {overlapping} messages \
         with handlers of two connections, {inexact} clean drains because of the proxy's FIN"
    );
    let least = scaled(10, 1_000);
    assert!(
        cut >= least && cut >= count * 8 / 10,
        "only {cut} of {count} were cut"
    );
    assert!(
        deliveries > count * (HANDLED + HELD),
        "nothing was delivered again"
    );
    assert!(
        lost > 0 || !full(),
        "no connection was lost while a handler had a message"
    );
}

/// Each answer belongs to a delivery of its connection, no more FINs were written than handlers
/// know of, and no message was in two handlers that came on one connection.
fn check_record(connections: &[Recorded], handlers: &Handlers) {
    let mut finished = BTreeMap::<usize, usize>::new();
    let mut delivered_by = BTreeMap::<usize, usize>::new();
    let mut deliveries = BTreeMap::<usize, usize>::new();
    for connection in connections {
        let received = messages(&connection.down.sent);
        let mut open = BTreeMap::<String, usize>::new();
        let mut numbers = BTreeMap::new();
        for message in received {
            let number = number_of(&message.body);
            let id = String::from_utf8_lossy(&message.id).into_owned();
            *open.entry(id.clone()).or_default() += 1;
            *deliveries.entry(number).or_default() += 1;
            numbers.insert(id, number);
        }
        for number in numbers.values() {
            *delivered_by.entry(*number).or_default() += 1;
        }
        for command in commands(&connection.up.sent) {
            let id = match &command {
                Command::Fin(id) | Command::Req { id, .. } => id,
                Command::Rdy(count) => {
                    assert!(*count <= MAX_IN_FLIGHT as u64, "{command}");
                    continue;
                }
                _ => continue,
            };
            let left = open.get_mut(id).filter(|left| **left > 0);
            *left.unwrap_or_else(|| panic!("{command} answers no delivery: {handlers:?}")) -= 1;
            if matches!(command, Command::Fin(_)) {
                *finished.entry(numbers[id]).or_default() += 1;
            }
        }
    }
    let answers = handlers.answers.borrow();
    for (number, connections) in &delivered_by {
        let most = answers.get(number).map_or(0, |it| it.most_running);
        assert!(
            most <= *connections,
            "{number}: {most} handlers, {connections} connections"
        );
    }
    for (number, written) in finished {
        let answers = &answers[&number];
        let mut known = answers.finished + answers.finished_late;
        if answers.finished_late > 0 {
            // It is finished whenever it is delivered again, without a handler.
            known = known.max(deliveries[&number]);
        }
        assert!(written <= known, "{number}: {written} FINs, {answers:?}");
    }
}

/// The complete commands of a client.
fn commands(sent: &[u8]) -> Vec<Command> {
    let mut rest = sent.get(4..).unwrap_or_default();
    let mut commands = Vec::new();
    while let Some((command, length)) = Command::parse(rest).expect("commands") {
        commands.push(command);
        rest = &rest[length..];
    }
    commands
}
