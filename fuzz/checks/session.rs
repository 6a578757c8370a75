//! A whole session: arbitrary bytes of a server against publishes in flight. Each is answered once, within its time, and with
//! the truth: as many `Ok` as `OK` frames came before the first nonsense, and nothing called not written that a broker which
//! hears the same commands would have stored.

use std::{cell::RefCell, collections::HashSet, rc::Rc, time::Duration};

use actix::{Addr, Handler};
use actix_nsq::{
    DeferredPublish, Delivery, MultiPublish, Ping, Producer, Publish, PublishError, Reconnect,
    Topic, bytes::Bytes,
};
use tokio::{
    task::{JoinHandle, spawn_local},
    time::{Instant, sleep},
};

use super::{
    input::Input,
    record::{Id, Record, Verdict},
    spoken::{error_frame, frame, heartbeat_frame, ok_frame, response_frame},
    wire::{Stored, Wire, oks},
    world::{Network, everyone_rests, in_virtual_time, ms},
};

const TOPICS: [&str; 2] = ["one", "two"];
const TIME: Duration = ms(2500);
/// Dead-lines that come soon after each other are looked at together, by so much too late at most, and a timer's own tick.
const TOGETHER: Duration = ms(22);
pub(super) const LARGEST: usize = 4096;
/// So many messages a batch of a caller has.
const MEMBERS: usize = 3;

/// What an error frame says, beside whatever the fuzzer thinks of.
const ERRORS: &[&str] = &[
    "E_BAD_TOPIC PUB topic name \"one\" is not valid",
    "E_BAD_MESSAGE PUB message too big 200 > 100",
    "E_BAD_MESSAGE PUB failed to read message body",
    "E_BAD_BODY MPUB body too big 200 > 100",
    "E_PUB_FAILED PUB failed exiting",
    "E_MPUB_FAILED MPUB failed exiting",
    "E_DPUB_FAILED DPUB failed exiting",
    "E_INVALID invalid command",
    "E_UNAUTHORIZED AUTH failed for PUB on \"one\"",
    "E_FIN_FAILED FIN failed ID not in flight",
    "E_WHAT nobody knows",
    "",
];

/// Two bytes for the configuration, and then a row of steps, a byte for each and what belongs to it.
pub fn session(data: &[u8]) {
    let mut input = Input::new(data);
    let settings = Settings::read(&mut input);
    in_virtual_time(async move |network| {
        let producer = start(&network, &settings);
        let mut play = Play {
            network,
            settings,
            callers: Callers::new(producer),
            wire: None,
            held: Vec::new(),
            budget: 64,
        };
        play.callers.publish(0, 8);
        while !input.is_empty() && play.budget > 0 {
            play.budget -= 1;
            play.step(&mut input).await;
        }
        play.end().await;
    });
}

#[derive(Clone, Copy)]
struct Settings {
    retry_maybe_written: bool,
    /// Whether the nsqd of the end serves all that comes to it.
    good_end: bool,
    capacity: usize,
    window: usize,
    batching: bool,
    /// So many publishes are folded into one command at most.
    most: usize,
}

impl Settings {
    fn read(input: &mut Input<'_>) -> Self {
        let flags = input.byte();
        Self {
            retry_maybe_written: flags & 1 != 0,
            good_end: flags & 2 != 0,
            capacity: [64 << 10, 40, 200, 1000][usize::from(flags >> 2 & 3)],
            batching: flags & 16 == 0,
            most: [256, 2, 3, 5][usize::from(flags >> 5 & 3)],
            window: input.one_of(&[1000, 1, 2, 5]),
        }
    }
}

fn start(network: &Network, settings: &Settings) -> Addr<Producer> {
    let config = network
        .config()
        .publish_timeout(TIME)
        .ack_timeout(ms(700))
        .write_timeout(ms(300))
        .heartbeat_interval(ms(1000))
        .handshake_timeout(ms(500))
        .max_msg_size(LARGEST)
        .publish_window(settings.window)
        .auto_batch(settings.batching)
        .auto_batch_messages(settings.most)
        .retry_maybe_written(settings.retry_maybe_written)
        .max_reconnect_backoff(ms(400));
    Producer::start(config.build().expect("a good configuration"))
}

struct Play {
    network: Network,
    settings: Settings,
    callers: Callers,
    wire: Option<Wire>,
    /// What the broker has stored over the connections that are over.
    held: Vec<Stored>,
    budget: usize,
}

