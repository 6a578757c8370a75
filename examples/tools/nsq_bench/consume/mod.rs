//! Consumes messages and measures that.

mod options;
mod publishers;
mod report;
mod work;

use std::{error::Error, sync::Arc, time::Duration};

use actix_nsq::{
    Consumer, IncomingMessage, IncomingMessages, MessageHandler, Subscription,
    actix::{self, Actor, Context, Handler, System},
    consumer::{Counters, Drain, DrainReport, GetStats, WaitSubscribed},
};
use futures::future::try_join;
use tokio::time::sleep;

pub(crate) use self::options::{Flags, Options};
use self::{
    options::Mode,
    report::Report,
    work::{Measured, Work},
};

/// What a run has measured.
struct Consumed {
    measured: Measured,
    counters: Counters,
    drained: DrainReport,
}

/// Consumes, measures, and drains the consumer.
pub(crate) fn run(options: &Options) -> Result<Report, Box<dyn Error>> {
    let system = System::new();
    let mut consumed = Err("nothing was measured".into());
    let run = || consumed = system.block_on(consume(options));
    let allocations = if options.count_allocations {
        Some(allocation_counter::measure(run).count_total)
    } else {
        // Counting takes time.
        allocation_counter::opt_out(run);
        None
    };
    Ok(Report::new(options, consumed?, allocations))
}

async fn consume(options: &Options) -> Result<Consumed, Box<dyn Error>> {
    let work = Arc::new(Work::new(options));
    let config = options.config.clone();
    let connection = config.connection();
    let timeout = connection.dial_timeout() + connection.handshake_timeout();
    let drain_timeout = config.drain_timeout();
    let subscription = Subscription::new(&options.topic, &options.channel)?;
    let consumer = Consumer::start(config, subscription, handler(options, &work));
    consumer.send(WaitSubscribed { timeout }).await??;
    let wait = async {
        work.wait(options.idle_timeout).await;
        Ok(())
    };
    try_join(publishers::publish(options), wait).await?;
    let timeout = drain_timeout;
    let drained = consumer.send(Drain { timeout }).await?;
    let counters = consumer.send(GetStats).await?.counters;
    Ok(Consumed {
        measured: work.measured(),
        counters,
        drained,
    })
}

fn handler(options: &Options, work: &Arc<Work>) -> MessageHandler {
    let worker = Worker(Arc::clone(work));
    match options.mode {
        Mode::Recipient => worker.start().recipient::<IncomingMessage>().into(),
        Mode::Batch => worker.start().recipient::<IncomingMessages>().into(),
        Mode::Closure => closure(options.handler_time, worker.0),
        Mode::Stream => {
            let (handler, mut messages) = MessageHandler::stream();
            actix::spawn(async move {
                while let Some(message) = messages.next().await {
                    worker.0.handle(message);
                }
            });
            handler
        }
    }
}

/// The result of the closure finishes a message. Without a time the future has no timer.
fn closure(time: Option<Duration>, work: Arc<Work>) -> MessageHandler {
    match time {
        None => MessageHandler::from_fn(move |message| {
            let work = Arc::clone(&work);
            async move { work.handle_in_closure(message) }
        }),
        Some(time) => MessageHandler::from_fn(move |message| {
            let work = Arc::clone(&work);
            async move {
                sleep(time).await;
                work.handle_in_closure(message)
            }
        }),
    }
}

struct Worker(Arc<Work>);

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<IncomingMessage> for Worker {
    type Result = ();

    fn handle(&mut self, message: IncomingMessage, _: &mut Context<Self>) {
        self.0.handle(message);
    }
}

impl Handler<IncomingMessages> for Worker {
    type Result = ();

    fn handle(&mut self, messages: IncomingMessages, _: &mut Context<Self>) {
        for message in messages {
            self.0.handle(message);
        }
    }
}
