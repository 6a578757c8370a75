//! nsqds, links with delay, handlers, and a consumer that follows flow control.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use fastrand::Rng;

use super::{
    Count,
    checks::Checks,
    deliveries::Deliveries,
    event::{Event, Held, HeldKey, Input, Start, connection},
    nsqd::{Command, Delivery, Nsqd},
    scene::Scene,
    timeline::{MS, Timeline},
};
use crate::consumer::{backoff::Outcome, flow::Flow};

/// Events after which a schedule ends, even if it is not over.
const MAX_EVENTS: usize = 5_000;

/// How many nsqd scans late for timeouts, at most.
const TIMEOUT_SCAN: u64 = 100 * MS;

pub(super) struct World<'a> {
    scene: Scene,
    rng: Rng,
    count: &'a mut Count,
    start: Instant,
    now: u64,
    timeline: Timeline<Event>,
    nsqds: Vec<Nsqd>,
    messages: usize,
    deliveries: Deliveries,
    // The consumer.
    flow: Flow,
    open: Vec<Option<u32>>,
    left: BTreeSet<(usize, u32)>,
    inputs: VecDeque<Input>,
    is_polling: bool,
    timer: Option<u64>,
    held: BTreeMap<HeldKey, Held>,
    waiting: VecDeque<HeldKey>,
    running: usize,
    finished_late: BTreeSet<HeldKey>,
    answers: Vec<(usize, u32, Command)>,
    answered: Vec<usize>,
    backoff_changes: usize,
    is_paused: bool,
    checks: Checks,
}

impl<'a> World<'a> {
    pub(super) fn new(scene: Scene, rng: Rng, count: &'a mut Count) -> Self {
        let flow = Flow::new(scene.flow_options());
        let mut world = Self {
            rng,
            count,
            start: Instant::now(),
            now: 0,
            timeline: Timeline::new(),
            nsqds: scene.nsqds.iter().map(|_| Nsqd::default()).collect(),
            messages: 0,
            deliveries: Deliveries::default(),
            flow,
            open: vec![None; scene.nsqds.len()],
            left: BTreeSet::new(),
            inputs: VecDeque::new(),
            is_polling: false,
            timer: None,
            held: BTreeMap::new(),
            waiting: VecDeque::new(),
            running: 0,
            finished_late: BTreeSet::new(),
            answers: Vec::new(),
            answered: Vec::new(),
            backoff_changes: 0,
            is_paused: false,
            checks: Checks::new(scene.max),
            scene,
        };
        world.prepare();
        world
    }

    fn prepare(&mut self) {
        for (nsqd, scene) in self.scene.nsqds.clone().into_iter().enumerate() {
            for _ in 0..scene.backlog {
                self.publish(nsqd);
            }
            if scene.publish_every.is_some() {
                self.timeline.add(0, Event::Publish(nsqd));
            }
            self.timeline.add(scene.connect_at, Event::Connect(nsqd));
        }
        for (at, max) in self.scene.max_changes.clone() {
            self.timeline.add(at, Event::Input(Input::SetMax(max)));
        }
        if let Some((from, until)) = self.scene.pause {
            self.timeline.add(from, Event::Input(Input::Pause(true)));
            self.timeline.add(until, Event::Input(Input::Pause(false)));
        }
        if let Some((nsqd, from, until)) = self.scene.leave {
            let input = Input::Leave(nsqd, until);
            self.timeline.add(from, Event::Input(input));
        }
    }

