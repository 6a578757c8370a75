//! The task of one connection: socket, timers and faults around its session and layers.

use std::{collections::VecDeque, future, io, sync::Arc, sync::mpsc, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{Interest, Ready},
    net::TcpStream,
    select,
    sync::mpsc::UnboundedReceiver,
    task,
    time::{Instant, sleep_until},
};

use super::{
    fault_state::{CloseMode, PersistentFaults},
    frame::{self, HEARTBEAT, OK},
    output_buffer::OutputBuffer,
    session::{ConnectionEnd, Session},
    state::{Control, Shared, State},
    ticker::Ticker,
    upgrade::{Compression, Upgrade},
    wire::{Compressed, Decoded, Layer, Wire, tls::Tls},
};

/// nsqd's timeout for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of reads after which the task yields to other connections.
const MAX_CONSECUTIVE_READS: usize = 16;

/// Serves a connection until it is closed.
pub(super) async fn serve(
    stream: TcpStream,
    number: u64,
    mut control: UnboundedReceiver<Control>,
    shared: Arc<Shared>,
) {
    let mut connection = Connection {
        session: Session::new(number, &shared.options),
        shared: Arc::clone(&shared),
        stream,
        wire: Wire::default(),
        compression_after_tls: None,
        queued: VecDeque::new(),
        output_buffer: OutputBuffer::default(),
        unsent_responses: 0,
        more_messages: false,
        end: None,
        input_ended: false,
        ticker: None,
        ticker_identified: None,
        read_deadline: None,
        write_deadline: None,
        consecutive_reads: 0,
    };
    let (mode, done) = connection.run(&mut control).await;
    if mode == CloseMode::Reset {
        // Without linger time the kernel resets. Fails only if the socket is closed already.
        let _ = SockRef::from(&connection.stream).set_linger(Some(Duration::ZERO));
    }
    // The order matters: close the socket, then report it, then complete the `Control` requests.
    drop(connection);
    shared.state().close_connection(number);
    shared.changes.send_replace(());
    drop((done, control));
}

struct Connection {
    session: Session,
    shared: Arc<Shared>,
    stream: TcpStream,
    wire: Wire,
    /// The compression to add when the TLS handshake is complete.
    compression_after_tls: Option<Compression>,
    /// Output that a fault may delay.
    queued: VecDeque<QueuedOutput>,
    /// Messages that wait, with `realistic_timing`.
    output_buffer: OutputBuffer,
    /// Number of bytes of `wire.outgoing` up to the end of the last response. They are written
    /// before anything is read, because nsqd responds before it reads on. (It sends heartbeats and
    /// messages from another task.)
    unsent_responses: usize,
    /// Whether the channel may have more messages to take.
    more_messages: bool,
    end: Option<ConnectionEnd>,
    /// Whether the client closed its side.
    input_ended: bool,
    ticker: Option<Ticker>,
    /// Whether the session was identified when `ticker` was set: it is set by the magic, and again
    /// by the first IDENTIFY.
    ticker_identified: Option<bool>,
    read_deadline: Option<Instant>,
    write_deadline: Option<Instant>,
    consecutive_reads: usize,
}

struct QueuedOutput {
    since: Instant,
    output: Output,
}

enum Output {
    Responses(Vec<u8>),
    Messages(Vec<u8>),
    /// Output behind it passes through one more layer.
    Layer(Layer),
}

