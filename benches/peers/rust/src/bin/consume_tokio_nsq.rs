//! A peer of `nsq_bench consume`: the same work with tokio-nsq.
//!
//! Everything runs on one thread, which is the fastest for this client. It writes FINs when its
//! buffer of 8 KiB is full, else when a timer fires: every 250 ms by default. With handlers that
//! take time the buffer never fills, and the timer is set to 1 ms.

use std::{process::ExitCode, rc::Rc, time::Duration};

use peers::consume::{Options, Progress};
use tokio::{sync::Notify, task::LocalSet, time::sleep};
use tokio_nsq::{
    NSQChannel, NSQConfigShared, NSQConsumer, NSQConsumerConfig, NSQConsumerConfigSources,
    NSQMessage, NSQTopic,
};

/// For handlers that take time.
const FLUSH_INTERVAL: Duration = Duration::from_millis(1);

/// Twice the default interval, after which the last FINs are written.
const FLUSHED: Duration = Duration::from_millis(500);

fn main() -> ExitCode {
    let options = Options::from_command_line();
    // The client spawns with `tokio::spawn`, the handlers are local.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let progress = Rc::new(Progress::new(&options));
    let result = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| LocalSet::new().block_on(&runtime, run(&options, &progress)));
    progress.print(&options);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tokio-nsq: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options, progress: &Rc<Progress>) -> Result<(), String> {
    let topic = NSQTopic::new(&options.topic).ok_or("invalid topic")?;
    let channel = NSQChannel::new(&options.channel).ok_or("invalid channel")?;
    let mut shared = NSQConfigShared::new();
    if options.handler_time.is_some() {
        shared = shared.set_flush_interval(FLUSH_INTERVAL);
    }
    let mut consumer = NSQConsumerConfig::new(topic, channel)
        .set_shared(shared)
        .set_max_in_flight(options.max_in_flight.into())
        .set_sources(NSQConsumerConfigSources::Daemons(options.addresses.clone()))
        .build();
    match options.handler_time {
        None => {
            while !progress.is_complete() {
                next(&mut consumer).await?.finish().await;
                progress.add(1);
            }
        }
        Some(time) => {
            let complete = Rc::new(Notify::new());
            loop {
                let message = tokio::select! {
                    message = next(&mut consumer) => message?,
                    () = complete.notified() => break,
                };
                let (progress, complete) = (Rc::clone(progress), Rc::clone(&complete));
                tokio::task::spawn_local(async move {
                    sleep(time).await;
                    message.finish().await;
                    progress.add(1);
                    if progress.is_complete() {
                        complete.notify_one();
                    }
                });
            }
        }
    }
    sleep(FLUSHED).await;
    Ok(())
}

async fn next(consumer: &mut NSQConsumer) -> Result<NSQMessage, String> {
    let message = consumer.consume_filtered().await;
    message.ok_or("the consumer has ended".into())
}
