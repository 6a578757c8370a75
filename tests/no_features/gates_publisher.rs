//! The program that the gates measure. It publishes, and does nothing else.
//!
//! ```text
//! gates_publisher ADDRESS CALLERS ROUNDS [OPTION=VALUE]...
//! ```
//!
//! Each caller publishes 200 bytes per round through `Addr::send`, and waits for the result. The
//! program measures nothing itself, so that only the client costs something.
#![allow(clippy::expect_used, reason = "the test sees its exit status")]

use actix_nsq::{
    Producer, ProducerConfig, Publish, Topic,
    actix::{Addr, System},
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
    let config = arguments.fold(ProducerConfig::builder(address), |config, option| {
        let (name, value) = option.split_once('=').expect("OPTION=VALUE");
        config.set(name, value).expect("an option and its value")
    });
    let config = config.build().expect("a valid configuration");
    System::new().block_on(async {
        let topic = Topic::new("gates#ephemeral").expect("a name");
        let producer = Producer::start(config);
        let callers: Vec<_> = (0..callers)
            .map(|_| actix_rt::spawn(publish(producer.clone(), topic.clone(), rounds)))
            .collect();
        for caller in callers {
            caller.await.expect("no caller panics");
        }
    });
}

async fn publish(producer: Addr<Producer>, topic: Topic, rounds: usize) {
    for _ in 0..rounds {
        let publish = Publish::new(&topic, Bytes::from_static(BODY));
        let answer = producer.send(publish).await;
        answer.expect("a producer").expect("an OK");
    }
}