    /// Plays the schedule, and returns the number of deliveries.
    pub(super) fn run(mut self) -> usize {
        let patience = self.scene.patience();
        for _ in 0..MAX_EVENTS {
            let Some((at, event)) = self.timeline.next() else {
                break;
            };
            if at > self.scene.end {
                break;
            }
            self.now = at;
            self.step(event);
            self.check_waits(patience);
        }
        self.deliveries.len()
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.now)
    }

    fn publish(&mut self, nsqd: usize) {
        self.nsqds[nsqd].push(self.messages);
        self.messages += 1;
    }

    /// A time with this mean, exponentially distributed.
    fn about(&mut self, mean: u64) -> u64 {
        (-(1.0 - self.rng.f64()).ln() * mean as f64) as u64 + 1
    }

    fn delay(&mut self, nsqd: usize) -> u64 {
        let scene = &self.scene.nsqds[nsqd];
        scene.delay + self.rng.u64(0..=scene.jitter)
    }

    fn step(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Publish(nsqd) => {
                for _ in 0..self.scene.nsqds[nsqd].burst {
                    self.publish(nsqd);
                }
                let every = self.scene.nsqds[nsqd].publish_every.unwrap_or(1);
                let next = now + self.about(every);
                self.timeline.add(next, Event::Publish(nsqd));
                self.deliver(nsqd);
            }
            Event::Connect(nsqd) => self.connect(nsqd),
            Event::Cut(nsqd, serial) => {
                if self.nsqds[nsqd].is_connected(serial) {
                    self.cut(nsqd, serial);
                }
            }
            Event::Command(nsqd, serial, command) => {
                if self.nsqds[nsqd].is_connected(serial) {
                    self.execute(nsqd, command);
                }
            }
            Event::Frame(delivery) => {
                if self.nsqds[delivery.nsqd].is_connected(delivery.serial) {
                    self.deliveries.arrive(delivery.number);
                    self.input(Input::Frame(delivery));
                }
            }
            Event::TimedOut(delivery) => {
                if self.nsqds[delivery.nsqd].time_out(delivery) {
                    self.deliveries.end(delivery.number);
                    self.deliver(delivery.nsqd);
                }
            }
            Event::Requeued(nsqd, message) => {
                self.nsqds[nsqd].push(message);
                self.deliver(nsqd);
            }
            Event::Input(input) => self.input(input),
            Event::Timer(at) => {
                if self.timer == Some(at) {
                    self.timer = None;
                    self.checks.on_timer(&self.scene, now);
                    self.wake();
                }
            }
            Event::Poll => {
                self.is_polling = false;
                self.poll();
            }
        }
    }

    // nsqds and links

    fn connect(&mut self, nsqd: usize) {
        self.nsqds[nsqd].connect(self.now);
        let serial = self.nsqds[nsqd].serial;
        let scene = &self.scene.nsqds[nsqd];
        let (delay, jitter, cut_after) = (scene.delay, scene.jitter, scene.cut_after);
        let round_trip = 2 * delay + self.rng.u64(0..=2 * jitter);
        self.input(Input::Opened(nsqd, serial, round_trip));
        if let Some(cut_after) = cut_after {
            let at = self.now + self.about(cut_after);
            self.timeline.add(at, Event::Cut(nsqd, serial));
        }
    }

    fn cut(&mut self, nsqd: usize, serial: u32) {
        self.count.add("connection lost");
        self.nsqds[nsqd].disconnect();
        // What is on the wire never arrives.
        let lost: Vec<usize> = self.nsqds[nsqd].in_flight_of(serial).collect();
        for number in lost {
            self.deliveries.lose(number);
        }
        self.input(Input::Closed(nsqd, serial));
        let delay = self.scene.reconnect_delay + self.rng.u64(0..=self.scene.reconnect_delay);
        self.timeline.add(self.now + delay, Event::Connect(nsqd));
    }

    fn deliver(&mut self, nsqd: usize) {
        while let Some(message) = self.nsqds[nsqd].deliver(self.deliveries.len(), self.now) {
            let delivery = Delivery {
                nsqd,
                serial: self.nsqds[nsqd].serial,
                message,
                number: self.deliveries.send(),
            };
            self.checks.on_delivery(&self.flow, self.deliveries.live());
            let arrives = self.now + self.delay(nsqd);
            let last = &mut self.nsqds[nsqd].last_frame;
            *last = arrives.max(*last);
            self.timeline.add(*last, Event::Frame(delivery));
            let timeout = self.now + self.scene.msg_timeout + self.rng.u64(0..TIMEOUT_SCAN);
            if timeout <= self.scene.end {
                self.timeline.add(timeout, Event::TimedOut(delivery));
            }
        }
    }

    fn send(&mut self, nsqd: usize, command: Command) {
        let arrives = self.now + self.delay(nsqd);
        let to = &mut self.nsqds[nsqd];
        to.last_command = arrives.max(to.last_command);
        let event = Event::Command(nsqd, to.serial, command);
        self.timeline.add(to.last_command, event);
    }

    fn execute(&mut self, nsqd: usize, command: Command) {
        match command {
            Command::Rdy(rdy) => {
                let pump_lag = self.rng.u64(0..300);
                self.nsqds[nsqd].set_rdy(rdy, pump_lag, self.now);
            }
            Command::Cls => {
                let pump_lag = self.rng.u64(0..300);
                self.nsqds[nsqd].leave(pump_lag, self.now);
            }
            Command::Fin(message) => {
                // A late FIN may finish the next delivery, which is on the wire.
                if let Some(number) = self.nsqds[nsqd].answer(message) {
                    self.deliveries.end(number);
                }
            }
            Command::Req(message, delay) => {
                if self.nsqds[nsqd].answer(message).is_some() {
                    let event = Event::Requeued(nsqd, message);
                    self.timeline.add(self.now + delay, event);
                }
            }
        }
        self.deliver(nsqd);
    }

    // The consumer

    fn input(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.wake();
    }

    fn wake(&mut self) {
        if !std::mem::replace(&mut self.is_polling, true) {
            let at = self.now + self.rng.u64(0..=self.scene.poll_delay);
            self.timeline.add(at, Event::Poll);
        }
    }

    fn poll(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            self.handle(input);
        }
        self.start_handlers();
        self.flow.settle(self.instant());
        let plan = self.flow.plan(self.instant());
        for (key, rdy) in &plan.lowered {
            self.send(key.nsqd as usize, Command::Rdy(*rdy));
        }
        for (nsqd, serial, command) in std::mem::take(&mut self.answers) {
            if self.nsqds[nsqd].is_connected(serial) {
                self.send(nsqd, command);
            }
        }
        for number in std::mem::take(&mut self.answered) {
            self.deliveries.end(number);
        }
        for (key, rdy) in &plan.raised {
            self.send(key.nsqd as usize, Command::Rdy(*rdy));
        }
        let times = (self.now, self.instant());
        self.checks.after_plan(&self.flow, &plan, times, self.count);
        if let Some(due) = self.flow.due() {
            // Rounded up, as a timer does.
            let at = due.duration_since(self.start).as_nanos().div_ceil(1_000) as u64;
            if self.timer != Some(at) {
                self.timer = Some(at);
                self.timeline.add(at, Event::Timer(at));
            }
        } else {
            self.timer = None;
        }
    }

    fn handle(&mut self, input: Input) {
        let (now, instant) = (self.now, self.instant());
        match input {
            Input::Opened(nsqd, serial, round_trip) => {
                self.open[nsqd] = Some(serial);
                let max_rdy = self.scene.nsqds[nsqd].max_rdy;
                let round_trip = Duration::from_micros(round_trip);
                let key = connection(nsqd, serial);
                self.flow.open(key, max_rdy, round_trip, instant);
                self.checks.on_change(&self.flow, now);
            }
            Input::Closed(nsqd, serial) => {
                self.open[nsqd] = None;
                let key = connection(nsqd, serial);
                self.flow.close(key);
                if self.flow.orphaned > 0 {
                    self.count.add("held of a lost connection");
                }
                self.checks.on_close(key);
                self.checks.on_change(&self.flow, now);
            }
            Input::Frame(delivery) => self.receive(delivery),
            Input::HandlerEnded(key, start) => self.end_handler(key, start),
            Input::Deadline(key, number) => self.pass_deadline(key, number),
            Input::SetMax(max) => {
                if max < self.flow.max {
                    self.count.add("max lowered");
                }
                self.flow.set_max(max);
                self.checks.on_change(&self.flow, now);
                self.restart_waits();
            }
            Input::Pause(true) => {
                self.count.add("paused");
                self.is_paused = true;
                self.flow.pause();
            }
            Input::Pause(false) => {
                self.is_paused = false;
                self.flow.resume();
                self.checks.on_change(&self.flow, now);
                self.restart_waits();
            }
            Input::Leave(nsqd, until) => self.leave(nsqd, until),
        }
    }

    /// Leaves a connection, which is closed later.
    fn leave(&mut self, nsqd: usize, until: u64) {
        let Some(serial) = self.open[nsqd].filter(|serial| self.nsqds[nsqd].is_connected(*serial))
        else {
            return;
        };
        self.count.add("left");
        self.left.insert((nsqd, serial));
        let (key, instant) = (connection(nsqd, serial), self.instant());
        self.flow.leave(key, instant);
        self.checks.on_close(key);
        self.checks.on_change(&self.flow, self.now);
        self.send(nsqd, Command::Cls);
        let of_it = |it: &HeldKey| (it.0, it.1) == (nsqd, serial);
        let (returned, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(of_it);
        self.waiting = waiting;
        let returned: VecDeque<HeldKey> = returned;
        for key in returned {
            let held = self.held.remove(&key).expect("a waiting message is held");
            let is_late = self.scene.is_late(nsqd, held.received, self.now);
            self.return_message(key, held.number, is_late);
        }
        self.timeline.add(until, Event::Cut(nsqd, serial));
    }

    fn return_message(&mut self, (nsqd, serial, message): HeldKey, number: usize, is_late: bool) {
        let instant = self.instant();
        let key = connection(nsqd, serial);
        self.flow.answered(key, 1, is_late, instant);
        self.answered.push(number);
        self.answers.push((nsqd, serial, Command::Req(message, 0)));
    }

    fn is_open(&self, nsqd: usize, serial: u32) -> bool {
        self.open[nsqd] == Some(serial)
    }

    fn receive(&mut self, delivery: Delivery) {
        let instant = self.instant();
        let Delivery {
            nsqd,
            serial,
            message,
            number,
        } = delivery;
        let (key, held_key) = (connection(nsqd, serial), (nsqd, serial, message));
        let is_known = self.held.contains_key(&held_key) || self.finished_late.contains(&held_key);
        if self.left.contains(&(nsqd, serial)) && !is_known {
            self.count.add("received after leaving");
            self.flow.received(key, 1, instant);
            return self.return_message(held_key, number, false);
        }
        let is_attached = match self.held.get(&held_key) {
            Some(held) => {
                let before = held.number;
                if !held.is_expired {
                    self.flow.expired(key, 1, instant);
                    self.deliveries.end(before);
                }
                self.count.add("attached to a held message");
                true
            }
            None => false,
        };
        self.flow.received(key, 1, instant);
        let Self {
            deliveries,
            answered,
            ..
        } = self;
        let is_unanswered = |number| deliveries.is_live(number) && !answered.contains(&number);
        self.checks.on_received(key, number, is_unanswered);
        if self.finished_late.contains(&held_key) {
            // It is done: finished again, and not handled again.
            self.count.add("finished again");
            self.flow.answered(key, 1, false, instant);
            self.answered.push(number);
            self.answers.push((nsqd, serial, Command::Fin(message)));
            return;
        }
        let deadline = self.now + self.scene.msg_timeout;
        let deadline = if self.scene.has_late_clock {
            deadline + self.rng.u64(0..TIMEOUT_SCAN)
        } else {
            let scene = &self.scene.nsqds[nsqd];
            deadline - 2 * (scene.delay + scene.jitter) - self.scene.poll_delay
        };
        let held = self.held.entry(held_key).or_insert(Held {
            number,
            received: self.now,
            is_expired: false,
            in_handler: false,
        });
        (held.number, held.received, held.is_expired) = (number, self.now, false);
        if deadline <= self.scene.end {
            let input = Input::Deadline(held_key, number);
            self.timeline.add(deadline, Event::Input(input));
        }
        if !is_attached {
            self.waiting.push_back(held_key);
        }
    }

    fn pass_deadline(&mut self, key: HeldKey, number: usize) {
        let Some(held) = self.held.get_mut(&key) else {
            return;
        };
        if held.number != number || held.is_expired {
            return;
        }
        held.is_expired = true;
        if held.in_handler {
            self.count.add("expired in a handler");
        } else {
            self.count.add("expired before a handler");
            self.held.remove(&key);
            self.waiting.retain(|waiting| *waiting != key);
        }
        self.deliveries.end(number);
        let instant = self.instant();
        self.flow.expired(connection(key.0, key.1), 1, instant);
    }

    fn start_handlers(&mut self) {
        while self.running < self.scene.concurrency {
            let Some(key) = self.waiting.pop_front() else {
                return;
            };
            let held = self.held.get_mut(&key).expect("a waiting message is held");
            held.in_handler = true;
            self.running += 1;
            let mut time = self.scene.handler / 2 + self.rng.u64(0..=self.scene.handler);
            if self.rng.f64() < self.scene.slow_part {
                time += self.scene.slow;
            }
            let start = Start {
                window: self.flow.window(),
                changes: self.backoff_changes,
            };
            let input = Input::HandlerEnded(key, start);
            self.timeline
                .add(self.now + time.max(1), Event::Input(input));
        }
    }

    fn end_handler(&mut self, key: HeldKey, start: Start) {
        let instant = self.instant();
        self.running -= 1;
        let (nsqd, serial, message) = key;
        let is_down = self
            .scene
            .outage
            .is_some_and(|(from, until)| (from..until).contains(&self.now));
        let is_ok = !is_down && self.rng.f64() >= self.scene.failing_part;
        let outcome = if is_ok {
            Outcome::Success
        } else if self.rng.f64() < self.scene.neutral_part {
            Outcome::Neutral
        } else {
            Outcome::Failure
        };
        let held = self
            .held
            .remove(&key)
            .expect("a message in a handler is held");
        let is_late = self.scene.is_late(nsqd, held.received, self.now);
        if !held.is_expired {
            self.flow
                .answered(connection(nsqd, serial), 1, is_late, instant);
            self.answered.push(held.number);
            if is_late {
                self.count.add("late answer");
            }
        }
        let random = self.rng.f64();
        if self.flow.outcome(start.window, outcome, random, instant) {
            let is_current = start.changes == self.backoff_changes;
            self.checks.on_backoff_change(is_current, self.now);
            self.backoff_changes += 1;
        }
        if !self.is_open(nsqd, serial) {
            return;
        }
        if is_ok {
            if is_late || held.is_expired {
                self.finished_late.insert(key);
            }
            self.answers.push((nsqd, serial, Command::Fin(message)));
        } else if !is_late && !held.is_expired {
            // A later REQ could requeue the next delivery of the message.
            let delay = self.rng.u64(0..50 * MS);
            self.answers
                .push((nsqd, serial, Command::Req(message, delay)));
        }
    }

    // Waits

    fn restart_waits(&mut self) {
        for nsqd in &mut self.nsqds {
            nsqd.update_wait(self.now, true);
        }
    }

    /// No connection with messages starves.
    fn check_waits(&self, patience: u64) {
        if self.is_paused || self.flow.max == 0 {
            return;
        }
        for (index, nsqd) in self.nsqds.iter().enumerate() {
            let wait = nsqd.waits_since.map_or(0, |since| self.now - since);
            assert!(
                wait <= patience,
                "nsqd {index} has messages and sent none for {wait} us, more than {patience}: {:#?}",
                self.flow
            );
        }
    }
}