impl Connection {
    /// Returns how to close the socket, and the sender of the `Control` request that asked for it.
    async fn run(
        &mut self,
        control: &mut UnboundedReceiver<Control>,
    ) -> (CloseMode, Option<mpsc::Sender<()>>) {
        let mut fault_changes = self.shared.fault_changes.subscribe();
        let messages = Arc::clone(&self.session.wake);
        let mut timer = Box::pin(sleep_until(Instant::now()));
        // A cut after 0 commands or bytes applies to a new connection.
        if let Some(mode) = self.shared.state().faults.take_elapsed_cut() {
            return (mode, None);
        }
        loop {
            let faults = self.shared.state().faults.persistent;
            if !faults.freeze
                && let Some(mode) = self.advance(faults)
            {
                return (mode, None);
            }
            let more = self.more_messages && self.wire.outgoing.is_empty() && !faults.freeze;
            if more || self.consecutive_reads >= MAX_CONSECUTIVE_READS {
                self.consecutive_reads = 0;
                task::yield_now().await;
            }
            let wake = self.next_wake(faults);
            if let Some(wake) = wake
                && timer.deadline() != wake
            {
                timer.as_mut().reset(wake);
            }
            let interest = self.interest(faults);
            select! {
                biased;
                request = control.recv() => match request {
                    Some(Control::Send(bytes, done)) => {
                        self.flush_output_buffer();
                        self.wire.encode(&bytes);
                        self.unsent_responses = self.wire.outgoing.len();
                        drop(done);
                    }
                    Some(Control::SendToSocket(bytes, done)) => {
                        self.flush_output_buffer();
                        self.wire.outgoing.extend_from_slice(&bytes);
                        self.unsent_responses = self.wire.outgoing.len();
                        drop(done);
                    }
                    Some(Control::Close(done)) => return (CloseMode::Close, Some(done)),
                    Some(Control::Reset(done)) => return (CloseMode::Reset, Some(done)),
                    None => return (CloseMode::Close, None),
                },
                _ = fault_changes.changed() => {}
                () = messages.notified() => {}
                ready = ready(&self.stream, interest) => if ready.is_err() {
                    return (CloseMode::Close, None);
                },
                () = timer.as_mut(), if wake.is_some() => {}
                () = future::ready(()), if more => {}
            }
        }
    }

    /// Does everything that can be done without waiting. Returns how to close the socket when
    /// nothing remains to be done.
    fn advance(&mut self, faults: PersistentFaults) -> Option<CloseMode> {
        // Reads before it checks the deadline: after a `freeze` it accepts what was sent in time.
        if self.may_read(faults) && self.read(faults).is_err() {
            return Some(CloseMode::Close);
        }
        if self.session.held {
            self.resume(faults);
        }
        let now = Instant::now();
        self.take_messages(now);
        self.send_heartbeat(faults, now);
        self.check_read_deadline(faults, now);
        while self.send_queued(faults, now) && self.wire.uncounted > 0 && self.end.is_none() {
            // This input arrived before its layer was added.
            self.execute();
        }
        self.check_output_buffer(now);
        if self.read_deadline.is_none() {
            self.check_read_deadline(faults, now);
        }
        if self.write(now).is_err() {
            return Some(CloseMode::Close);
        }
        let (ConnectionEnd::AfterOutput(mode) | ConnectionEnd::Immediate(mode)) = self.end?;
        (self.wire.outgoing.is_empty() && self.queued.is_empty()).then_some(mode)
    }

    fn may_read(&self, faults: PersistentFaults) -> bool {
        self.end.is_none()
            && self.unsent_responses == 0
            && !faults.stop_reading
            && !self.session.held
    }

    fn read(&mut self, faults: PersistentFaults) -> io::Result<()> {
        let mut end_of_input = false;
        match self.wire.read(&self.stream) {
            Ok(true) => self.consecutive_reads += 1,
            Ok(false) => end_of_input = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.consecutive_reads = 0,
            Err(error) => return Err(error),
        }
        if self.wire.uncounted > 0 {
            self.execute();
        }
        if end_of_input && self.end.is_none() {
            self.client_closed(Instant::now());
        }
        if self.input_ended && faults.stall {
            // Drops the output that `stall` holds back, so that the connection closes now.
            self.queued.clear();
        }
        Ok(())
    }

