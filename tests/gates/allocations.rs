//! Counts allocations per message in this process, on the thread of the client and its callers or
//! handlers.

use std::io;
use std::net::SocketAddr;

use actix_nsq::{
    Consumer, ConsumerConfig, IncomingMessage, IncomingMessages, MessageHandler, PoolConfig,
    Producer, ProducerConfig, ProducerHandle, ProducerPool, Publish, PublishError, Subscription,
    Topic,
    actix::{Actor, Addr, Context, Handler, Message, System},
    bytes::Bytes,
};
use futures::future::join_all;
use tokio::sync::oneshot;

use crate::measure::{Load, Mode};

/// The allocations per message. Two runs are subtracted, so that spawning callers is not counted.
pub fn each(addresses: &[SocketAddr], load: Load, [short, long]: [usize; 2]) -> io::Result<f64> {
    let system = System::new();
    let mut run = system.block_on(async { start(addresses, load) })?;
    let mut run = |rounds| system.block_on(run(rounds));
    // Tables and buffers grow first.
    run(short);
    let [fewer, more] =
        [short, long].map(|rounds| allocation_counter::measure(|| run(rounds)).count_total);
    Ok((more as f64 - fewer as f64) / (load.round() * (long - short)) as f64)
}

/// Starts a client, and returns what runs a number of rounds.
fn start(addresses: &[SocketAddr], load: Load) -> io::Result<Run> {
    let address = addresses[0];
    match load {
        Load::Pool { callers } => {
            let config = PoolConfig::new(addresses.iter().map(SocketAddr::to_string));
            let pool = ProducerPool::start(config.map_err(io::Error::other)?);
            let topic = Topic::new("gates#ephemeral").map_err(io::Error::other)?;
            Ok(Box::new(move |rounds| {
                let pool = pool.clone();
                let call = async move |publish| pool.send(publish).await?;
                Box::pin(publish(call, topic.clone(), callers, rounds))
            }))
        }
        Load::Publish { callers, options } => {
            let producer = Producer::start(config(address, options)?);
            let topic = Topic::new("gates#ephemeral").map_err(io::Error::other)?;
            Ok(Box::new(move |rounds| {
                let producer = producer.clone();
                let call = async move |publish| producer.send(publish).await?;
                Box::pin(publish(call, topic.clone(), callers, rounds))
            }))
        }
        Load::Handle { callers } => {
            let producer = ProducerHandle::start(config(address, &[])?);
            let topic = Topic::new("gates#ephemeral").map_err(io::Error::other)?;
            Ok(Box::new(move |rounds| {
                let producer = producer.clone();
                let call = async move |publish| producer.publish_message(publish).await;
                Box::pin(publish(call, topic.clone(), callers, rounds))
            }))
        }
        Load::Consume {
            max_in_flight,
            mode,
        } => {
            let worker = Worker::default().start();
            let consumer = consumer(address, max_in_flight, mode, &worker)?;
            Ok(Box::new(move |rounds| {
                // The consumer runs as long as its address is held.
                let (worker, consumer) = (worker.clone(), consumer.clone());
                Box::pin(async move {
                    let (sender, done) = oneshot::channel();
                    worker.do_send(Notify(max_in_flight * rounds, sender));
                    done.await.expect("a worker");
                    drop(consumer);
                })
            }))
        }
    }
}

type Run = Box<dyn FnMut(usize) -> futures::future::LocalBoxFuture<'static, ()>>;

fn config(address: SocketAddr, options: &[&str]) -> io::Result<ProducerConfig> {
    let builder = ProducerConfig::builder(address.to_string());
    let config = options.iter().try_fold(builder, |builder, option| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        builder.set(name, value)
    });
    let config = config.and_then(|config| config.build());
    config.map_err(io::Error::other)
}

async fn publish<C>(call: C, topic: Topic, callers: usize, rounds: usize)
where
    C: AsyncFn(Publish) -> Result<(), PublishError> + Clone + 'static,
{
    let callers = (0..callers).map(|_| {
        let (call, topic) = (call.clone(), topic.clone());
        actix_rt::spawn(async move {
            for _ in 0..rounds {
                let publish = Publish::new(&topic, Bytes::from_static(&[7; 200]));
                call(publish).await.expect("nsqd's OK");
            }
        })
    });
    for caller in join_all(callers).await {
        caller.expect("no caller panics");
    }
}

fn consumer(
    address: SocketAddr,
    max_in_flight: usize,
    mode: Mode,
    worker: &Addr<Worker>,
) -> io::Result<Addr<Consumer>> {
    let config = ConsumerConfig::builder(address.to_string()).max_in_flight(max_in_flight);
    let config = config.build().map_err(io::Error::other)?;
    let subscription = Subscription::new("gates#ephemeral", "gates#ephemeral");
    let subscription = subscription.map_err(io::Error::other)?;
    let handler: MessageHandler = match mode {
        Mode::Each => worker.clone().recipient::<IncomingMessage>().into(),
        Mode::Batches => worker.clone().recipient::<IncomingMessages>().into(),
    };
    Ok(Consumer::start(config, subscription, handler))
}

/// Finishes each message.
#[derive(Default)]
struct Worker {
    finished: usize,
    /// How many messages to finish before the sender is used.
    notify: Option<Notify>,
}

/// Uses the sender when that many messages were finished since the last one.
#[derive(Message)]
#[rtype(result = "()")]
struct Notify(usize, oneshot::Sender<()>);

impl Worker {
    fn finish(&mut self, message: IncomingMessage) {
        message.settle(Ok::<_, ()>(()));
        self.finished += 1;
        self.check();
    }

    fn check(&mut self) {
        if let Some(Notify(_, sender)) = self.notify.take_if(|it| it.0 <= self.finished) {
            self.finished = 0;
            sender.send(()).expect("the test waits");
        }
    }
}

impl Actor for Worker {
    type Context = Context<Self>;
}

impl Handler<IncomingMessage> for Worker {
    type Result = ();

    fn handle(&mut self, message: IncomingMessage, _: &mut Context<Self>) {
        self.finish(message);
    }
}

impl Handler<IncomingMessages> for Worker {
    type Result = ();

    fn handle(&mut self, messages: IncomingMessages, _: &mut Context<Self>) {
        messages
            .into_iter()
            .for_each(|message| self.finish(message));
    }
}

impl Handler<Notify> for Worker {
    type Result = ();

    fn handle(&mut self, notify: Notify, _: &mut Context<Self>) {
        self.notify = Some(notify);
        self.check();
    }
}
