//! Making an embedded nsqd misbehave.

use std::time::Duration;

use bytes::Bytes;

use super::{
    EmbeddedNsqd,
    misbehaviour::{Cut, Ending, Left, Misbehaviour, Planned, Reaction},
    state::Order,
};

/// The faults of an [`EmbeddedNsqd`]; got from [`EmbeddedNsqd::faults`].
///
/// Every one can be switched at any time, and holds from the moment its method returns: what a
/// client sends after that meets the fault. There are three kinds:
///
/// - **switches** stay on until they are switched off:
///   [`refuse_connections`](Self::refuse_connections), [`stall`](Self::stall),
///   [`freeze`](Self::freeze), [`stop_reading`](Self::stop_reading),
///   [`stop_heartbeats`](Self::stop_heartbeats), [`delay_responses`](Self::delay_responses);
/// - **traps** happen once: [`fail_next`](Self::fail_next), [`fail_after_storing`](Self::fail_after_storing),
///   [`respond_next`](Self::respond_next), and the cuts,
///   [`close_after_commands`](Self::close_after_commands) and its three relatives;
/// - **blows** happen now: [`send_raw`](Self::send_raw), [`send_to_socket`](Self::send_to_socket),
///   [`close_connections`](Self::close_connections),
///   [`reset_connections`](Self::reset_connections).
///
/// On a connection inside TLS or compression, commands, answers and frames are what is inside, and go through the layers
/// as ever. Bytes that are counted are those on the wire: encrypted, and compressed.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # use actix_nsq::embedded::EmbeddedNsqd;
/// let nsqd = EmbeddedNsqd::start()?;
/// nsqd.faults().stall(true);
/// // ... what connected clients publish now is stored, and not answered; new ones wait in their handshake ...
/// nsqd.faults().stall(false);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Faults<'a> {
    nsqd: &'a EmbeddedNsqd,
}

impl<'a> Faults<'a> {
    pub(super) fn new(nsqd: &'a EmbeddedNsqd) -> Self {
        Self { nsqd }
    }

    /// Nobody listens any more: a connection attempt is refused (`ECONNREFUSED`). Open connections
    /// stay. Switched off, the same port is open again.
    ///
    /// The port stays reserved meanwhile. Only outside Linux may another process take it in
    /// between; then this nsqd goes on refusing, and says so in the log.
    pub fn refuse_connections(&self, on: bool) {
        self.change(|faults| faults.refuse = on);
        if let Err(error) = self.nsqd.set_gate() {
            log::error!("the embedded nsqd cannot open its port again: {error}");
        }
    }

    /// Commands are read and executed, but their answers, and messages, held back until this is
    /// switched off. Heartbeats go on: an nsqd with a slow disk. A TLS handshake is no answer, and is done; the `OK` behind
    /// it is one.
    ///
    /// A client that hangs up meanwhile is let go, without its answers.
    pub fn stall(&self, on: bool) {
        self.change(|faults| faults.switches.stall = on);
    }

    /// Connections are accepted by the kernel, but nothing is read, nothing said, and nothing times
    /// out: an nsqd that was sent SIGSTOP. Switched off, it reads what has come; a client that sent nothing for two
    /// heartbeat intervals is then hung up on.
    pub fn freeze(&self, on: bool) {
        self.change(|faults| faults.switches.freeze = on);
    }

    /// Nothing is read. Heartbeats go on, and so do answers to what was read before. Nobody is
    /// taken for silent meanwhile: an nsqd that takes long over one command.
    pub fn stop_reading(&self, on: bool) {
        self.change(|faults| faults.switches.stop_reading = on);
    }

    /// No heartbeats are sent. Their beat goes on silently.
    pub fn stop_heartbeats(&self, on: bool) {
        self.change(|faults| faults.switches.stop_heartbeats = on);
    }

    /// Every answer is sent so much later than its command was executed, and every message so much
    /// later than it was taken from its channel; `Duration::ZERO` switches this off, and lets go at
    /// once what is being held back. Reading and heartbeats go on: a long line, not a slow nsqd.
    pub fn delay_responses(&self, delay: Duration) {
        self.change(|faults| faults.switches.delay = delay);
    }

    /// The next command of this name (`"PUB"`, `"IDENTIFY"` ...) is not executed but answered with
    /// this error frame, on whichever connection it comes. Then the connection is closed, unless
    /// the error is one of the three that nsqd lives on with (`E_FIN_FAILED`, `E_REQ_FAILED`,
    /// `E_TOUCH_FAILED`); what is pipelined behind is not executed.
    ///
    /// Several such traps for one name go off one after the other. A command whose line or sizes
    /// nsqd refuses springs none.
    pub fn fail_next(&self, command: &str, error: &str) {
        self.fail_after_storing(command, error, 0);
    }

    /// Like [`fail_next`](Self::fail_next), but so many of the command's messages are stored all
    /// the same: 1 for a PUB whose refusal is a lie, a few for the `E_MPUB_FAILED` of an nsqd whose
    /// disk is full, which has stored the first ones.
    pub fn fail_after_storing(&self, command: &str, error: &str, stored: usize) {
        self.plan(
            command,
            Reaction::Fail {
                error: error.into(),
                stored,
            },
        );
    }

