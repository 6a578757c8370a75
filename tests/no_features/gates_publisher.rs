//! The program that the gates measure. It publishes by `Addr::send`, and does nothing else.
//!
//! ```text
//! gates_publisher ADDRESS CALLERS ROUNDS [OPTION=VALUE]...
//! ```
//!
//! The program measures nothing itself, so that only the client costs something.
#![allow(clippy::expect_used, reason = "the test sees its exit status")]

mod callers;

use actix_nsq::{Producer, ProducerConfig, actix::System};

use self::callers::Arguments;

fn main() {
    let arguments = Arguments::read();
    let mut config = ProducerConfig::builder(&arguments.address);
    for (name, value) in &arguments.options {
        config = config.set(name, value).expect("an option and its value");
    }
    let config = config.build().expect("a valid configuration");
    System::new().block_on(async {
        let producer = Producer::start(config);
        let call = async move |publish| producer.send(publish).await?;
        arguments.publish(call).await;
    });
}
