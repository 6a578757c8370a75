//! Checks a consumer's sessions with any bytes from nsqd, any answers of handlers, and any times:
//! what is held and requested stays within its limits, and each delivery has at most one answer, on
//! its connection.

use std::collections::BTreeMap;

use actix_nsq::{
    Consumer, ConsumerConfig, IncomingMessage, MessageHandler, MessageStream, Requeue,
    Subscription,
    actix::Addr,
    consumer::{Drain, GetStats, Pause, Resume, SetMaxInFlight, Stats},
};
use futures::FutureExt;
use tokio::time::{Instant, sleep};

use super::{
    input::Input,
    spoken::{
        Command, close_wait_frame, error_frame, heartbeat_frame, message_frame, message_id,
        ok_frame, response_frame,
    },
    world::{Network, Peer, in_virtual_time, ms},
};

/// Maximum number of steps, so that an input is fast.
const MAX_STEPS: usize = 200;

/// Maximum number of nsqds.
const MAX_NSQDS: usize = 3;

/// The input: four bytes of options, and steps, each of them a byte for its kind and its parts.
pub fn consumer_session(data: &[u8]) {
    let mut input = Input::new(data);
    let options = Options::read(&mut input);
    in_virtual_time(async move |network| {
        let mut scene = Scene::new(network, &options);
        scene.settle().await;
        for _ in 0..MAX_STEPS {
            if input.is_empty() {
                break;
            }
            scene.step(&mut input).await;
            scene.settle().await;
            scene.check().await;
        }
        scene.end().await;
    });
}

struct Options {
    nsqds: usize,
    max_in_flight: usize,
    concurrency: usize,
    auto_touch: bool,
    backoff: bool,
    /// The text of nsqd's response to IDENTIFY.
    identify: String,
}

impl Options {
    fn read(input: &mut Input<'_>) -> Self {
        let flags = input.byte();
        let max_rdy_count = input.one_of(&[2500, 1, 3, 0]);
        let msg_timeout: i64 = input.one_of(&[1_000, 60_000, 2_000, 0, -1, i64::MAX]);
        let max_msg_timeout = if flags & 1 == 0 { 3_000 } else { 900_000 };
        Self {
            nsqds: 1 + usize::from(flags >> 4) % MAX_NSQDS,
            max_in_flight: 1 + input.below(9),
            concurrency: usize::from(flags >> 1 & 1) * 2,
            auto_touch: flags & 4 != 0,
            backoff: flags & 8 != 0,
            identify: format!(
                r#"{{"max_rdy_count":{max_rdy_count},"version":"1.3.0","msg_timeout":{msg_timeout},"max_msg_timeout":{max_msg_timeout},"output_buffer_size":16384,"output_buffer_timeout":25}}"#
            ),
        }
    }
}

/// nsqd's side of a connection.
struct Line {
    peer: Peer,
    /// Its number among all connections; the timestamp of its messages.
    number: u64,
    has_magic: bool,
    sent: Vec<u8>,
    rdy: u64,
    /// Number of FINs and REQs by id.
    answers: BTreeMap<String, usize>,
}

struct Scene {
    network: Network,
    identify: String,
    nsqds: usize,
    auto_touch: bool,
    max_in_flight: usize,
    largest_max: usize,
    consumer: Addr<Consumer>,
    messages: MessageStream,
    /// The messages that handlers have.
    held: Vec<IncomingMessage>,
    lines: Vec<Line>,
    connections: u64,
}

impl Scene {
    fn new(network: Network, options: &Options) -> Self {
        let names = ["nsqd one", "nsqd two", "nsqd three"];
        let config = ConsumerConfig::builder(names[0])
            .addresses(names[..options.nsqds].iter().copied())
            .connector(network.connector())
            .max_in_flight(options.max_in_flight)
            .concurrency(options.concurrency)
            .auto_touch(options.auto_touch)
            .reconnect_backoff(ms(1))
            .max_reconnect_backoff(ms(20))
            .max_backoff_duration(ms(if options.backoff { 4_000 } else { 0 }))
            .build();
        let (handler, messages) = MessageHandler::stream();
        let subscription = Subscription::new("t", "c").expect("valid names");
        let config = config.expect("a valid configuration");
        Self {
            network,
            identify: options.identify.clone(),
            nsqds: options.nsqds,
            auto_touch: options.auto_touch,
            max_in_flight: options.max_in_flight,
            largest_max: options.max_in_flight,
            consumer: Consumer::start(config, subscription, handler),
            messages,
            held: Vec::new(),
            lines: Vec::new(),
            connections: 0,
        }
    }

