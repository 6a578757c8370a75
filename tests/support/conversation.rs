//! One connection of a scripted peer, over any stream.

use std::panic::Location;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::script::Script;
use super::spoken::{Command, identify_answer, readable};
use super::wait::PATIENCE;

type Caller = &'static Location<'static>;

/// A connection, from the peer's side. A failed expectation panics with the transcript.
#[derive(Debug)]
pub struct Conversation<S> {
    stream: S,
    script: Script,
    patience: Duration,
    piece: usize,
    /// Received, and not yet expected.
    pending: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    /// A conversation over any stream. Expectations fail after [`PATIENCE`].
    pub fn over(stream: S) -> Self {
        Self::of(Script::default(), stream)
    }

    pub(super) fn of(script: Script, stream: S) -> Self {
        Self {
            stream,
            script,
            patience: PATIENCE,
            piece: usize::MAX,
            pending: Vec::new(),
        }
    }

    /// Sets the timeout of expectations. With a paused clock, it must exceed the client's timeouts.
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Continues inside a layer. Fails if bytes were received that precede it.
    #[track_caller]
    pub fn inside<L: AsyncRead + AsyncWrite + Unpin>(
        self,
        layer: impl AsyncFnOnce(S) -> std::io::Result<L>,
    ) -> impl Future<Output = Conversation<L>> {
        let caller = Location::caller();
        async move {
            let (script, patience) = (self.script.clone(), self.patience);
            if !self.pending.is_empty() {
                self.fail(caller, "no bytes before the layer", "bytes arrived");
            }
            let stream = match tokio::time::timeout(patience, layer(self.stream)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(e)) => panic!("{caller}: no layer: {e}; so far:\n{}", script.transcript()),
                Err(_) => panic!("{caller}: no layer; so far:\n{}", script.transcript()),
            };
            Conversation::of(script, stream).with_patience(patience)
        }
    }

    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Access to the transcript, and to end a stall.
    pub fn script(&self) -> Script {
        self.script.clone()
    }

    /// Sends in pieces of this size from now on, a millisecond apart, so that the client reads each
    /// separately (always in memory with a paused clock, nearly always over a socket).
    pub fn chunk(&mut self, piece: usize) {
        self.piece = piece.max(1);
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            let bytes = bytes.as_ref();
            self.script.note(format!("  peer:   {}", readable(bytes)));
            for piece in bytes.chunks(self.piece) {
                let sent = async {
                    self.stream.write_all(piece).await?;
                    self.stream.flush().await
                };
                match tokio::time::timeout(self.patience, sent).await {
                    Ok(Ok(())) => {}
                    Ok(Err(e)) => self.fail(caller, "sending", &e.to_string()),
                    Err(_) => self.fail(caller, "sending", "the client does not read"),
                }
                if piece.len() < bytes.len() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    }

    /// Expects exactly these bytes.
    #[track_caller]
    pub fn expect(&mut self, bytes: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move { self.take_bytes(caller, bytes.as_ref()).await }
    }

    /// Expects `"  V2"`.
    #[track_caller]
    pub fn expect_magic(&mut self) -> impl Future<Output = ()> {
        self.expect("  V2")
    }

    /// Expects IDENTIFY and returns its body.
    #[track_caller]
    pub fn expect_identify(&mut self) -> impl Future<Output = serde_json::Value> {
        let caller = Location::caller();
        async move { self.take_identify(caller).await }
    }

    /// Expects magic and IDENTIFY, sends nsqd's default response, and returns the body of IDENTIFY.
    #[track_caller]
    pub fn greet(&mut self) -> impl Future<Output = serde_json::Value> {
        let caller = Location::caller();
        async move {
            self.take_bytes(caller, b"  V2").await;
            let identify = self.take_identify(caller).await;
            self.send(identify_answer()).await;
            identify
        }
    }

    /// Expects `PUB`.
    #[track_caller]
    pub fn expect_pub(&mut self, topic: &str, body: impl AsRef<[u8]>) -> impl Future<Output = ()> {
        self.expect_command(Command::Pub {
            topic: topic.to_owned(),
            body: body.as_ref().to_vec(),
        })
    }

    /// Expects `MPUB` with exactly these messages.
    #[track_caller]
    pub fn expect_mpub<B: AsRef<[u8]>>(
        &mut self,
        topic: &str,
        bodies: &[B],
    ) -> impl Future<Output = ()> {
        let bodies = bodies.iter().map(|body| body.as_ref().to_vec()).collect();
        self.expect_command(Command::Mpub {
            topic: topic.to_owned(),
            bodies,
        })
    }

    /// Expects `DPUB`.
    #[track_caller]
    pub fn expect_dpub(
        &mut self,
        topic: &str,
        delay_ms: u64,
        body: impl AsRef<[u8]>,
    ) -> impl Future<Output = ()> {
        self.expect_command(Command::Dpub {
            topic: topic.to_owned(),
            delay_ms,
            body: body.as_ref().to_vec(),
        })
    }

    /// Expects `NOP`, the response to a heartbeat.
    #[track_caller]
    pub fn expect_nop(&mut self) -> impl Future<Output = ()> {
        self.expect_command(Command::Nop)
    }

    /// Expects a command.
    #[track_caller]
    pub fn expect_command(&mut self, expected: Command) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            let came = self.take_command(caller, &expected.to_string()).await;
            if came != expected {
                self.fail(caller, &expected.to_string(), &format!("{came} arrived"));
            }
        }
    }

    /// Expects any command.
    #[track_caller]
    pub fn next_command(&mut self) -> impl Future<Output = Command> {
        let caller = Location::caller();
        async move { self.take_command(caller, "a command").await }
    }

    /// Expects that no bytes arrive for this time.
    #[track_caller]
    pub fn expect_silence(&mut self, duration: Duration) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            let expected = format!("silence for {duration:?}");
            let came = tokio::time::timeout(duration, self.read()).await;
            match came {
                Err(_) if self.pending.is_empty() => self.script.note(format!("  ({expected})")),
                Err(_) | Ok(Ok(1..)) => self.fail(caller, &expected, "bytes arrived"),
                Ok(Ok(0)) => self.fail(caller, &expected, "the client closed the connection"),
                Ok(Err(e)) => self.fail(caller, &expected, &e.to_string()),
            }
        }
    }

    /// Neither reads nor sends until [`Script::release`].
    pub async fn stall(&mut self) {
        self.script.note("  (stalls)".to_owned());
        self.script.wait_released().await;
        self.script.note("  (continues)".to_owned());
    }

    /// Waits until the client closes the connection, by FIN or RST. Returns the bytes before that.
    #[track_caller]
    pub fn wait_closed(&mut self) -> impl Future<Output = Vec<u8>> {
        let caller = Location::caller();
        async move {
            loop {
                match tokio::time::timeout(self.patience, self.read()).await {
                    Ok(Ok(0) | Err(_)) => break,
                    Ok(Ok(_)) => {}
                    Err(_) => self.fail(
                        caller,
                        "the end of the connection",
                        "the client keeps it open",
                    ),
                }
            }
            let last = self.pending.clone();
            self.consume(last.len(), format!("{} and the end", readable(&last)));
            last
        }
    }

    /// Sends FIN: the client reads EOF. It may still send: see [`wait_closed`](Self::wait_closed).
    #[track_caller]
    pub fn fin(&mut self) -> impl Future<Output = ()> {
        let caller = Location::caller();
        async move {
            self.script.note("  peer:   (fin)".to_owned());
            if let Err(e) = self.stream.shutdown().await {
                self.fail(caller, "to send FIN", &e.to_string());
            }
        }
    }

    async fn take_bytes(&mut self, caller: Caller, bytes: &[u8]) {
        while self.pending.len() < bytes.len() && bytes.starts_with(&self.pending) {
            self.read_more(caller, &readable(bytes)).await;
        }
        if !self.pending.starts_with(bytes) {
            self.fail(caller, &readable(bytes), "other bytes arrived");
        }
        self.consume(bytes.len(), readable(bytes));
    }

    async fn take_identify(&mut self, caller: Caller) -> serde_json::Value {
        match self.take_command(caller, "IDENTIFY").await {
            Command::Identify(json) => json,
            other => self.fail(caller, "IDENTIFY", &format!("{other} arrived")),
        }
    }

    async fn take_command(&mut self, caller: Caller, expected: &str) -> Command {
        loop {
            match Command::parse(&self.pending) {
                Ok(Some((command, length))) => {
                    self.consume(length, command.to_string());
                    return command;
                }
                Ok(None) => self.read_more(caller, expected).await,
                Err(reason) => self.fail(caller, expected, &reason),
            }
        }
    }

    async fn read_more(&mut self, caller: Caller, expected: &str) {
        match tokio::time::timeout(self.patience, self.read()).await {
            Ok(Ok(0)) => self.fail(caller, expected, "the client closed the connection"),
            Ok(Ok(_)) => {}
            Ok(Err(e)) => self.fail(caller, expected, &e.to_string()),
            Err(_) => self.fail(
                caller,
                expected,
                &format!("no more bytes arrived within {:?}", self.patience),
            ),
        }
    }

    /// Reads at most 4 KiB, so that a script that expects nothing soon blocks the client's writes.
    async fn read(&mut self) -> std::io::Result<usize> {
        let mut came = [0; 4096];
        let length = self.stream.read(&mut came).await?;
        let came = &came[..length];
        self.script.record_received(came);
        self.pending.extend_from_slice(came);
        Ok(length)
    }

    fn consume(&mut self, length: usize, what: String) {
        self.script.note(format!("  client: {what}"));
        self.pending.drain(..length);
    }

    fn fail(&self, caller: Caller, expected: &str, got: &str) -> ! {
        panic!(
            "the script at {caller} expected {expected}\n but {got}\n received and not yet expected: {}\n so far:\n{}",
            readable(&self.pending),
            self.script.transcript(),
        )
    }
}
