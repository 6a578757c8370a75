//! The same through a handle: a program of its own, so that it does not change what the compiler
//! makes of the other.
//!
//! ```text
//! gates_handle ADDRESS CALLERS ROUNDS [OPTION=VALUE]...
//! ```
#![allow(clippy::expect_used, reason = "the test sees its exit status")]

mod callers;

use actix_nsq::{ProducerConfig, ProducerHandle, actix::System};

use self::callers::Arguments;

fn main() {
    let arguments = Arguments::read();
    let mut config = ProducerConfig::builder(&arguments.address);
    for (name, value) in &arguments.options {
        config = config.set(name, value).expect("an option and its value");
    }
    let config = config.build().expect("a valid configuration");
    System::new().block_on(async {
        let producer = ProducerHandle::start(config);
        let call = async move |publish| producer.publish_message(publish).await;
        arguments.publish(call).await;
    });
}