    async fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 16 {
            0..4 => {
                let (id, attempts) = (input.byte() % 8, input.byte() % 4);
                let number = self.line(input).map_or(0, |line| line.number);
                let attempts = u16::from(attempts.max(1));
                self.send(input, message(number, id.into(), attempts)).await;
            }
            4 => {
                let (first, count) = (input.byte(), input.byte());
                let number = self.line(input).map_or(0, |line| line.number);
                let ids = (0..u64::from(count)).map(|id| u64::from(first) + id);
                let frames: Vec<_> = ids.map(|id| message(number, id, 1)).collect();
                self.send(input, frames.concat()).await;
            }
            5 => {
                let bytes = input.sized().to_vec();
                self.send(input, bytes).await;
            }
            6 => {
                let id = message_id(u64::from(input.byte() % 8));
                let frame = match input.byte() % 6 {
                    0 => error_frame(&format!("E_FIN_FAILED FIN {id} failed ID not in flight")),
                    1 => error_frame("E_INVALID no"),
                    2 => ok_frame(),
                    3 => close_wait_frame(),
                    4 => response_frame("any"),
                    _ => heartbeat_frame(),
                };
                self.send(input, frame).await;
            }
            7 => sleep(ms(u64::from(input.byte()) * 8)).await,
            8 => sleep(ms(u64::from(input.byte()) * 64)).await,
            9 => {
                let index = usize::from(input.byte());
                if !self.lines.is_empty() {
                    let mut line = self.lines.swap_remove(index % self.lines.len());
                    if index & 128 != 0 {
                        line.peer.fin().await;
                        sleep(ms(1)).await;
                    }
                }
            }
            10 => {
                let max = input.below(12);
                self.ask(SetMaxInFlight(max)).await;
                self.max_in_flight = max;
                self.largest_max = self.largest_max.max(max);
            }
            11 => match input.byte() % 2 {
                0 => self.ask(Pause).await,
                _ => self.ask(Resume).await,
            },
            12 => {
                if let Some(message) = self.take_held(input) {
                    let delay = Requeue::after(ms(input.byte().into()));
                    let _ = message.requeue(delay.without_backoff());
                }
            }
            13 => drop(self.take_held(input)),
            14 => {
                let index = usize::from(input.byte());
                if !self.held.is_empty() {
                    let _ = self.held[index % self.held.len()].touch();
                }
            }
            _ => {
                if let Some(message) = self.take_held(input) {
                    self.finish(message).await;
                }
            }
        }
    }

    /// Finishes a message. If that succeeds, nsqd receives it.
    async fn finish(&mut self, message: IncomingMessage) {
        let (number, id) = (
            message.timestamp().cast_unsigned(),
            message.id().to_string(),
        );
        let answers = |scene: &Self| {
            let line = scene.lines.iter().find(|line| line.number == number)?;
            Some(line.answers.get(&id).copied().unwrap_or(0))
        };
        let before = answers(self);
        let is_ok = message.finish().is_ok();
        self.settle().await;
        if let (true, Some(before), Some(after)) = (is_ok, before, answers(self)) {
            assert_eq!(after, before + 1, "answers to {id}");
        }
    }

    async fn ask<M>(&self, message: M)
    where
        M: actix_nsq::actix::Message<Result = ()> + Send + 'static,
        Consumer: actix_nsq::actix::Handler<M>,
    {
        self.consumer.send(message).await.expect("an answer");
    }

    fn take_held(&mut self, input: &mut Input<'_>) -> Option<IncomingMessage> {
        let index = usize::from(input.byte());
        let count = self.held.len();
        (count > 0).then(|| self.held.swap_remove(index % count))
    }

    /// The connection that the next byte of the input names.
    fn line(&mut self, input: &Input<'_>) -> Option<&mut Line> {
        let index = input.clone().below(self.lines.len().max(1));
        self.lines.get_mut(index)
    }

    /// Sends bytes on a connection.
    async fn send(&mut self, input: &mut Input<'_>, bytes: Vec<u8>) {
        let line = self.line(input);
        if let Some(line) = line {
            line.sent.extend(&bytes);
            line.peer.send(&bytes).await;
        }
        input.byte();
    }

    /// Lets all tasks run, and reads what the consumer has written until it writes nothing more.
    async fn settle(&mut self) {
        let mut is_quiet = false;
        while !is_quiet {
            is_quiet = true;
            for line in &mut self.lines {
                is_quiet &= !line.read(&self.identify).await;
            }
            self.lines.retain(|line| !line.peer.is_closed());
            while let Some(peer) = self.network.accept(64 << 10, ms(1)).await {
                is_quiet = false;
                self.connections += 1;
                self.lines.push(Line::new(peer, self.connections));
            }
        }
        while let Some(Some(message)) = self.messages.next().now_or_never() {
            self.take(message);
        }
    }

    /// A handler gets a message.
    fn take(&mut self, message: IncomingMessage) {
        let key = |it: &IncomingMessage| (it.timestamp(), it.id());
        let is_other = self.held.iter().all(|it| key(it) != key(&message));
        assert!(is_other, "{message:?} is in two handlers");
        assert!(
            Instant::now().into_std() < message.deadline(),
            "{message:?} has expired"
        );
        self.held.push(message);
    }

    async fn check(&self) {
        let requested: u64 = self.lines.iter().map(|line| line.rdy).sum();
        let max = self.max_in_flight as u64;
        assert!(
            requested <= max,
            "RDYs of {requested}, max_in_flight is {max}"
        );
        let stats = self.consumer.send(GetStats).await.expect("an answer");
        self.check_held(&stats);
    }

    fn check_held(&self, stats: &Stats) {
        let now = Instant::now().into_std();
        // With auto_touch, the deadline is the one that touching can reach, which a lost connection
        // does not.
        let is_lost = |it: &IncomingMessage| {
            let mut lines = self.lines.iter();
            self.auto_touch && lines.all(|line| line.number.cast_signed() != it.timestamp())
        };
        let may_have_expired = |it: &&IncomingMessage| it.deadline() <= now || is_lost(it);
        let expired = self.held.iter().filter(may_have_expired).count();
        let limit = self.nsqds * 2 * self.largest_max + expired;
        let held = stats.waiting + stats.with_handlers;
        assert!(held <= limit, "{held} messages are held instead of {limit}");
        let counters = &stats.counters;
        assert!(counters.started <= counters.received, "{counters:?}");
        for nsqd in stats.nsqds.iter().filter(|nsqd| nsqd.is_subscribed) {
            let limit = 2 * self.largest_max;
            assert!(nsqd.in_flight <= limit, "{nsqd:?}");
        }
    }

    /// Drains the consumer while the handlers keep some messages.
    async fn end(mut self) {
        let began = Instant::now();
        let timeout = ms(2_000);
        let consumer = self.consumer.clone();
        let drain = consumer.send(Drain { timeout });
        let drain = tokio::task::spawn_local(drain);
        self.held.truncate(2);
        while !drain.is_finished() {
            self.settle().await;
            sleep(ms(50)).await;
            // nsqd's response to CLS, and EOF, may be missing: each has its timeout.
            assert!(began.elapsed() < ms(120_000), "the drain does not end");
        }
        drain.await.expect("awaited").expect("a report");
        let stats = self.consumer.send(GetStats).await.expect("an answer");
        assert_eq!(stats.waiting + stats.with_handlers, 0, "{stats:?}");
        self.held.clear();
        self.settle().await;
    }
}

