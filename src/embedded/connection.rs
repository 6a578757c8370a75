//! The task that serves one connection: the socket, the clock and the faults around a session.

use std::{collections::VecDeque, future, io, sync::Arc, sync::mpsc, time::Duration};

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::{
    io::{Interest, Ready},
    net::TcpStream,
    select,
    sync::{mpsc::UnboundedReceiver, watch},
    task,
    time::{Instant, sleep_until},
};

use super::{
    misbehaviour::{Ending, Switches},
    session::{Batch, Ended, HEARTBEAT, Session},
    state::{Order, Shared},
    ticker::Ticker,
};

/// As much as one read takes: all whole commands in it are executed, and answered with one write.
const READ: usize = 64 * 1024;

/// After so many reads in a row the other connections have their turn.
const READS_IN_A_ROW: usize = 16;

/// Serves a connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    number: u64,
    mut orders: UnboundedReceiver<Order>,
    shared: Arc<Shared>,
) {
    let mut connection = Connection {
        session: Session::new(number, &shared.options),
        shared: Arc::clone(&shared),
        stream,
        held: VecDeque::new(),
        out: BytesMut::new(),
        answered: 0,
        more: false,
        ended: None,
        ticker: None,
        ticks_as_identified: None,
        read_deadline: None,
        write_deadline: None,
        reads: 0,
    };
    let (ending, done) = connection.run(&mut orders).await;
    if ending == Ending::Reset {
        // With no time to linger the kernel resets. Only a dead socket refuses, and that needs no
        // reset.
        let _ = SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO));
    }
    // First the socket, then the news of it, then the answers to whoever ordered it.
    drop(connection);
    shared.state().closed(number);
    shared.news.send_replace(());
    drop((done, orders));
}

struct Connection {
    session: Session,
    shared: Arc<Shared>,
    stream: TcpStream,
    /// Answers and messages that a fault may hold back.
    held: VecDeque<Held>,
    /// What the socket has not yet taken.
    out: BytesMut,
    /// So much of it, up to the last answer, is to be written before anything is read: nsqd answers
    /// before it reads on. Heartbeats and messages come from another task there.
    answered: usize,
    /// Whether there may be more messages to take.
    more: bool,
    ended: Option<Ended>,
    ticker: Option<Ticker>,
    /// It is set by the magic, and again by the first IDENTIFY.
    ticks_as_identified: Option<bool>,
    read_deadline: Option<Instant>,
    write_deadline: Option<Instant>,
    reads: usize,
}

/// Frames, and the time from which they are there.
struct Held {
    since: Instant,
    frames: Vec<u8>,
    answers: bool,
}