    /// Executes the input.
    fn execute(&mut self) {
        if self.is_waiting_for_layer() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        // Checked again under the lock: input that was sent after the fault was switched on must
        // not be executed.
        if state.faults.persistent.freeze || state.faults.persistent.stop_reading {
            return;
        }
        self.count_and_process(&mut state);
        drop(state);
        self.shared.changes.send_replace(());

        let session = &self.session;
        if session.magic && self.ticker_identified != Some(session.identified) {
            self.ticker_identified = Some(session.identified);
            let now = Instant::now();
            self.ticker = session
                .heartbeat_period
                .and_then(|period| Ticker::new(now, period));
            let timeout = session.negotiated.output_buffer_timeout();
            self.output_buffer.set_timeout(now, timeout);
        }
    }

    /// Whether input must wait, because a layer for it is queued behind a response.
    fn is_waiting_for_layer(&self) -> bool {
        self.queued
            .iter()
            .any(|queued| matches!(queued.output, Output::Layer(_)))
    }

    /// Counts the bytes read, processes them, and cuts the connection if a fault says so.
    fn count_and_process(&mut self, state: &mut State) {
        let received = std::mem::take(&mut self.wire.uncounted);
        state.bytes_received += u64::try_from(received).unwrap_or(u64::MAX);
        if let Some(mode) = state.faults.take_elapsed_cut() {
            self.end = Some(ConnectionEnd::Immediate(mode));
            return;
        }
        let Some((accepted, mode)) = state.faults.count_bytes(received) else {
            self.process(state);
            return;
        };
        let accepted = (self.wire.incoming.len() + accepted).saturating_sub(received);
        self.wire.incoming.truncate(accepted);
        let last = self.wire.incoming.split_off(accepted.saturating_sub(1));
        self.process(state);
        if self.end.is_none() {
            self.wire.incoming.unsplit(last);
            let queued = self.queued.len();
            self.process(state);
            // Commands completed by the last byte get no response.
            self.queued.truncate(queued);
        }
        self.end = Some(ConnectionEnd::Immediate(mode));
    }

    /// Decodes and executes the input.
    fn process(&mut self, state: &mut State) {
        let now = Instant::now();
        while self.end.is_none() && !self.is_waiting_for_layer() && !self.session.held {
            match self.wire.decode(&mut self.session.input) {
                Ok(Decoded::Nothing) => return,
                Ok(Decoded::Bytes) => self.execute_input(state, now),
                Ok(Decoded::TlsEstablished) => {
                    self.read_deadline = None;
                    self.tls_established(state, now);
                    self.add_compression(state, now);
                }
                Ok(Decoded::TlsClosed) => return self.client_closed(now),
                Err(reason) if self.wire.is_handshaking() => {
                    return self.handshake_failed(&reason, now);
                }
                // nsqd treats a broken layer like the end of the input.
                Err(_) => return self.end_of_input(now),
            }
        }
    }

    fn execute_input(&mut self, state: &mut State, now: Instant) {
        let batch = self.session.execute_input(state, &self.shared.options);
        self.respond(now, batch.responses);
        self.end = batch.end;
        if batch.commands > 0 || self.session.held {
            self.read_deadline = None;
        }
        if let Some(upgrade) = batch.upgrade {
            self.upgrade(upgrade, state, now);
        }
    }

