//! Faults: making an embedded nsqlookupd misbehave.

use std::time::Duration;

use super::{
    fault_state::{Effect, FaultState, Replacement},
    handle::EmbeddedLookupd,
};

/// Faults.
impl EmbeddedLookupd {
    /// Returns the faults that can be switched on.
    pub fn faults(&self) -> LookupdFaults<'_> {
        LookupdFaults {
            lookupd: self,
            path: None,
            times: None,
        }
    }
}

/// The faults of an [`EmbeddedLookupd`], from [`EmbeddedLookupd::faults`].
///
/// **Faults of answers** apply to every HTTP request from now on, until [`clear`](Self::clear).
/// [`of`](Self::of) restricts them to one path, [`times`](Self::times) to a number of requests:
/// [`delay`](Self::delay), [`in_chunks_of`](Self::in_chunks_of), [`pad`](Self::pad),
/// [`cut_body`](Self::cut_body), [`cut_response`](Self::cut_response), and one of
/// [`respond`](Self::respond), [`redirect`](Self::redirect), [`respond_raw`](Self::respond_raw),
/// [`close`](Self::close), [`never_answer`](Self::never_answer). They can be combined; a fault of
/// a path overrides that of all paths.
///
/// **Faults of the whole server** stay until they are switched off:
/// [`freeze`](Self::freeze), [`refuse_connections`](Self::refuse_connections).
/// [`close_connections`](Self::close_connections) happens during the call.
///
/// ```
/// # fn main() -> std::io::Result<()> {
/// # use actix_nsq::embedded::EmbeddedLookupd;
/// let lookupd = EmbeddedLookupd::start()?;
/// lookupd.faults().in_chunks_of(1);
/// lookupd.faults().of("/lookup").times(2).respond(503, "overloaded");
/// // The first two answers to `/lookup` are 503; all come in chunks of one byte.
/// lookupd.faults().clear();
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct LookupdFaults<'a> {
    lookupd: &'a EmbeddedLookupd,
    path: Option<&'a str>,
    times: Option<u64>,
}

/// Which answers are concerned.
impl<'a> LookupdFaults<'a> {
    /// Restricts faults of answers to one path, such as `/lookup`.
    #[must_use = "call the method of a fault"]
    pub fn of(self, path: &'a str) -> Self {
        Self {
            path: Some(path),
            ..self
        }
    }

    /// Restricts faults of answers to the next `n` requests.
    #[must_use = "call the method of a fault"]
    pub fn times(self, n: u64) -> Self {
        Self {
            times: Some(n),
            ..self
        }
    }
}

/// Faults of answers.
impl LookupdFaults<'_> {
    /// Answers after this time.
    pub fn delay(&self, delay: Duration) {
        self.add(Effect::Delay(delay));
    }

    /// Sends bodies in chunks of at most this many bytes, each with a write of its own. (Without
    /// this fault, bodies above 2,048 bytes are one chunk.) To a client of HTTP/1.0 it sends pieces
    /// of this size.
    pub fn in_chunks_of(&self, bytes: usize) {
        self.add(Effect::Chunks(bytes));
    }

    /// Appends this many spaces to bodies, which stay valid JSON.
    pub fn pad(&self, spaces: usize) {
        self.add(Effect::Pad(spaces));
    }

    /// Closes the connection after the first `n` bytes of the body, whose announced length stays.
    pub fn cut_body(&self, n: usize) {
        self.add(Effect::CutBody(n));
    }

    /// Closes the connection after the first `n` bytes of the response, including its head.
    pub fn cut_response(&self, n: usize) {
        self.add(Effect::CutResponse(n));
    }

    /// Answers with this status and body, as JSON.
    pub fn respond(&self, status: u16, body: impl AsRef<[u8]>) {
        self.replace(Replacement::Answer {
            status,
            body: body.as_ref().to_vec(),
        });
    }

    /// Answers with 302 and this `Location`.
    pub fn redirect(&self, location: &str) {
        self.replace(Replacement::Redirect(location.to_owned()));
    }

    /// Sends these bytes, which need not be HTTP, and closes the connection.
    pub fn respond_raw(&self, bytes: impl AsRef<[u8]>) {
        self.replace(Replacement::Raw(bytes.as_ref().to_vec()));
    }

    /// Closes the connection without an answer.
    pub fn close(&self) {
        self.replace(Replacement::Close);
    }

    /// Sends nothing, until the client closes the connection.
    pub fn never_answer(&self) {
        self.replace(Replacement::Silence);
    }

    fn replace(&self, replacement: Replacement) {
        self.add(Effect::Replace(replacement));
    }

    fn add(&self, effect: Effect) {
        let path = self.path.map(str::to_owned);
        self.change(|faults| faults.add(path, self.times, effect));
    }

    fn change(&self, change: impl FnOnce(&mut FaultState)) {
        change(&mut self.lookupd.shared.state().faults);
        self.lookupd.shared.fault_changes.send_replace(());
    }
}

/// Faults of the whole server.
impl LookupdFaults<'_> {
    /// Accepts connections but answers neither clients nor nsqds, like an nsqlookupd that was sent
    /// SIGSTOP. When switched off, it answers what was sent meanwhile.
    pub fn freeze(&self, on: bool) {
        self.change(|faults| faults.freeze = on);
    }

    /// Closes both ports with their connections, so that connection attempts fail with
    /// `ECONNREFUSED`. Topics and nodes that were registered by hand stay.
    pub fn refuse_connections(&self, on: bool) {
        self.change(|faults| faults.refuse_connections = on);
        if let Err(error) = self.lookupd.update_listeners() {
            log::error!("embedded nsqlookupd: cannot listen again: {error}");
        }
    }

    /// Closes all open connections, of clients and of nsqds, and waits until that is done. The
    /// kernel sends RST instead of FIN if received bytes are unread.
    pub fn close_connections(&self) {
        self.lookupd.close_some(|_| true);
    }

    /// Removes the faults of answers of the path of [`of`](Self::of). Without it, switches off all
    /// faults. A stopped nsqlookupd stays stopped.
    pub fn clear(&self) {
        self.change(|faults| faults.clear(self.path));
        if self.path.is_none() {
            self.freeze(false);
            self.refuse_connections(false);
        }
    }
}
