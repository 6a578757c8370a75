//! Consumers while nsqd is stopped, killed and left, and turns between nsqds. Short forms run by
//! default, long ones with `FULL=1`.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll, ready};
use std::time::{Duration, Instant};

use actix_nsq::actix::Addr;
use actix_nsq::{
    ConnectFuture, ConnectTarget, Connector, Consumer, ConsumerConfig, ConsumerConfigBuilder,
    IncomingMessage, MessageHandler, Producer, Publish, Subscription, Transport,
    consumer::{Drain, GetStats, WaitSubscribed},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::fixture::{LONG, TOPIC, number_of, numbered, producer, publish_all, topic};
use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, ChannelState, Kind, Settings};
use crate::support::scaled;
use crate::support::wait::PATIENCE;

const CHANNEL: &str = "consumer";

/// Length of nsqd's message ids.
const ID: usize = 16;

pub fn scenarios() -> Vec<Scenario> {
    let real_only = "it concerns what a process loses, and its turns";
    scenarios![
        terminated_nsqd_loses_no_message.only(Kind::Real, real_only),
        killed_nsqd_loses_only_what_the_client_did_not_receive.only(Kind::Real, real_only),
        depth_is_exact_after_every_drain_under_load
            .with(Settings::in_memory())
            .only(Kind::Real, real_only),
        five_nsqds_are_served_equally_by_one_message_in_flight
            .with(Settings::in_memory())
            .only(Kind::Real, real_only),
    ]
}

/// Records what the client reads, by connection.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Vec<Bytes>>>);

type Bytes = Arc<Mutex<Vec<u8>>>;

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// The messages that each connection has received whole: ids, numbers, and whether it was the
    /// first delivery.
    fn received(&self) -> Vec<Vec<([u8; ID], usize, bool)>> {
        let connections = lock(&self.0);
        let connections = connections.iter();
        connections.map(|bytes| messages(&lock(bytes))).collect()
    }
}

/// The messages in a stream of frames, which may end within one.
fn messages(mut bytes: &[u8]) -> Vec<([u8; ID], usize, bool)> {
    let mut messages = Vec::new();
    while let Some((size, rest)) = bytes.split_first_chunk::<4>()
        && let Some((frame, rest)) = rest.split_at_checked(u32::from_be_bytes(*size) as usize)
    {
        bytes = rest;
        // The type, the timestamp, the attempts, the id, the body.
        if let Some(message) = frame.strip_prefix(&2_u32.to_be_bytes()) {
            let (id, body) = message[10..].split_first_chunk::<ID>().unwrap();
            let is_first = message[8..10] == 1_u16.to_be_bytes();
            messages.push((*id, number_of(body), is_first));
        }
    }
    messages
}

impl Connector for Recorder {
    fn connect(&self, target: &ConnectTarget) -> ConnectFuture {
        let (address, recorder) = (target.address().to_owned(), self.clone());
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let bytes = Bytes::default();
            lock(&recorder.0).push(Arc::clone(&bytes));
            Ok(Transport::new(Recorded { stream, bytes }))
        })
    }
}

/// A socket that records what is read.
struct Recorded {
    stream: TcpStream,
    bytes: Bytes,
}

