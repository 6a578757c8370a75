//! The same for a pool: a program of its own, so that it does not change what the compiler makes of
//! the other.
//!
//! ```text
//! gates_pool ADDRESS[,ADDRESS]... CALLERS ROUNDS [OPTION=VALUE]...
//! ```
#![allow(clippy::expect_used, reason = "the test sees its exit status")]

mod callers;

use actix_nsq::{PoolConfig, ProducerPool, actix::System};

use self::callers::Arguments;

fn main() {
    let arguments = Arguments::read();
    let mut config = PoolConfig::builder(arguments.address.split(','));
    for (name, value) in &arguments.options {
        config = config.set(name, value).expect("an option and its value");
    }
    let config = config.build().expect("a valid configuration");
    System::new().block_on(async {
        let pool = ProducerPool::start(config);
        let call = async move |publish| pool.send(publish).await?;
        arguments.publish(call).await;
    });
}
