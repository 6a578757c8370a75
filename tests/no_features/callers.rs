//! Callers that publish 200 bytes per round each through `Addr::send`, and wait for the result.

use actix_nsq::{
    Publish, Topic,
    actix::{Actor, Addr, Context, Handler},
    bytes::Bytes,
};

const BODY: &[u8] = &[7; 200];

/// What is to be done: `ADDRESS CALLERS ROUNDS [OPTION=VALUE]...`.
pub struct Arguments {
    pub address: String,
    pub options: Vec<(String, String)>,
    callers: usize,
    rounds: usize,
}

impl Arguments {
    pub fn read() -> Self {
        let mut arguments = std::env::args().skip(1);
        let address = arguments.next().expect("an address");
        let mut number = || {
            let word = arguments.next().expect("a number");
            word.parse().expect("a number")
        };
        let (callers, rounds) = (number(), number());
        let options = arguments.map(|option| {
            let (name, value) = option.split_once('=').expect("OPTION=VALUE");
            (name.to_owned(), value.to_owned())
        });
        Self {
            address,
            options: options.collect(),
            callers,
            rounds,
        }
    }

    /// Runs the callers to their end.
    pub async fn publish<A>(&self, producer: Addr<A>)
    where
        A: Actor<Context = Context<A>> + Handler<Publish>,
    {
        let topic = Topic::new("gates#ephemeral").expect("a name");
        let callers: Vec<_> = (0..self.callers)
            .map(|_| actix_rt::spawn(publish(producer.clone(), topic.clone(), self.rounds)))
            .collect();
        for caller in callers {
            caller.await.expect("no caller panics");
        }
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
