//! The task that serves one connection: the socket, the clock and the faults around a session and its layers.

mod hearing;

use std::{collections::VecDeque, future, io, sync::Arc, sync::mpsc, time::Duration};

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
    identify::Compression,
    misbehaviour::{Ending, Switches},
    session::{Ended, HEARTBEAT, Session},
    state::{Order, Shared},
    ticker::Ticker,
    wire::{Layer, Wire},
};

/// How long nsqd lets a TLS handshake take.
const HANDSHAKE: Duration = Duration::from_secs(5);

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
        wire: Wire::default(),
        behind_tls: None,
        held: VecDeque::new(),
        answered: 0,
        more: false,
        ended: None,
        client_is_gone: false,
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
    wire: Wire,
    /// The compression that is to come when the TLS handshake is done.
    behind_tls: Option<Compression>,
    /// Answers and messages that a fault may hold back.
    held: VecDeque<Held>,
    /// So much of what the socket has not yet taken, up to the last answer, is to be written before anything is read: nsqd
    /// answers before it reads on. Heartbeats and messages come from another task there. As all that the socket sees, it is
    /// counted on the wire, behind the layers.
    answered: usize,
    /// Whether there may be more messages to take.
    more: bool,
    ended: Option<Ended>,
    /// It has ended its side, and hears nothing more.
    client_is_gone: bool,
    ticker: Option<Ticker>,
    /// It is set by the magic, and again by the first IDENTIFY.
    ticks_as_identified: Option<bool>,
    read_deadline: Option<Instant>,
    write_deadline: Option<Instant>,
    reads: usize,
}

/// Something for the client, and the time from which it is there.
struct Held {
    since: Instant,
    what: What,
}

enum What {
    Answers(Vec<u8>),
    Messages(Vec<u8>),
    /// What comes behind it goes through one more layer.
    Layer(Layer),
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
            let more = self.more && self.wire.out.is_empty() && !switches.freeze;
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
                        self.wire.put(&bytes);
                        self.answered = self.wire.out.len();
                        drop(done);
                    }
                    Some(Order::SendPastLayers(bytes, done)) => {
                        self.wire.out.extend_from_slice(&bytes);
                        self.answered = self.wire.out.len();
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
        while self.release(switches, now) && self.wire.unseen > 0 && self.ended.is_none() {
            // It came early, and has waited for the layer it is for.
            self.execute();
        }
        if self.read_deadline.is_none() {
            self.watch_read_deadline(switches, now);
        }
        if self.write(now).is_err() {
            return Some(Ending::Close);
        }
        let (Ended::Refused(ending) | Ended::Cut(ending)) = self.ended?;
        (self.wire.out.is_empty() && self.held.is_empty()).then_some(ending)
    }

    /// The negotiated interval; none before the magic, when nsqd waits without a clock.
    fn heartbeat(&self) -> Option<Duration> {
        self.session
            .negotiated
            .heartbeat
            .filter(|_| self.session.magic)
    }

    /// nsqd arms it once before each command line, so a slow body runs into it however its bytes
    /// trickle in. A TLS handshake has its own.
    fn watch_read_deadline(&mut self, switches: Switches, now: Instant) {
        match self.read_deadline {
            _ if self.ended.is_some() || switches.stop_reading => self.read_deadline = None,
            None => {
                let patience = if self.wire.is_handshaking() {
                    Some(HANDSHAKE)
                } else {
                    self.heartbeat().map(|interval| interval.saturating_mul(2))
                };
                self.read_deadline = patience.and_then(|patience| now.checked_add(patience));
            }
            Some(deadline) if deadline <= now => self.out_of_time(now),
            Some(_) => {}
        }
    }

    /// Takes messages from the channel, when the socket has taken those of before: what does not
    /// read is not sent much.
    fn take_messages(&mut self, now: Instant) {
        self.more = false;
        if self.ended.is_some() || !self.session.has_subscribed() {
            return;
        }
        if !self.wire.out.is_empty() {
            // Not looked for now, but when all is written.
            self.more = true;
            return;
        }
        let frames;
        (frames, self.more) = self.session.take_messages(&mut self.shared.state());
        if !frames.is_empty() {
            self.shared.news.send_replace(());
        }
        if !frames.is_empty() {
            self.hold(now, What::Messages(frames));
        }
    }

    fn hold(&mut self, since: Instant, what: What) {
        self.held.push_back(Held { since, what });
    }

    fn answer(&mut self, now: Instant, frames: Vec<u8>) {
        if !frames.is_empty() {
            self.hold(now, What::Answers(frames));
        }
    }

    fn beat(&mut self, switches: Switches, now: Instant) {
        let due = self.ticker.as_mut().is_some_and(|ticker| ticker.tick(now));
        if due && self.ended.is_none() && !switches.stop_heartbeats {
            self.wire.put(HEARTBEAT);
        }
    }

    /// Lets go what has been held back long enough. Whether there was a layer among it.
    fn release(&mut self, switches: Switches, now: Instant) -> bool {
        let mut layers = false;
        while self.next_release(switches).is_some_and(|at| at <= now) {
            match self.held.pop_front().map(|held| held.what) {
                Some(What::Answers(frames)) => {
                    self.wire.put(&frames);
                    self.answered = self.wire.out.len();
                }
                Some(What::Messages(frames)) => self.wire.put(&frames),
                Some(What::Layer(layer)) => {
                    self.wire.put_on(layer);
                    self.read_deadline = None;
                    layers = true;
                }
                None => {}
            }
        }
        if let Some(Ended::Cut(_)) = self.ended {
            self.held.clear();
        }
        layers
    }

    fn next_release(&self, switches: Switches) -> Option<Instant> {
        let first = self.held.front().filter(|_| !switches.stall)?;
        first.since.checked_add(switches.delay)
    }

    /// Gives the socket what it takes; an error when it has taken nothing for a heartbeat interval.
    fn write(&mut self, now: Instant) -> io::Result<()> {
        while !self.wire.out.is_empty() {
            match self.wire.write(&self.stream) {
                Ok(n) => {
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
            self.read_deadline = self.read_deadline.filter(|_| self.wire.is_handshaking());
        }
        Ok(())
    }

    fn interest(&self, switches: Switches) -> Option<Interest> {
        let write = (!self.wire.out.is_empty()).then_some(Interest::WRITABLE);
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
