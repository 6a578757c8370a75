//! The way in: from the socket through the layers to the session, and what comes of it.

use std::{io, sync::Arc};

use tokio::time::Instant;

use super::{Connection, Held, What};
use crate::embedded::{
    identify::Upgrade,
    misbehaviour::{Ending, Switches},
    session::{Ended, OK, Session},
    state::State,
    ticker::Ticker,
    wire::{Came, Compressed, Layer, tls::Tls},
};

impl Connection {
    pub(super) fn may_read(&self, switches: Switches) -> bool {
        self.ended.is_none() && self.answered == 0 && !switches.stop_reading
    }

    pub(super) fn read(&mut self, switches: Switches) -> io::Result<()> {
        let mut end_of_input = false;
        match self.wire.read(&self.stream) {
            Ok(true) => self.reads += 1,
            Ok(false) => end_of_input = true,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.reads = 0,
            Err(error) => return Err(error),
        }
        if self.wire.unseen > 0 {
            self.execute();
        }
        if end_of_input && self.ended.is_none() {
            self.hang_up(Instant::now());
        }
        if self.client_is_gone && switches.stall {
            // Nobody is left to hear them, and the connection shall not seem open until the
            // stall is over.
            self.held.clear();
        }
        Ok(())
    }

    /// Executes what was read.
    pub(super) fn execute(&mut self) {
        if self.waits_for_a_layer() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state();
        let Switches {
            freeze,
            stop_reading,
            ..
        } = state.misbehaviour.switches;
        // Looked at again under the lock: nothing that was sent after the switch may be executed.
        if freeze || stop_reading {
            return;
        }
        self.count_and_process(&mut state);
        drop(state);
        self.shared.news.send_replace(());

        let now = Instant::now();
        let session = &self.session;
        if session.magic && self.ticks_as_identified != Some(session.identified) {
            self.ticks_as_identified = Some(session.identified);
            self.ticker = session
                .ticker
                .and_then(|interval| Ticker::new(now, interval));
        }
    }

    /// What comes now is for a layer that is to be put on behind an answer that is held back.
    fn waits_for_a_layer(&self) -> bool {
        let is_layer = |held: &Held| matches!(held.what, What::Layer(_));
        self.held.iter().any(is_layer)
    }

    fn count_and_process(&mut self, state: &mut State) {
        let received = std::mem::take(&mut self.wire.unseen);
        state.bytes_received += u64::try_from(received).unwrap_or(u64::MAX);
        if let Some(ending) = state.misbehaviour.used_up() {
            self.ended = Some(Ended::Cut(ending));
            return;
        }
        let Some((heard, ending)) = state.misbehaviour.count_bytes(received) else {
            self.process(state);
            return;
        };
        let heard = (self.wire.incoming.len() + heard).saturating_sub(received);
        self.wire.incoming.truncate(heard);
        let last = self.wire.incoming.split_off(heard.saturating_sub(1));
        self.process(state);
        if self.ended.is_none() {
            self.wire.incoming.unsplit(last);
            let answered = self.held.len();
            self.process(state);
            // What the last byte has completed is not answered.
            self.held.truncate(answered);
        }
        self.ended = Some(Ended::Cut(ending));
    }

    /// Brings what was read through the layers, and executes it.
    fn process(&mut self, state: &mut State) {
        let now = Instant::now();
        while self.ended.is_none() && !self.waits_for_a_layer() {
            match self.wire.decode(&mut self.session.input) {
                Ok(Came::Nothing) => return,
                Ok(Came::Bytes) => {
                    let batch = self.session.execute_all(state, &self.shared.options);
                    self.answer(now, batch.answers);
                    self.ended = batch.end;
                    if batch.commands > 0 {
                        self.read_deadline = None;
                    }
                    if let Some(upgrade) = batch.upgrade {
                        self.upgrade(upgrade, state, now);
                    }
                }
                Ok(Came::Handshake) => {
                    self.read_deadline = None;
                    self.handshaken(state, now);
                    self.compress(state, now);
                }
                Ok(Came::End) => return self.hang_up(now),
                Err(why) if self.wire.is_handshaking() => return self.fail_handshake(&why, now),
                // nsqd takes it for the end of the input.
                Err(_) => return self.end_of_input(now),
            }
        }
    }

    /// Puts the layers on that an IDENTIFY was answered with, each behind what goes without it.
    fn upgrade(&mut self, Upgrade { tls, compression }: Upgrade, state: &mut State, now: Instant) {
        self.wire.forget_what_was_read();
        self.behind_tls = compression;
        let config = self.shared.options.tls.as_ref().filter(|_| tls);
        match config.map(Tls::new) {
            Some(Ok(tls)) => self.hold(now, What::Layer(Layer::Tls(tls))),
            Some(Err(why)) => self.fail_handshake(&why, now),
            None => self.compress(state, now),
        }
    }

    fn handshaken(&mut self, state: &mut State, now: Instant) {
        let Some(tls) = self.wire.tls() else { return };
        self.session.common_name = tls.common_name();
        if let Some(connection) = state.connections.get_mut(&self.session.number) {
            connection.tls = Some(tls.version());
        }
        self.answer(now, OK.to_vec());
    }

    fn compress(&mut self, state: &mut State, now: Instant) {
        let compression = self.behind_tls.take();
        let Some(compressed) = compression.and_then(Compressed::new) else {
            return;
        };
        self.hold(now, What::Layer(Layer::Compressed(compressed)));
        self.answer(now, OK.to_vec());
        if let Some(connection) = state.connections.get_mut(&self.session.number) {
            connection.compression = compression;
        }
    }

    fn fail_handshake(&mut self, why: &str, now: Instant) {
        self.wire.take_off_tls();
        self.ended = Some(Ended::Refused(Ending::Close));
        let answer = Session::refusal(&format!("E_IDENTIFY_FAILED IDENTIFY failed {why}"));
        self.answer(now, answer);
    }

    pub(super) fn out_of_time(&mut self, now: Instant) {
        if self.wire.is_handshaking() {
            let addresses = (self.stream.local_addr(), self.stream.peer_addr());
            let (Ok(here), Ok(there)) = addresses else {
                return self.fail_handshake("i/o timeout", now);
            };
            self.fail_handshake(&format!("read tcp {here}->{there}: i/o timeout"), now);
        } else {
            self.end_of_input(now);
        }
    }

    fn hang_up(&mut self, now: Instant) {
        self.client_is_gone = true;
        self.end_of_input(now);
    }

    fn end_of_input(&mut self, now: Instant) {
        if self.wire.is_handshaking() {
            let within = self.wire.is_within_a_record();
            return self.fail_handshake(if within { "unexpected EOF" } else { "EOF" }, now);
        }
        self.ended = Some(Ended::Refused(Ending::Close));
        self.read_deadline = None;
        let answer = self.session.cut_short();
        self.answer(now, answer);
    }
}
