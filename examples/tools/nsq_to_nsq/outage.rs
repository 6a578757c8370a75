//! Pauses the source while no destination is connected: its messages would be requeued.

use std::time::Duration;

use actix_nsq::{
    ConsumerHandle, ProducerHandle, ProducerPool,
    actix::{Actor, AsyncContext, Context, Handler, SpawnHandle},
    pool::PoolEvent,
};

use crate::log::Log;

/// Outages that are shorter count as none: nsqd closes the connection after each error.
const TOLERATED: Duration = Duration::from_secs(1);

/// Pauses the consumers until a destination is connected, and in each later outage.
pub(crate) fn pause_while_none_is_up(
    pool: &ProducerHandle<ProducerPool>,
    consumers: Vec<ConsumerHandle>,
    log: Log,
) {
    consumers.iter().for_each(ConsumerHandle::pause);
    let watcher = Watcher {
        consumers,
        log,
        outage: None,
        is_paused: true,
        is_reported: false,
    };
    // The current state is the first event.
    pool.subscribe::<PoolEvent>(watcher.start().recipient());
}

struct Watcher {
    consumers: Vec<ConsumerHandle>,
    log: Log,
    /// The timer of an outage that may be short.
    outage: Option<SpawnHandle>,
    is_paused: bool,
    is_reported: bool,
}

impl Watcher {
    fn pause(&mut self) {
        self.consumers.iter().for_each(ConsumerHandle::pause);
        self.is_paused = true;
        self.is_reported = true;
        let line = "no destination is connected; no messages are requested until one is";
        self.log.line(line);
    }

    fn resume(&mut self) {
        if std::mem::take(&mut self.is_paused) {
            self.consumers.iter().for_each(ConsumerHandle::resume);
        }
        if std::mem::take(&mut self.is_reported) {
            self.log.line("a destination is connected");
        }
    }
}

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<PoolEvent> for Watcher {
    type Result = ();

    fn handle(&mut self, event: PoolEvent, ctx: &mut Context<Self>) {
        match event {
            PoolEvent::NoneUp if self.outage.is_none() => {
                self.outage = Some(ctx.run_later(TOLERATED, |this, _| this.pause()));
            }
            PoolEvent::UpAgain => {
                if let Some(timer) = self.outage.take() {
                    ctx.cancel_future(timer);
                }
                self.resume();
            }
            _ => {}
        }
    }
}