    /// Continues with the command that has created a topic, if the topic has started.
    fn resume(&mut self, faults: PersistentFaults) {
        if self.end.is_some() || faults.stop_reading {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        self.execute_input(&mut state, Instant::now());
        if !self.session.held {
            self.process(&mut state);
        }
        drop(state);
        shared.changes.send_replace(());
    }

    /// Queues the layers that an IDENTIFY turned on, behind the response to it.
    fn upgrade(&mut self, Upgrade { tls, compression }: Upgrade, state: &mut State, now: Instant) {
        self.wire.discard_read_ahead();
        self.compression_after_tls = compression;
        let config = self.shared.options.tls.as_ref().filter(|_| tls);
        match config.map(Tls::new) {
            Some(Ok(tls)) => self.queue(now, Output::Layer(Layer::Tls(tls))),
            Some(Err(reason)) => self.handshake_failed(&reason, now),
            None => self.add_compression(state, now),
        }
    }

    fn tls_established(&mut self, state: &mut State, now: Instant) {
        let Some(tls) = self.wire.tls() else { return };
        self.session.common_name = tls.common_name();
        if let Some(connection) = state.connections.get_mut(&self.session.number) {
            connection.tls = Some(tls.version());
        }
        self.respond(now, OK.to_vec());
    }

    fn add_compression(&mut self, state: &mut State, now: Instant) {
        let compression = self.compression_after_tls.take();
        let Some(compressed) = compression.and_then(Compressed::new) else {
            return;
        };
        self.queue(now, Output::Layer(Layer::Compressed(compressed)));
        self.respond(now, OK.to_vec());
        if let Some(connection) = state.connections.get_mut(&self.session.number) {
            connection.compression = compression;
        }
    }

    fn handshake_failed(&mut self, reason: &str, now: Instant) {
        self.wire.remove_tls();
        self.end = Some(ConnectionEnd::AfterOutput(CloseMode::Close));
        let mut response = Vec::new();
        let text = format!("E_IDENTIFY_FAILED IDENTIFY failed {reason}");
        frame::error(&mut response, text.as_bytes());
        self.respond(now, response);
    }

    fn client_closed(&mut self, now: Instant) {
        self.input_ended = true;
        self.end_of_input(now);
    }

    fn end_of_input(&mut self, now: Instant) {
        if self.wire.is_handshaking() {
            let reason = if self.wire.is_within_record() {
                "unexpected EOF"
            } else {
                "EOF"
            };
            return self.handshake_failed(reason, now);
        }
        self.end = Some(ConnectionEnd::AfterOutput(CloseMode::Close));
        self.read_deadline = None;
        let response = self.session.end_of_input();
        self.respond(now, response);
    }

    /// The negotiated heartbeat interval; `None` before the magic, which nsqd awaits without a
    /// deadline.
    fn heartbeat(&self) -> Option<Duration> {
        self.session
            .negotiated
            .heartbeat
            .filter(|_| self.session.magic)
    }

    /// Sets the read deadline, or ends the connection when it has passed. nsqd sets it once before
    /// each command line, so that a slow body exceeds it even while bytes arrive.
    fn check_read_deadline(&mut self, faults: PersistentFaults, now: Instant) {
        match self.read_deadline {
            _ if self.end.is_some() || faults.stop_reading || self.session.held => {
                self.read_deadline = None;
            }
            None => {
                let timeout = if self.wire.is_handshaking() {
                    Some(HANDSHAKE_TIMEOUT)
                } else {
                    self.heartbeat().map(|interval| interval.saturating_mul(2))
                };
                self.read_deadline = timeout.and_then(|timeout| now.checked_add(timeout));
            }
            Some(deadline) if deadline <= now => self.read_timed_out(now),
            Some(_) => {}
        }
    }

    fn read_timed_out(&mut self, now: Instant) {
        if self.wire.is_handshaking() {
            let addresses = (self.stream.local_addr(), self.stream.peer_addr());
            let (Ok(here), Ok(there)) = addresses else {
                return self.handshake_failed("i/o timeout", now);
            };
            self.handshake_failed(&format!("read tcp {here}->{there}: i/o timeout"), now);
        } else {
            self.end_of_input(now);
        }
    }

    /// Takes messages from the channel once the socket has accepted all earlier output.
    fn take_messages(&mut self, now: Instant) {
        self.more_messages = false;
        if self.end.is_some() || !self.session.is_subscribed() {
            return;
        }
        if !self.wire.outgoing.is_empty() {
            self.more_messages = true;
            return;
        }
        let frames;
        (frames, self.more_messages) = self.session.take_messages(&mut self.shared.state());
        if !frames.is_empty() {
            self.shared.changes.send_replace(());
            self.queue(now, Output::Messages(frames));
        }
    }

    fn queue(&mut self, since: Instant, output: Output) {
        self.queued.push_back(QueuedOutput { since, output });
    }

    fn respond(&mut self, now: Instant, frames: Vec<u8>) {
        if !frames.is_empty() {
            self.queue(now, Output::Responses(frames));
        }
    }

    fn send_heartbeat(&mut self, faults: PersistentFaults, now: Instant) {
        let due = self.ticker.as_mut().is_some_and(|ticker| ticker.tick(now));
        if due && self.end.is_none() && !faults.stop_heartbeats {
            self.flush_output_buffer();
            self.wire.encode(HEARTBEAT);
        }
    }

    /// Sends the queued output that no fault holds back. Returns whether it added a layer.
    fn send_queued(&mut self, faults: PersistentFaults, now: Instant) -> bool {
        let mut added_layer = false;
        while self.next_output(faults).is_some_and(|at| at <= now) {
            match self.queued.pop_front().map(|queued| queued.output) {
                Some(Output::Responses(frames)) => {
                    self.flush_output_buffer();
                    self.wire.encode(&frames);
                    self.unsent_responses = self.wire.outgoing.len();
                }
                Some(Output::Messages(frames)) => self.send_messages(&frames),
                Some(Output::Layer(layer)) => {
                    self.wire.add(layer);
                    self.read_deadline = None;
                    added_layer = true;
                }
                None => {}
            }
        }
        if let Some(ConnectionEnd::Immediate(_)) = self.end {
            self.queued.clear();
        }
        added_layer
    }

    fn send_messages(&mut self, frames: &[u8]) {
        if self.shared.options.realistic_timing {
            let size = self.session.negotiated.output_buffer_size();
            let excess = self.output_buffer.add(frames, size);
            self.encode(&excess);
        } else {
            self.wire.encode(frames);
        }
    }

    fn flush_output_buffer(&mut self) {
        let frames = self.output_buffer.flush();
        self.encode(&frames);
    }

    /// Sends the messages in the output buffer if their time has come.
    fn check_output_buffer(&mut self, now: Instant) {
        if self.output_buffer.is_empty() {
            return;
        }
        let is_ready = self.session.is_ready(&mut self.shared.state());
        let frames = self.output_buffer.flush_if_due(now, is_ready);
        self.encode(&frames);
    }

    fn encode(&mut self, frames: &[u8]) {
        if !frames.is_empty() {
            self.wire.encode(frames);
        }
    }

    fn next_output(&self, faults: PersistentFaults) -> Option<Instant> {
        let first = self.queued.front().filter(|_| !faults.stall)?;
        first.since.checked_add(faults.delay)
    }

    /// Writes what the socket accepts. Fails if it has accepted nothing for a heartbeat interval.
    fn write(&mut self, now: Instant) -> io::Result<()> {
        while !self.wire.outgoing.is_empty() {
            match self.wire.write(&self.stream) {
                Ok(n) => {
                    self.unsent_responses = self.unsent_responses.saturating_sub(n);
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
            // nsqd blocks while it writes, and sets a new read deadline before it reads on.
            self.read_deadline = self.read_deadline.filter(|_| self.wire.is_handshaking());
        }
        Ok(())
    }

    fn interest(&self, faults: PersistentFaults) -> Option<Interest> {
        let write = (!self.wire.outgoing.is_empty()).then_some(Interest::WRITABLE);
        let read = self.may_read(faults).then_some(Interest::READABLE);
        let both = write.zip(read).map(|(write, read)| write | read);
        both.or(write).or(read).filter(|_| !faults.freeze)
    }

    fn next_wake(&self, faults: PersistentFaults) -> Option<Instant> {
        let heartbeat = self.ticker.as_ref().map(|ticker| ticker.next);
        let times = [
            heartbeat,
            self.read_deadline,
            self.write_deadline,
            self.next_output(faults),
            self.output_buffer.due(),
        ];
        times.into_iter().flatten().min().filter(|_| !faults.freeze)
    }
}

async fn ready(stream: &TcpStream, interest: Option<Interest>) -> io::Result<Ready> {
    match interest {
        Some(interest) => stream.ready(interest).await,
        None => future::pending().await,
    }
}
