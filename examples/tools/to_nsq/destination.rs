//! Where the records are published: one nsqd, or a pool of them.

use std::time::Duration;

use actix_nsq::{
    ConfigError, ConnectionEvent, PoolConfig, ProducerConfig, ProducerHandle, ProducerPool,
    PublishError, Topic, WaitError, actix::Recipient, bytes::Bytes,
};

/// A destination that receives every record.
#[derive(Debug)]
pub(crate) struct Destination {
    /// The configuration of the nsqd, or that which all members of the pool share.
    producer: ProducerConfig,
    pool: Option<PoolConfig>,
}

impl Destination {
    /// An nsqd, with options of a producer.
    pub(crate) fn nsqd(address: &str, options: &[(String, String)]) -> Result<Self, ConfigError> {
        let mut options = options.iter();
        let builder = options.try_fold(ProducerConfig::builder(address), |builder, option| {
            builder.set(&option.0, &option.1)
        });
        Ok(Self {
            producer: builder?.build()?,
            pool: None,
        })
    }

    /// A pool of the nsqds at these addresses, at least one, with options of a pool.
    pub(crate) fn pool(
        addresses: &[&str],
        options: &[(String, String)],
    ) -> Result<Self, ConfigError> {
        let mut options = options.iter();
        let builder = PoolConfig::builder(addresses.iter().copied());
        let builder =
            options.try_fold(builder, |builder, option| builder.set(&option.0, &option.1));
        let pool = builder?.build()?;
        let first = addresses.first().copied().unwrap_or_default();
        Ok(Self {
            producer: pool.member(first)?,
            pool: Some(pool),
        })
    }

    /// The limits and timeouts. Those of one member of a pool.
    pub(crate) fn limits(&self) -> &ProducerConfig {
        &self.producer
    }

    pub(crate) fn is_pool(&self) -> bool {
        self.pool.is_some()
    }

    pub(crate) fn addresses(&self) -> Vec<&str> {
        match &self.pool {
            Some(pool) => pool.addresses().collect(),
            None => vec![self.producer.address()],
        }
    }

    pub(crate) fn start(&self) -> Publisher {
        match &self.pool {
            Some(pool) => Publisher::Pool(ProducerHandle::start_pool(pool.clone())),
            None => Publisher::Nsqd(ProducerHandle::start(self.producer.clone())),
        }
    }
}

/// The producer of a destination.
#[derive(Debug, Clone)]
pub(crate) enum Publisher {
    Nsqd(ProducerHandle),
    Pool(ProducerHandle<ProducerPool>),
}

impl Publisher {
    pub(crate) async fn publish(&self, topic: Topic, body: Bytes) -> Result<(), PublishError> {
        match self {
            Self::Nsqd(nsqd) => nsqd.publish(topic, body).await,
            Self::Pool(pool) => pool.publish(topic, body).await,
        }
    }

    /// Waits for a connection; in a pool, for the first.
    pub(crate) async fn wait_connected(&self, timeout: Duration) -> Result<(), WaitError> {
        match self {
            Self::Nsqd(nsqd) => nsqd.wait_connected(timeout).await,
            Self::Pool(pool) => pool.wait_connected(timeout).await,
        }
    }

    pub(crate) fn subscribe(&self, recipient: Recipient<ConnectionEvent>) {
        match self {
            Self::Nsqd(nsqd) => nsqd.subscribe(recipient),
            Self::Pool(pool) => pool.subscribe(recipient),
        }
    }

    /// Completes every publish now: it was not written, or may have been.
    pub(crate) async fn stop(&self) {
        // Fails only if it has stopped already.
        let _ = match self {
            Self::Nsqd(nsqd) => nsqd.drain(Duration::ZERO).await,
            Self::Pool(pool) => pool.drain(Duration::ZERO).await,
        };
    }
}
