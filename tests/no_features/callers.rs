//! Callers that publish 200 bytes per round each, and wait for the result.

use actix_nsq::{Publish, PublishError, Topic, bytes::Bytes};

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

    /// Runs the callers to their end, each with a clone of `call`.
    pub async fn publish<C>(&self, call: C)
    where
        C: AsyncFn(Publish) -> Result<(), PublishError> + Clone + 'static,
    {
        let topic = Topic::new("gates#ephemeral").expect("a name");
        let callers: Vec<_> = (0..self.callers)
            .map(|_| actix_rt::spawn(publish(call.clone(), topic.clone(), self.rounds)))
            .collect();
        for caller in callers {
            caller.await.expect("no caller panics");
        }
    }
}

async fn publish<C>(call: C, topic: Topic, rounds: usize)
where
    C: AsyncFn(Publish) -> Result<(), PublishError>,
{
    for _ in 0..rounds {
        let publish = Publish::new(&topic, Bytes::from_static(BODY));
        call(publish).await.expect("an OK");
    }
}