impl Play {
    async fn step(&mut self, input: &mut Input<'_>) {
        match input.byte() % 20 {
            0 => self.say(&ok_frame()).await,
            1 => self.say(&heartbeat_frame()).await,
            2 => self.say(&error_frame(input.one_of(ERRORS))).await,
            3 => self.say(&frame(1, input.sized())).await,
            4 => self.say(&response_frame(input.sized())).await,
            5 => self.say(&frame(2, input.sized())).await,
            6 => self.say(&frame(input.byte().into(), input.sized())).await,
            7 => self.say(input.sized()).await,
            // Answers to all that has been said so far, or to some.
            8 => {
                let most = input.byte().into();
                self.answer(most).await;
            }
            9 => {
                if let Some(mut wire) = self.wire.take() {
                    wire.hear().await;
                    self.held.extend(wire.stored());
                }
            }
            10 => self
                .held
                .extend(self.wire.take().map(Wire::cut).unwrap_or_default()),
            11 => {
                if let Some(mut wire) = self.wire.take() {
                    wire.peer.line.end_in_reset();
                    wire.hear().await;
                    self.held.extend(wire.stored());
                }
            }
            12 => {
                if let Some(wire) = &self.wire {
                    wire.peer.line.break_writes(std::io::ErrorKind::BrokenPipe);
                }
            }
            13 => sleep(ms(u64::from(input.byte()) * 8)).await,
            14 => self.callers.publish(input.byte(), 1 + input.below(4)),
            15 => self.callers.give_up(input.byte().into()),
            16 => self.callers.ping(),
            17 => self.callers.reconnect(),
            18 => {
                self.wire().await;
                if let Some(wire) = &mut self.wire {
                    wire.hear().await;
                }
            }
            _ => {
                if let Some(wire) = &mut self.wire {
                    wire.peer.fin().await;
                }
            }
        }
    }

    /// The connection; where there is none, the next one, once the producer dials.
    async fn wire(&mut self) -> Option<&mut Wire> {
        if self.wire.as_ref().is_some_and(|wire| wire.peer.has_ended()) {
            let over = self.wire.take().map(|wire| wire.stored());
            self.held.extend(over.unwrap_or_default());
        }
        if self.wire.is_none() {
            let dial = self.network.accept(self.settings.capacity, ms(600)).await;
            if let Some(peer) = dial {
                // A caller's own batch counts as well.
                let most = match self.settings.batching {
                    true => self.settings.most.max(MEMBERS),
                    false => MEMBERS,
                };
                self.wire = Wire::greet(peer, most).await;
            }
        }
        self.wire.as_mut()
    }

    async fn say(&mut self, bytes: &[u8]) {
        if let Some(wire) = self.wire().await {
            wire.said.extend_from_slice(bytes);
            wire.peer.say(bytes).await;
        }
    }

    async fn answer(&mut self, most: usize) {
        if let Some(wire) = self.wire().await {
            wire.hear().await;
            let due = wire.commands.len().saturating_sub(oks(&wire.said));
            let answers = ok_frame().repeat(due.min(most));
            wire.said.extend_from_slice(&answers);
            wire.peer.say(&answers).await;
        }
    }

    /// Nobody dials any more, or all is well again, until everything is answered; then all is over, and judged.
    async fn end(mut self) {
        let end = Instant::now() + 2 * TIME;
        while self.settings.good_end && self.callers.are_waiting() && Instant::now() < end {
            self.answer(usize::MAX).await;
            everyone_rests().await;
        }
        if let Some(wire) = &mut self.wire {
            wire.hear().await;
        }
        let Self {
            network,
            mut callers,
            wire,
            mut held,
            settings,
            ..
        } = self;
        drop(network);
        // The last connection stays, silent, until it is found out; what was said on it meanwhile is heard.
        let verdict = match wire {
            None => callers.verdict(held).await,
            Some(mut wire) => {
                callers.all_answered().await;
                wire.hear().await;
                held.extend(wire.stored());
                callers.verdict(held).await
            }
        };
        let duplicate = &verdict.duplicate;
        assert!(
            settings.retry_maybe_written || duplicate.is_empty(),
            "{verdict}"
        );
        let others = [
            &verdict.lost,
            &verdict.misattributed,
            &verdict.unanswered,
            &verdict.answered_twice,
        ];
        assert!(others.iter().all(|ids| ids.is_empty()), "{verdict}");
        assert!(verdict.corrupt.is_empty(), "{verdict}");
    }
}

/// Those who publish, and what they hear.
struct Callers {
    producer: Addr<Producer>,
    record: Rc<RefCell<Record>>,
    publishers: [usize; 2],
    waiting: Vec<(Vec<Id>, JoinHandle<()>)>,
    gone: Vec<Id>,
    /// The bodies of those that were answered Ok.
    believed: Rc<RefCell<Vec<Bytes>>>,
    pings: Vec<JoinHandle<()>>,
}

