//! Faults: making an embedded nsqd misbehave.

use std::time::Duration;

use bytes::Bytes;

use super::{
    fault_state::{CloseMode, Cut, FaultState, OneShotFault, Reaction, Remaining},
    handle::EmbeddedNsqd,
    state::Control,
};

/// Faults.
impl EmbeddedNsqd {
    /// Returns the faults that can be switched on.
    pub fn faults(&self) -> Faults<'_> {
        Faults { nsqd: self }
    }
}

/// The faults of an [`EmbeddedNsqd`], from [`EmbeddedNsqd::faults`].
///
/// A fault takes effect when its method returns: whatever a client sends afterwards is subject to
/// it. There are three kinds:
///
/// - **Persistent faults** stay active until they are switched off:
///   [`refuse_connections`](Self::refuse_connections), [`stall`](Self::stall),
///   [`freeze`](Self::freeze), [`stop_reading`](Self::stop_reading),
///   [`stop_heartbeats`](Self::stop_heartbeats), [`delay_responses`](Self::delay_responses).
/// - **One-shot faults** apply once: [`fail_next`](Self::fail_next),
///   [`fail_after_storing`](Self::fail_after_storing), [`respond_next`](Self::respond_next), and
///   the cuts: [`close_after_commands`](Self::close_after_commands),
///   [`reset_after_commands`](Self::reset_after_commands),
///   [`close_after_bytes`](Self::close_after_bytes),
///   [`reset_after_bytes`](Self::reset_after_bytes). There is one cut at a time; a new one replaces
///   it.
/// - **Immediate faults** happen during the call: [`send_raw`](Self::send_raw),
///   [`send_to_socket`](Self::send_to_socket), [`close_connections`](Self::close_connections),
///   [`reset_connections`](Self::reset_connections).
///
/// On a connection with TLS or compression, faults of commands and responses apply inside these
/// layers, and [`close_after_bytes`](Self::close_after_bytes) counts the bytes on the socket.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # use actix_nsq::embedded::EmbeddedNsqd;
/// let nsqd = EmbeddedNsqd::start()?;
/// nsqd.faults().stall(true);
/// // Publishes are stored, but get no response. New clients wait in their handshake.
/// nsqd.faults().stall(false);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Faults<'a> {
    nsqd: &'a EmbeddedNsqd,
}

