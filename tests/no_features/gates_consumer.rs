//! The program that the gates of the consumer measure. It consumes, and does nothing else.
//!
//! ```text
//! gates_consumer ADDRESS MAX_IN_FLIGHT ROUNDS each|batches
//! ```
//!
//! An actor finishes each message. The program ends after `MAX_IN_FLIGHT` messages times `ROUNDS`.
//! It measures nothing itself, so that only the client costs something.
#![allow(clippy::expect_used, reason = "the test sees its exit status")]

use actix_nsq::{
    Consumer, ConsumerConfig, IncomingMessage, IncomingMessages, MessageHandler, Subscription,
    actix::{Actor, Context, Handler, System},
};

struct Worker {
    /// Messages until the program ends.
    left: usize,
}

impl Worker {
    fn finish(&mut self, message: IncomingMessage) {
        message.settle(Ok::<_, ()>(()));
        self.left -= 1;
        if self.left == 0 {
            System::current().stop();
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

fn main() {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().expect("an address");
    let mut number = || {
        let word = arguments.next().expect("a number");
        word.parse::<usize>().expect("a number")
    };
    let (max_in_flight, rounds) = (number(), number());
    let mode = arguments.next().expect("a mode");
    let config = ConsumerConfig::builder(address).max_in_flight(max_in_flight);
    let config = config.build().expect("a valid configuration");
    let subscription = Subscription::new("gates#ephemeral", "gates#ephemeral").expect("names");
    let system = System::new();
    let consumer = system.block_on(async {
        let worker = Worker {
            left: max_in_flight * rounds,
        };
        let worker = worker.start();
        let handler: MessageHandler = match &*mode {
            "each" => worker.recipient::<IncomingMessage>().into(),
            "batches" => worker.recipient::<IncomingMessages>().into(),
            mode => panic!("no mode: {mode}"),
        };
        Consumer::start(config, subscription, handler)
    });
    system.run().expect("no error");
    drop(consumer);
}