impl Line {
    fn new(peer: Peer, number: u64) -> Self {
        Self {
            peer,
            number,
            has_magic: false,
            sent: Vec::new(),
            rdy: 0,
            answers: BTreeMap::new(),
        }
    }

    /// Reads what the consumer has written; responds as nsqd does. Returns whether there was
    /// anything.
    async fn read(&mut self, identify: &str) -> bool {
        if !self.has_magic {
            self.has_magic = self.peer.magic().await;
        }
        let mut has_read = false;
        while let Some(command) = self.peer.command().await {
            has_read = true;
            match command {
                Command::Identify(_) => self.respond(response_frame(identify)).await,
                Command::Sub { .. } => self.respond(ok_frame()).await,
                Command::Cls => self.respond(close_wait_frame()).await,
                Command::Rdy(count) => self.rdy = count,
                Command::Nop => {}
                Command::Fin(id) | Command::Req { id, .. } => {
                    let answers = self.answers.entry(id.clone()).or_default();
                    *answers += 1;
                    let deliveries = deliveries(&self.sent, &id);
                    assert!(
                        *answers <= deliveries,
                        "{answers} answers to {id}, {deliveries} deliveries"
                    );
                }
                Command::Touch(id) => assert!(deliveries(&self.sent, &id) > 0, "TOUCH {id}"),
                other => panic!("{other} was not requested"),
            }
        }
        has_read
    }

    async fn respond(&mut self, frame: Vec<u8>) {
        self.sent.extend(&frame);
        self.peer.send(&frame).await;
    }
}

/// A message whose timestamp names its connection.
fn message(connection: u64, id: u64, attempts: u16) -> Vec<u8> {
    let mut frame = message_frame(id, attempts, "body");
    frame[8..16].copy_from_slice(&connection.to_be_bytes());
    frame
}

/// The number of deliveries of a message in nsqd's bytes.
fn deliveries(sent: &[u8], id: &str) -> usize {
    let (mut rest, mut count) = (sent, 0);
    while let Some((size, behind)) = rest.split_first_chunk::<4>()
        && let Some((frame, behind)) = behind.split_at_checked(u32::from_be_bytes(*size) as usize)
    {
        rest = behind;
        let is_message = frame.starts_with(&2_u32.to_be_bytes());
        count += usize::from(is_message && frame.get(14..30) == Some(id.as_bytes()));
    }
    count
}