impl Callers {
    fn new(producer: Addr<Producer>) -> Self {
        let mut record = Record::new();
        let publishers = TOPICS.map(|topic| record.publisher(topic));
        Self {
            producer,
            record: Rc::new(RefCell::new(record)),
            publishers,
            waiting: Vec::new(),
            gone: Vec::new(),
            believed: Rc::default(),
            pings: Vec::new(),
        }
    }

    /// So many publishes at once, of a kind: two bits for what they are, one for the topic, and two for the size.
    fn publish(&mut self, kind: u8, count: usize) {
        let at = usize::from(kind >> 2 & 1);
        let topic = Topic::new(TOPICS[at]).expect("a good name");
        let size = [20, 60, 120, 600][usize::from(kind >> 3 & 3)];
        for _ in 0..count {
            let members = if kind & 3 == 1 { MEMBERS } else { 1 };
            let offers: Vec<(Id, Bytes)> = (0..members)
                .map(|_| self.record.borrow_mut().offer(self.publishers[at], size))
                .collect();
            let (ids, bodies): (Vec<Id>, Vec<Bytes>) = offers.into_iter().unzip();
            match kind & 3 {
                1 => self.send(ids, bodies.clone(), MultiPublish::new(&topic, bodies)),
                2 => self.send(
                    ids,
                    bodies.clone(),
                    DeferredPublish::new(&topic, ms(5), bodies[0].clone()),
                ),
                _ => self.send(ids, bodies.clone(), Publish::new(&topic, bodies[0].clone())),
            }
        }
    }

    fn send<M>(&mut self, ids: Vec<Id>, bodies: Vec<Bytes>, message: M)
    where
        M: actix::Message<Result = Result<(), PublishError>> + Send + 'static,
        Producer: Handler<M>,
    {
        let (request, record) = (self.producer.send(message), Rc::clone(&self.record));
        let believed = Rc::clone(&self.believed);
        let (began, all) = (Instant::now(), ids.clone());
        let task = spawn_local(async move {
            let answer = request.await.expect("a producer answers itself");
            let took = began.elapsed();
            assert!(
                took <= TIME + TOGETHER,
                "answered after {took:?}: {answer:?}"
            );
            let partly = answer
                .as_ref()
                .is_err_and(|e| e.delivery() == Delivery::MaybePartial);
            assert!(!partly || all.len() > 1, "a single publish: {answer:?}");
            if answer.is_ok() {
                believed.borrow_mut().extend(bodies);
            }
            for id in all {
                record.borrow_mut().answer(id, &answer);
            }
        });
        self.waiting.push((ids, task));
    }

    /// One of them goes away, and hears no answer.
    fn give_up(&mut self, which: usize) {
        if let Some(which) = which.checked_rem(self.waiting.len()) {
            let (ids, task) = self.waiting.swap_remove(which);
            if !task.is_finished() {
                task.abort();
                self.gone.extend(ids);
            }
        }
    }

    fn ping(&mut self) {
        let request = self.producer.send(Ping { timeout: TIME });
        let began = Instant::now();
        self.pings.push(spawn_local(async move {
            let _ = request.await.expect("a producer answers itself");
            assert!(began.elapsed() <= TIME + TOGETHER, "a ping took too long");
        }));
    }

    fn reconnect(&self) {
        self.producer.do_send(Reconnect);
    }

    fn are_waiting(&self) -> bool {
        self.waiting.iter().any(|(_, task)| !task.is_finished())
    }

    async fn all_answered(&mut self) {
        for task in self
            .pings
            .drain(..)
            .chain(self.waiting.drain(..).map(|(_, task)| task))
        {
            task.await.expect("answered, and in time");
        }
    }

    async fn verdict(mut self, held: Vec<Stored>) -> Verdict {
        self.all_answered().await;
        let confirmed: HashSet<&[u8]> = held
            .iter()
            .filter(|(_, confirmed)| *confirmed)
            .map(|((_, body), _)| &body[..])
            .collect();
        for body in self.believed.borrow().iter() {
            let body = &body[..];
            assert!(confirmed.contains(body), "Ok without an OK: {body:?}");
        }
        let record = std::mem::take(&mut *self.record.borrow_mut());
        let found = held
            .iter()
            .map(|((topic, body), _)| (topic.as_str(), &body[..]));
        let mut verdict = record.judge(found);
        verdict.unanswered.retain(|id| !self.gone.contains(id));
        verdict
    }
}
