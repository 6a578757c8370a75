//! Async methods that publish, for the address of a pool.

use actix::Addr;

use super::actor::ProducerPool;
use crate::{
    error::PublishError,
    producer::{AnyPublish, PublishExt, Sealed},
};

impl Sealed for Addr<ProducerPool> {}

impl PublishExt for Addr<ProducerPool> {
    fn publish_message(
        &self,
        message: impl Into<AnyPublish>,
    ) -> impl Future<Output = Result<(), PublishError>> + Send {
        let request = self.send(message.into());
        async move { request.await? }
    }
}