impl Connection {
    /// How the socket is to be closed, and whom to tell.
    async fn run(
        &mut self,
        orders: &mut UnboundedReceiver<Order>,
    ) -> (Ending, Option<mpsc::Sender<()>>) {
        let mut switched: watch::Receiver<()> = self.shared.switched.subscribe();
        let messages = Arc::clone(&self.session.wake);
        let mut alarm = Box::pin(sleep_until(Instant::now()));
        // A cut after 0 bytes or commands is for the first connection that comes.
        if let Some(ending) = self.shared.state().misbehaviour.used_up() {
            return (ending, None);
        }
        loop {
            let switches = self.shared.state().misbehaviour.switches;
            if !switches.freeze
                && let Some(ending) = self.advance(switches)
            {
                return (ending, None);
            }
            let more = self.more && self.out.is_empty() && !switches.freeze;
            if more || self.reads >= READS_IN_A_ROW {
                self.reads = 0;
                task::yield_now().await;
            }
            let wake = self.next_wake(switches);
            if let Some(wake) = wake
                && alarm.deadline() != wake
            {
                alarm.as_mut().reset(wake);
            }
            let interest = self.interest(switches);
            select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Send(bytes, done)) => {
                        self.out.extend_from_slice(&bytes);
                        self.answered = self.out.len();
                        drop(done);
                    }
                    Some(Order::Close(done)) => return (Ending::Close, Some(done)),
                    Some(Order::Reset(done)) => return (Ending::Reset, Some(done)),
                    None => return (Ending::Close, None),
                },
                _ = switched.changed() => {}
                () = messages.notified() => {}
                ready = ready(&self.stream, interest) => if ready.is_err() {
                    return (Ending::Close, None);
                },
                () = alarm.as_mut(), if wake.is_some() => {}
                () = future::ready(()), if more => {}
            }
        }
    }

    /// Everything that can be done now. The ending, when nothing is left to do.
    fn advance(&mut self, switches: Switches) -> Option<Ending> {
        // Reading comes before the dead-line: an nsqd that wakes up after it still hears what was
        // sent in time.
        if self.may_read(switches) && self.read(switches).is_err() {
            return Some(Ending::Close);
        }
        let now = Instant::now();
        self.take_messages(now);
        self.beat(switches, now);
        self.watch_read_deadline(switches, now);
        self.release(switches, now);
        if self.write(now).is_err() {
            return Some(Ending::Close);
        }
        let (Ended::Refused(ending) | Ended::Cut(ending)) = self.ended?;
        (self.out.is_empty() && self.held.is_empty()).then_some(ending)
    }

    fn may_read(&self, switches: Switches) -> bool {
        self.ended.is_none() && self.answered == 0 && !switches.stop_reading
    }

    fn read(&mut self, switches: Switches) -> io::Result<()> {
        self.session.input.reserve(READ);
        let mut end_of_input = false;
        match self.stream.try_read_buf(&mut self.session.input) {
            Ok(0) => end_of_input = true,
            Ok(n) => {
                self.session.unseen += n;
                self.reads += 1;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.reads = 0,
            Err(error) => return Err(error),
        }
        if self.session.unseen > 0 {
            self.execute();
        }
        if end_of_input && self.ended.is_none() {
            self.end_of_input(Instant::now());
            if switches.stall {
                // Nobody is left to hear them, and the connection shall not seem open until the
                // stall is over.
                self.held.clear();
            }
        }
        Ok(())
    }

    fn execute(&mut self) {
        let batch = {
            let mut state = self.shared.state();
            let Switches {
                freeze,
                stop_reading,
                ..
            } = state.misbehaviour.switches;
            // Looked at again under the lock: nothing that was sent after the switch may be
            // executed.
            if freeze || stop_reading {
                return;
            }
            self.session.execute_all(&mut state, &self.shared.options)
        };
        self.shared.news.send_replace(());

        let now = Instant::now();
        let Batch {
            answers,
            commands,
            end,
        } = batch;
        self.hold(now, answers, true);
        self.ended = end;
        if commands > 0 {
            self.read_deadline = None;
        }
        let session = &self.session;
        if session.magic && self.ticks_as_identified != Some(session.identified) {
            self.ticks_as_identified = Some(session.identified);
            self.ticker = session
                .ticker
                .and_then(|interval| Ticker::new(now, interval));
        }
    }

    /// The negotiated interval; none before the magic, when nsqd waits without a clock.
    fn heartbeat(&self) -> Option<Duration> {
        self.session
            .negotiated
            .heartbeat
            .filter(|_| self.session.magic)
    }

    /// nsqd arms it once before each command line, so a slow body runs into it however its bytes
    /// trickle in.
    fn watch_read_deadline(&mut self, switches: Switches, now: Instant) {
        match self.read_deadline {
            _ if self.ended.is_some() || switches.stop_reading => self.read_deadline = None,
            None => {
                self.read_deadline = self
                    .heartbeat()
                    .and_then(|interval| now.checked_add(interval.saturating_mul(2)))
            }
            Some(deadline) if deadline <= now => self.end_of_input(now),
            Some(_) => {}
        }
    }

    fn end_of_input(&mut self, now: Instant) {
        self.ended = Some(Ended::Refused(Ending::Close));
        self.read_deadline = None;
        let answer = self.session.cut_short();
        self.hold(now, answer, true);
    }

    /// Takes messages from the channel, when the socket has taken those of before: what does not
    /// read is not sent much.
    fn take_messages(&mut self, now: Instant) {
        self.more = false;
        if self.ended.is_some() || !self.session.has_subscribed() {
            return;
        }
        if !self.out.is_empty() {
            // Not looked for now, but when all is written.
            self.more = true;
            return;
        }
        let frames;
        (frames, self.more) = self.session.take_messages(&mut self.shared.state());
        if !frames.is_empty() {
            self.shared.news.send_replace(());
        }
        self.hold(now, frames, false);
    }

    fn hold(&mut self, since: Instant, frames: Vec<u8>, answers: bool) {
        if !frames.is_empty() {
            self.held.push_back(Held {
                since,
                frames,
                answers,
            });
        }
    }

    fn beat(&mut self, switches: Switches, now: Instant) {
        let due = self.ticker.as_mut().is_some_and(|ticker| ticker.tick(now));
        if due && self.ended.is_none() && !switches.stop_heartbeats {
            self.out.extend_from_slice(HEARTBEAT);
        }
    }

    /// Lets go what has been held back long enough.
    fn release(&mut self, switches: Switches, now: Instant) {
        while self.next_release(switches).is_some_and(|at| at <= now) {
            if let Some(Held {
                frames, answers, ..
            }) = self.held.pop_front()
            {
                self.out.extend_from_slice(&frames);
                if answers {
                    self.answered = self.out.len();
                }
            }
        }
        if let Some(Ended::Cut(_)) = self.ended {
            self.held.clear();
        }
    }

    fn next_release(&self, switches: Switches) -> Option<Instant> {
        let first = self.held.front().filter(|_| !switches.stall)?;
        first.since.checked_add(switches.delay)
    }

    /// Gives the socket what it takes; an error when it has taken nothing for a heartbeat interval.
    fn write(&mut self, now: Instant) -> io::Result<()> {
        while !self.out.is_empty() {
            match self.stream.try_write(&self.out) {
                Ok(n) => {
                    self.out.advance(n);
                    self.answered = self.answered.saturating_sub(n);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let heartbeat = self.heartbeat();
                    if self.write_deadline.is_none() {
                        self.write_deadline =
                            heartbeat.and_then(|interval| now.checked_add(interval));
                    }
                    let late = self.write_deadline.is_some_and(|deadline| deadline <= now);
                    return if late {
                        Err(io::ErrorKind::TimedOut.into())
                    } else {
                        Ok(())
                    };
                }
                Err(error) => return Err(error),
            }
        }
        if self.write_deadline.take().is_some() {
            // nsqd was held up in writing, and arms it anew before it reads on.
            self.read_deadline = None;
        }
        Ok(())
    }

    fn interest(&self, switches: Switches) -> Option<Interest> {
        let write = (!self.out.is_empty()).then_some(Interest::WRITABLE);
        let read = self.may_read(switches).then_some(Interest::READABLE);
        let both = write.zip(read).map(|(write, read)| write | read);
        both.or(write).or(read).filter(|_| !switches.freeze)
    }

    fn next_wake(&self, switches: Switches) -> Option<Instant> {
        let beat = self.ticker.as_ref().map(|ticker| ticker.next);
        let times = [
            beat,
            self.read_deadline,
            self.write_deadline,
            self.next_release(switches),
        ];
        times
            .into_iter()
            .flatten()
            .min()
            .filter(|_| !switches.freeze)
    }
}

async fn ready(stream: &TcpStream, interest: Option<Interest>) -> io::Result<Ready> {
    match interest {
        Some(interest) => stream.ready(interest).await,
        None => future::pending().await,
    }
}
