//! The actors that a handle can stand for.

use actix::{Actor, Context, Handler};

use crate::{
    link::{Reconnect, WaitConnected},
    pool::ProducerPool,
    producer::{Drain, Producer},
};

/// The actors that a [`ProducerHandle`](crate::ProducerHandle) can stand for: [`Producer`] and
/// [`ProducerPool`].
pub trait Publisher:
    Actor<Context = Context<Self>>
    + Handler<WaitConnected>
    + Handler<Reconnect>
    + Handler<Drain>
    + sealed::Sealed
{
}

impl Publisher for Producer {}

impl Publisher for ProducerPool {}

mod sealed {
    use actix::Handler;

    use crate::{
        pool::ProducerPool,
        producer::{Producer, Submitted},
    };

    #[allow(private_bounds, reason = "no other crate implements it")]
    pub trait Sealed: Handler<Submitted> {}

    impl Sealed for Producer {}

    impl Sealed for ProducerPool {}
}