impl Faults<'_> {
    /// Stops listening: connection attempts fail with `ECONNREFUSED`. Open connections stay open.
    ///
    /// The port stays reserved on Linux. On other systems another process may take it; then this
    /// nsqd stays unreachable and logs an error.
    pub fn refuse_connections(&self, on: bool) {
        self.change(|faults| faults.refuse_connections = on);
        if let Err(error) = self.nsqd.update_listener() {
            log::error!("embedded nsqd: cannot listen again: {error}");
        }
    }

    /// Executes commands but holds back responses and messages until switched off, like an nsqd
    /// with a slow disk. Heartbeats continue.
    ///
    /// TLS handshakes complete, but the `OK` that follows is held back. A connection that the
    /// client closes meanwhile is closed without its responses.
    pub fn stall(&self, on: bool) {
        self.change(|faults| faults.persistent.stall = on);
    }

    /// Neither reads nor writes, and lets nothing time out, like an nsqd that was sent SIGSTOP. The
    /// kernel still accepts connections.
    ///
    /// When switched off, nsqd first reads what was sent meanwhile, and then closes the connections
    /// of clients that sent nothing for two heartbeat intervals.
    pub fn freeze(&self, on: bool) {
        self.change(|faults| faults.persistent.freeze = on);
    }

    /// Stops reading, like an nsqd that is busy with one command. Heartbeats and responses to
    /// earlier commands continue. No client times out meanwhile.
    pub fn stop_reading(&self, on: bool) {
        self.change(|faults| faults.persistent.stop_reading = on);
    }

    /// Sends no heartbeats. When switched off, they continue with their old period.
    pub fn stop_heartbeats(&self, on: bool) {
        self.change(|faults| faults.persistent.stop_heartbeats = on);
    }

    /// Delays all responses and messages, like a network with high latency. Reading, execution and
    /// heartbeats continue. `Duration::ZERO` switches this off and sends delayed responses at once.
    pub fn delay_responses(&self, delay: Duration) {
        self.change(|faults| faults.persistent.delay = delay);
    }

    /// Fails the next command with this name (such as `"PUB"`) on any connection: does not execute
    /// it, and responds with this error.
    ///
    /// Then closes the connection without executing what was pipelined behind the command, unless
    /// the error is one of those after which nsqd keeps the connection open (`E_FIN_FAILED`,
    /// `E_REQ_FAILED`, `E_TOUCH_FAILED`).
    ///
    /// Several faults for the same command apply one after the other. They skip commands that nsqd
    /// rejects because of an invalid line or size.
    ///
    /// ```
    /// # fn main() -> std::io::Result<()> {
    /// # use actix_nsq::embedded::EmbeddedNsqd;
    /// let nsqd = EmbeddedNsqd::start()?;
    /// nsqd.faults().fail_next("PUB", "E_PUB_FAILED PUB failed exiting");
    /// // The next PUB fails and stores nothing; the one after it succeeds.
    /// # Ok(())
    /// # }
    /// ```
    pub fn fail_next(&self, command: &str, error: &str) {
        self.fail_after_storing(command, error, 0);
    }

    /// Like [`fail_next`](Self::fail_next), but stores the first `stored` messages of the command:
    /// 1 for a PUB that fails although its message is stored, or some of an MPUB, as an nsqd with a
    /// full disk does (`E_MPUB_FAILED`).
    pub fn fail_after_storing(&self, command: &str, error: &str, stored: usize) {
        self.add_one_shot(
            command,
            Reaction::Fail {
                error: error.into(),
                stored,
            },
        );
    }

    /// Executes the next command with this name, and sends these bytes, which need not be a frame,
    /// instead of the response. Empty bytes: no response.
    ///
    /// Also applies to a command that cannot be executed, such as AUTH without an auth function, or
    /// FIN before SUB. The connection stays open.
    ///
    /// If the bytes replace the response to IDENTIFY, nsqd behaves as they announce, as far as it
    /// can: if they start with a response frame whose JSON contains `"tls_v1":true`,
    /// `"snappy":true` or `"deflate":true`, that layer and its `OK` follow, even if the client did
    /// not ask for it; otherwise no layer follows. This way nsqd can
    ///
    /// - decline a required layer, and read the commands in clear text (`"tls_v1":false`);
    /// - announce TLS without having a certificate: then it reads the handshake as commands;
    /// - send clear text, behind the JSON, where the client expects TLS.
    pub fn respond_next(&self, command: &str, bytes: impl AsRef<[u8]>) {
        self.add_one_shot(command, Reaction::Respond(bytes.as_ref().to_vec()));
    }

    /// Closes the connection that sends the `n`th command from now on. Commands of all connections
    /// count, including rejected ones, but not NOP, because the number of heartbeats depends on
    /// timing.
    ///
    /// The `n`th command **is executed but gets no response**. The commands before it get theirs,
    /// unless [`stall`](Self::stall) or [`delay_responses`](Self::delay_responses) hold them back;
    /// then they are lost. Commands behind it are not executed.
    ///
    /// 0 closes the next connection that is opened or sends anything.
    pub fn close_after_commands(&self, n: u64) {
        self.cut(Remaining::Commands(n), CloseMode::Close);
    }

    /// Like [`close_after_commands`](Self::close_after_commands), but resets the connection (RST).
    pub fn reset_after_commands(&self, n: u64) {
        self.cut(Remaining::Commands(n), CloseMode::Reset);
    }

    /// Closes the connection that sends the `n`th byte from now on. All bytes of all connections
    /// count, including the magic, NOP and TLS handshakes. With TLS or compression, bytes on the
    /// socket count.
    ///
    /// Commands that are complete within the `n` bytes are executed. Those that the `n`th byte
    /// completes **get no response**; with TLS or compression these may be several. Incomplete
    /// commands and later bytes are ignored.
    ///
    /// 0 closes the next connection that is opened or sends anything.
    pub fn close_after_bytes(&self, n: u64) {
        self.cut(Remaining::Bytes(n), CloseMode::Close);
    }

    /// Like [`close_after_bytes`](Self::close_after_bytes), but resets the connection (RST).
    pub fn reset_after_bytes(&self, n: u64) {
        self.cut(Remaining::Bytes(n), CloseMode::Reset);
    }

    /// Sends these bytes to all open connections now, through their layers and between two frames:
    /// for example an unexpected response, an incomplete frame, or garbage.
    /// [`stall`](Self::stall) and [`delay_responses`](Self::delay_responses) do not hold them back.
    pub fn send_raw(&self, bytes: impl AsRef<[u8]>) {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        self.nsqd
            .control_all(|done| Control::Send(bytes.clone(), done));
    }

    /// Like [`send_raw`](Self::send_raw), but bypasses TLS and compression: the client reads these
    /// bytes where it expects a TLS record or compressed data.
    pub fn send_to_socket(&self, bytes: impl AsRef<[u8]>) {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        self.nsqd
            .control_all(|done| Control::SendToSocket(bytes.clone(), done));
    }

    /// Closes all open connections, and waits until that is done. The kernel sends RST instead of
    /// FIN if received bytes are unread.
    pub fn close_connections(&self) {
        self.nsqd.control_all(Control::Close);
    }

    /// Resets (RST) all open connections, and waits until that is done.
    pub fn reset_connections(&self) {
        self.nsqd.control_all(Control::Reset);
    }

    /// Switches off all persistent faults, and removes one-shot faults that did not apply yet. A
    /// stopped nsqd stays stopped.
    pub fn clear(&self) {
        self.change(|faults| *faults = FaultState::default());
        self.refuse_connections(false);
    }

    fn change(&self, change: impl FnOnce(&mut FaultState)) {
        change(&mut self.nsqd.shared.state().faults);
        self.nsqd.shared.fault_changes.send_replace(());
    }

    fn add_one_shot(&self, command: &str, reaction: Reaction) {
        self.change(|faults| {
            faults.one_shot.push_back(OneShotFault {
                command: command.into(),
                reaction,
            })
        });
    }

    fn cut(&self, remaining: Remaining, mode: CloseMode) {
        self.change(|faults| faults.cut = Some(Cut { remaining, mode }));
    }
}
