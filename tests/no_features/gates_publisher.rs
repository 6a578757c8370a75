//! The program that the gates measure. It publishes, and does nothing else.
//!
//! ```text
//! gates_publisher ADDRESS[,ADDRESS]... CALLERS ROUNDS [OPTION=VALUE]...
//! ```
//!
//! With several addresses it publishes to a pool.
//!
//! Each caller publishes 200 bytes per round through `Addr::send`, and waits for the result. The
//! program measures nothing itself, so that only the client costs something.
#![allow(clippy::expect_used, reason = "the test sees its exit status")]

use actix_nsq::{
    PoolConfig, Producer, ProducerConfig, ProducerPool, Publish, Topic,
    actix::{Actor, Addr, Context, Handler, System},
    bytes::Bytes,
};

const BODY: &[u8] = &[7; 200];

fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("an address");
    let mut number = || {
        let word = arguments.next().expect("a number");
        word.parse::<usize>().expect("a number")
    };
    let (callers, rounds) = (number(), number());
    let options: Vec<_> = arguments.collect();
    let options = options
        .iter()
        .map(|option| option.split_once('=').expect("OPTION=VALUE"));
    System::new().block_on(async {
        if address.contains(',') {
            let mut config = PoolConfig::builder(address.split(','));
            for (name, value) in options {
                config = config.set(name, value).expect("an option and its value");
            }
            let config = config.build().expect("a valid configuration");
            run(ProducerPool::start(config), callers, rounds).await;
        } else {
            let mut config = ProducerConfig::builder(address);
            for (name, value) in options {
                config = config.set(name, value).expect("an option and its value");
            }
            let config = config.build().expect("a valid configuration");
            run(Producer::start(config), callers, rounds).await;
        }
    });
}

async fn run<A>(producer: Addr<A>, callers: usize, rounds: usize)
where
    A: Actor<Context = Context<A>> + Handler<Publish>,
{
    let topic = Topic::new("gates#ephemeral").expect("a name");
    let callers: Vec<_> = (0..callers)
        .map(|_| actix_rt::spawn(publish(producer.clone(), topic.clone(), rounds)))
        .collect();
    for caller in callers {
        caller.await.expect("no caller panics");
    }
}

async fn publish<A>(producer: Addr<A>, topic: Topic, rounds: usize)
where
    A: Actor<Context = Context<A>> + Handler<Publish>,
{
    for _ in 0..rounds {
        let publish = Publish::new(&topic, Bytes::from_static(BODY));
        let answer = producer.send(publish).await;
        answer.expect("a producer").expect("an OK");
    }
}