impl AsyncRead for Recorded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        lock(&self.bytes).extend_from_slice(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Recorded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Handlers that only finish messages, and what they have seen.
#[derive(Clone, Default)]
struct Handlers(Rc<Seen>);

#[derive(Default)]
struct Seen {
    /// How often each number was finished.
    handled: RefCell<BTreeMap<usize, usize>>,
    running: RefCell<BTreeMap<[u8; ID], usize>>,
    /// The most handlers that had a message at the same time, if it was more than one.
    overlaps: RefCell<BTreeMap<[u8; ID], usize>>,
}

impl Handlers {
    async fn handle(&self, message: IncomingMessage, time: Duration) {
        let Seen {
            handled,
            running,
            overlaps,
        } = &*self.0;
        let (id, number) = (*message.id().as_bytes(), number_of(message.body()));
        let count = {
            let mut running = running.borrow_mut();
            let count = running.entry(id).or_default();
            *count += 1;
            *count
        };
        if count > 1 {
            let mut overlaps = overlaps.borrow_mut();
            let most = overlaps.entry(id).or_default();
            *most = count.max(*most);
        }
        sleep(time).await;
        *running.borrow_mut().get_mut(&id).unwrap() -= 1;
        *handled.borrow_mut().entry(number).or_default() += 1;
        // Fails if the connection is lost.
        let _ = message.finish();
    }

    /// Each message takes 1 to 3 ms, and a few longer than the timeout of 1 s, so that nsqd
    /// delivers them again meanwhile.
    fn handler(&self) -> (MessageHandler, impl Future<Output = ()> + use<>) {
        let (handler, mut messages) = MessageHandler::stream();
        let handlers = self.clone();
        let run = async move {
            while let Some(message) = messages.next().await {
                let is_slow = number_of(message.body()) % 100 == 7;
                let time = if is_slow { 1_300 } else { 1 };
                let handlers = handlers.clone();
                actix_rt::spawn(async move {
                    handlers.handle(message, Duration::from_millis(time)).await;
                });
            }
        };
        (handler, run)
    }

    fn count(&self) -> usize {
        self.0.handled.borrow().len()
    }

    /// Asserts that no message of one connection was in two handlers at once, and returns how many
    /// were in several because of several connections.
    ///
    /// An nsqd that was killed may have stored a message twice: both are first deliveries.
    fn assert_no_overlap_on_a_connection(&self, recorder: &Recorder) -> usize {
        let mut messages = BTreeMap::<[u8; ID], usize>::new();
        for received in recorder.received() {
            let mut on_connection = BTreeMap::<_, usize>::new();
            for (id, _, is_first) in received {
                *on_connection.entry(id).or_default() += usize::from(is_first);
            }
            for (id, first) in on_connection {
                *messages.entry(id).or_default() += first.max(1);
            }
        }
        let overlaps = self.0.overlaps.borrow();
        for (id, handlers) in &*overlaps {
            let messages = messages[id];
            assert!(*handlers <= messages, "{handlers}, {messages}");
        }
        overlaps.len()
    }
}

/// Publishes at a steady rate until it is stopped.
struct Publisher {
    stop: Rc<Cell<bool>>,
    task: actix_rt::task::JoinHandle<BTreeSet<usize>>,
}

impl Publisher {
    fn start(producer: Addr<Producer>, rate: usize) -> Self {
        const TICKS: usize = 50;
        let stop = Rc::new(Cell::new(false));
        let is_stopped = Rc::clone(&stop);
        let task = actix_rt::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / TICKS as u32);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let (mut next, mut answers) = (0, Vec::new());
            while !is_stopped.get() {
                ticks.tick().await;
                for number in next..next + rate / TICKS {
                    let sent = producer.send(Publish::new(topic(TOPIC), numbered(number)));
                    answers.push(actix_rt::spawn(async move {
                        let is_ok = matches!(sent.await, Ok(Ok(())));
                        is_ok.then_some(number)
                    }));
                }
                next += rate / TICKS;
            }
            let mut published = BTreeSet::new();
            for answer in answers {
                published.extend(answer.await.unwrap());
            }
            published
        });
        Self { stop, task }
    }

    /// Returns the numbers of the messages that nsqd has stored.
    async fn stop(self) -> BTreeSet<usize> {
        self.stop.set(true);
        self.task.await.unwrap()
    }
}

async fn start(
    config: ConsumerConfigBuilder,
    handler: impl Into<MessageHandler>,
) -> Addr<Consumer> {
    let subscription = Subscription::new(TOPIC, CHANNEL).unwrap();
    let consumer = Consumer::start(config.build().unwrap(), subscription, handler);
    let subscribed = consumer.send(WaitSubscribed::new(LONG)).await;
    subscribed.unwrap().unwrap();
    consumer
}

/// What a campaign has lost.
struct Losses {
    published: usize,
    lost: BTreeSet<usize>,
    recorder: Recorder,
}