    /// The next command of this name is executed, and these raw bytes are sent in place of its
    /// answer. Nothing is added to them, and none is no answer at all.
    ///
    /// A whole command that cannot be executed, such as an AUTH, or a FIN before SUB, is answered
    /// like this, too, and the connection goes on. Good for a handshake that goes wrong, among others.
    ///
    /// When these bytes answer an IDENTIFY, the connection goes on as a client must understand them, as far as this nsqd can:
    /// where they begin with a response whose JSON says `"tls_v1":true`, `"snappy":true` or `"deflate":true`, that layer
    /// comes next, with its `OK` inside, whatever was asked for; else none does. So an nsqd can decline what the client
    /// insists on (`"tls_v1":false`) and then take its commands in clear text; it can promise TLS that it does not have,
    /// when it was given no certificate: what comes is read as commands; and it can send clear text, right behind the JSON,
    /// where the first bytes of TLS should be.
    pub fn respond_next(&self, command: &str, bytes: impl AsRef<[u8]>) {
        self.plan(command, Reaction::Answer(bytes.as_ref().to_vec()));
    }

    /// The connection that sends the `n`-th command from now on is closed at it. All connections
    /// count together, and every command counts, refused ones too, but NOP does not: it answers
    /// heartbeats, and these come by the clock.
    ///
    /// The `n`-th command **is executed but not answered**. Those before it are answered, except
    /// where [`stall`](Self::stall) or [`delay_responses`](Self::delay_responses) still hold their
    /// answers: these are lost. Nothing behind it is executed. With 0, the next connection that is
    /// opened, or that sends anything, is closed.
    ///
    /// There is one cut at a time: this one, and the three below, replace one another.
    pub fn close_after_commands(&self, n: u64) {
        self.cut(Left::Commands(n), Ending::Close);
    }

    /// Like [`close_after_commands`](Self::close_after_commands), but with a reset (RST).
    pub fn reset_after_commands(&self, n: u64) {
        self.cut(Left::Commands(n), Ending::Reset);
    }

    /// The connection that sends the `n`-th byte from now on is closed at it. All connections count
    /// together, and every byte counts, the magic and those of NOPs too.
    ///
    /// What is whole within the `n` bytes is executed, and answered; only what the `n`-th byte
    /// completes **is executed but not answered**. A half command is not executed, and
    /// no byte behind the `n`-th is heard. Inside TLS and compression it is the bytes on the wire that count, those of a
    /// TLS handshake too, and the last byte of a record or chunk may complete several commands at once. With 0, the next connection that is opened, or that
    /// sends anything, is closed.
    pub fn close_after_bytes(&self, n: u64) {
        self.cut(Left::Bytes(n), Ending::Close);
    }

    /// Like [`close_after_bytes`](Self::close_after_bytes), but with a reset (RST).
    pub fn reset_after_bytes(&self, n: u64) {
        self.cut(Left::Bytes(n), Ending::Reset);
    }

    /// Sends these bytes to every open connection now, between two frames, past what
    /// [`stall`](Self::stall) and [`delay_responses`](Self::delay_responses) hold back: an answer that
    /// nobody asked for, half a frame, garbage. They go through the layers of each connection.
    pub fn send_raw(&self, bytes: impl AsRef<[u8]>) {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        self.nsqd.order(|done| Order::Send(bytes.clone(), done));
    }

    /// Sends these bytes like [`send_raw`](Self::send_raw), but past the layers: as they are, they stand on the wire, where
    /// a TLS record or a piece of a compressed stream should be.
    pub fn send_to_socket(&self, bytes: impl AsRef<[u8]>) {
        let bytes = Bytes::copy_from_slice(bytes.as_ref());
        self.nsqd
            .order(|done| Order::SendPastLayers(bytes.clone(), done));
    }

    /// Closes every open connection, without a word. They are closed when this returns. As ever the
    /// kernel makes a reset of it where bytes of the client lie unread.
    pub fn close_connections(&self) {
        self.nsqd.order(Order::Close);
    }

    /// Resets (RST) every open connection. It is done when this returns.
    pub fn reset_connections(&self) {
        self.nsqd.order(Order::Reset);
    }

    /// Switches every fault off, and takes up the traps that have not gone off. A stopped nsqd
    /// stays stopped.
    pub fn clear(&self) {
        self.change(|faults| *faults = Misbehaviour::default());
        self.refuse_connections(false);
    }

    fn change(&self, change: impl FnOnce(&mut Misbehaviour)) {
        change(&mut self.nsqd.shared.state().misbehaviour);
        self.nsqd.shared.switched.send_replace(());
    }

    fn plan(&self, command: &str, reaction: Reaction) {
        self.change(|faults| {
            faults.planned.push_back(Planned {
                command: command.into(),
                reaction,
            })
        });
    }

    fn cut(&self, left: Left, ending: Ending) {
        self.change(|faults| faults.cut = Some(Cut { left, ending }));
    }
}
