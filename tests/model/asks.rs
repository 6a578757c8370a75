//! Pings, and waiting for a connection.

use std::time::Duration;

use actix_nsq::{Delivery, ErrorKind, Ping, PublishError, WaitConnected};
use futures::future::FutureExt;
use tokio::time::Instant;

use super::{
    command::Verb,
    line::{Line, Refusal},
    publish::Answer,
    truth::kind_name,
    world::{GRANULARITY, World, ms},
};

/// A `Ping` or a `WaitConnected`.
pub(crate) struct Ask {
    pub(crate) ping: bool,
    pub(crate) sent: Instant,
    pub(crate) timeout: Duration,
    pub(crate) draining: bool,
    pub(crate) answer: Answer,
}

impl World {
    pub(crate) fn ask(&mut self) {
        let ping = self.rng.u32(0..3) > 0;
        let timeout =
            ms([0, self.rng.u64(1..100), self.rng.u64(100..10_000)][self.rng.usize(0..3)]);
        self.note(|| format!("{} within {timeout:?}", if ping { "ping" } else { "wait" }));
        let address = self.address();
        let answer = match ping {
            true => async move { address.send(Ping { timeout }).await? }.boxed_local(),
            false => {
                async move { Ok(address.send(WaitConnected { timeout }).await??) }.boxed_local()
            }
        };
        self.add_ask(ping, timeout, answer);
    }

    fn add_ask(&mut self, ping: bool, timeout: Duration, mut answer: Answer) {
        assert!((&mut answer).now_or_never().is_none());
        self.asks.push(Ask {
            ping,
            sent: Instant::now(),
            timeout,
            draining: self.stopping.is_draining(),
            answer,
        });
    }

    pub(crate) fn ask_answered(&mut self, ask: &Ask, answered: Result<(), PublishError>) {
        let now = Instant::now();
        let due = ask.sent + ask.timeout;
        let late = now.saturating_duration_since(due);
        assert!(
            late <= GRANULARITY,
            "a ping or wait is answered {late:?} late"
        );
        let name = if ask.ping { "ping" } else { "wait" };
        let outcome = answered.as_ref().map_or_else(kind_name, |()| "Ok".into());
        self.note(|| format!("{name} is answered: {outcome}"));
        self.count.add(format!("{name}: {outcome}"));
        let Err(error) = answered else {
            assert!(!ask.draining);
            let usable =
                |line: &Line| line.opened.is_some() && line.gone.is_none_or(|gone| gone == now);
            let pinged = |line: &Line| {
                line.commands.iter().any(|command| {
                    command.verb == Verb::Identify
                        && command.at >= ask.sent
                        && command.confirmed.is_some()
                })
            };
            let answered = self
                .lines
                .iter()
                .any(|line| if ask.ping { pinged(line) } else { usable(line) });
            assert!(answered, "{name}: Ok");
            return;
        };
        assert_eq!(error.delivery(), Delivery::NotWritten);
        match error.kind() {
            ErrorKind::Timeout => assert!(now >= due, "{name} has time left"),
            ErrorKind::Drained => assert!(self.stopping.is_draining()),
            ErrorKind::Rejected(_) => {
                let refused = |refusal: &Refusal| {
                    refusal.topic.is_empty() && refusal.heard.is_some_and(|heard| heard >= ask.sent)
                };
                assert!(
                    ask.ping && self.refusals().any(refused),
                    "{name}: {error:?}"
                );
            }
            _ => panic!("{name}: {error:?}"),
        }
        assert!(!ask.draining || error.kind() == ErrorKind::Drained);
    }
}