/// Publishes and consumes at a steady rate with faults in between, until nsqd has no message left.
async fn campaign(
    broker: &Broker,
    max_in_flight: usize,
    faults: usize,
    fault: impl AsyncFn(&Broker),
) -> Losses {
    let rate = 1_000;
    let between = scaled(Duration::from_millis(600), Duration::from_secs(1));
    let (handlers, recorder) = (Handlers::default(), Recorder::default());
    let config = ConsumerConfig::builder(broker.address().await)
        .connector(recorder.clone())
        .reconnect_backoff(Duration::from_millis(20))
        .msg_timeout(Duration::from_secs(1))
        .max_in_flight(max_in_flight);
    let (handler, run) = handlers.handler();
    let consumer = start(config, handler).await;
    actix_rt::spawn(run);
    let publisher = Publisher::start(producer(broker).await, rate);
    for _ in 0..faults {
        let before = handlers.count();
        sleep(between).await;
        until("messages are handled", async || handlers.count() > before).await;
        fault(broker).await;
        broker.restart().await;
    }
    sleep(between).await;
    let published = publisher.stop().await;
    // Twice, since nsqd moves messages from the topic to the channel.
    for _ in 0..2 {
        until("nsqd has no message left", async || {
            broker.channel(TOPIC, CHANNEL).await == ChannelState::default()
        })
        .await;
        sleep(Duration::from_millis(500)).await;
    }
    let counters = consumer.send(GetStats).await.unwrap().counters;
    assert!(consumer.send(Drain::new(LONG)).await.unwrap().is_clean());
    let handled = handlers.0.handled.borrow();
    let lost: BTreeSet<_> = published
        .iter()
        .filter(|number| !handled.contains_key(number))
        .copied()
        .collect();
    let repeated = handled.values().filter(|times| **times > 1).count();
    let overlaps = handlers.assert_no_overlap_on_a_connection(&recorder);
    eprintln!(
        "{faults} faults, {} published, {} lost, {repeated} handled again, {overlaps} in handlers \
         of several connections at once: {counters:?}",
        published.len(),
        lost.len(),
    );
    assert!(counters.attached > 0, "nothing was delivered again");
    Losses {
        published: published.len(),
        lost,
        recorder,
    }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let patience = PATIENCE * scaled(2, 10);
    let end = Instant::now() + patience;
    while !holds().await {
        assert!(Instant::now() < end, "{what} within {patience:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// consumer contract: 2, 3
/// fault: C12
async fn terminated_nsqd_loses_no_message(broker: Broker) {
    let losses = campaign(&broker, 200, scaled(3, 20), Broker::terminate).await;
    assert!(losses.published > 0);
    assert_eq!(losses.lost, BTreeSet::new());
}

/// nsqd forgets what it had in flight, and a message that was moving to the channel.
/// consumer contract: 2, 3
/// fault: C12
async fn killed_nsqd_loses_only_what_the_client_did_not_receive(broker: Broker) {
    const MAX_IN_FLIGHT: usize = 100;
    let kills = scaled(3, 20);
    let losses = campaign(&broker, MAX_IN_FLIGHT, kills, Broker::kill).await;
    let lost = losses.lost.len();
    assert!(lost <= kills * (1 + MAX_IN_FLIGHT), "{lost} are lost");
    for received in losses.recorder.received() {
        let whole = received
            .iter()
            .find(|(_, number, _)| losses.lost.contains(number));
        assert_eq!(whole, None, "received, and lost by the client");
    }
}

/// consumer contract: 11
async fn depth_is_exact_after_every_drain_under_load(broker: Broker) {
    const FILL: usize = 4_000;
    let producer = producer(&broker).await;
    let config = || async {
        let config = ConsumerConfig::builder(broker.address().await);
        config.max_in_flight(500)
    };
    // The channel exists from the first subscription on.
    let (handler, _messages) = MessageHandler::stream();
    let first = start(config().await, handler).await;
    first.send(Drain::new(LONG)).await.unwrap();
    let (mut published, mut finished, mut returned) = (0, 0, 0);
    for run in 0..scaled(10, 100) {
        if published - finished < FILL / 2 {
            let next = published..published + FILL;
            publish_all(&producer, next).await.assert_all_ok();
            published += FILL;
        }
        let left = (published - finished) as u64;
        until("the channel has all messages", async || {
            broker.channel(TOPIC, CHANNEL).await.depth == left
        })
        .await;
        let config = config().await.concurrency(20 + run % 200);
        let handler = MessageHandler::from_fn(async |message: IncomingMessage| {
            sleep(Duration::from_millis(1)).await;
            message.finish()
        });
        let consumer = start(config, handler).await;
        sleep(Duration::from_millis(fastrand::u64(0..40))).await;
        let report = consumer.send(Drain::new(LONG)).await.unwrap();
        let state = broker.channel(TOPIC, CHANNEL).await;
        let counters = consumer.send(GetStats).await.unwrap().counters;
        finished += counters.finished as usize;
        returned += report.returned;
        let expected = ChannelState {
            depth: (published - finished) as u64,
            in_flight: 0,
            deferred: 0,
        };
        assert_eq!(state, expected, "run {run}: {report}, {counters:?}");
        assert!(report.is_clean(), "run {run}: {report}");
    }
    eprintln!("{finished} finished, {returned} returned");
    assert!(finished > 0 && returned > 0);
}

/// consumer contract: 5
async fn five_nsqds_are_served_equally_by_one_message_in_flight(first: Broker) {
    let mut brokers = vec![first];
    for _ in 0..4 {
        brokers.push(Broker::start(Kind::Real, Settings::in_memory()).await);
    }
    let mut addresses = Vec::new();
    for broker in &brokers {
        addresses.push(broker.address().await);
        let producer = producer(broker).await;
        for part in 0..scaled(2, 30) {
            let numbers = part * 1_000..(part + 1) * 1_000;
            publish_all(&producer, numbers).await.assert_all_ok();
        }
    }
    let served = Rc::new(RefCell::new(BTreeMap::<String, Vec<Instant>>::new()));
    let notes = Rc::clone(&served);
    let (handler, mut messages) = MessageHandler::stream();
    actix_rt::spawn(async move {
        while let Some(message) = messages.next().await {
            sleep(Duration::from_millis(1)).await;
            let address = message.address().to_owned();
            notes
                .borrow_mut()
                .entry(address)
                .or_default()
                .push(Instant::now());
            message.finish().unwrap();
        }
    });
    // Shorter turns for a shorter run.
    let turn = Duration::from_millis(scaled(50, 500));
    let config = ConsumerConfig::builder(addresses[0].clone())
        .addresses(addresses)
        .low_rdy_timeout(turn)
        .max_in_flight(1);
    let consumer = start(config, handler).await;
    until("all are served", async || served.borrow().len() == 5).await;
    served.borrow_mut().clear();
    let (began, time) = (Instant::now(), Duration::from_secs(scaled(6, 120)));
    sleep(time).await;
    let served = served.take();
    consumer.send(Drain::new(LONG)).await.unwrap();
    let counts: Vec<_> = served.values().map(Vec::len).collect();
    eprintln!("served in {time:?}: {counts:?}");
    // A busy machine serves few in a short run.
    let (least, most) = scaled((0.5, 1.5), (0.8, 1.2));
    assert_fair(&served, began, time, least, most);
    let window = Duration::from_secs(20);
    let mut from = Duration::ZERO;
    while from + window <= time {
        assert_fair(&served, began + from, window, 0.6, 1.6);
        from += window / 4;
    }
}

/// Asserts that each nsqd was served between `least` and `most` times the mean.
#[track_caller]
fn assert_fair(
    served: &BTreeMap<String, Vec<Instant>>,
    from: Instant,
    time: Duration,
    least: f64,
    most: f64,
) {
    let period = from..from + time;
    let counts: Vec<_> = served
        .values()
        .map(|times| times.iter().filter(|at| period.contains(*at)).count())
        .collect();
    let mean = counts.iter().sum::<usize>() as f64 / 5.0;
    let is_fair = counts
        .iter()
        .all(|count| (mean * least..=mean * most).contains(&(*count as f64)));
    assert!(counts.len() == 5 && is_fair, "{counts:?} in {time:?}");
}
