//! Where a tool consumes from: the flags of NSQ's own tools, and a consumer for each topic.

use std::{collections::HashSet, fmt, time::Duration};

use actix_nsq::{
    Channel, ConfigError, ConnectionEvent, ConsumerConfig, ConsumerConfigBuilder, ConsumerHandle,
    MessageStream, NameError, Subscription, Topic, WaitError,
    actix::{Actor, Context, Handler},
    consumer::DrainReport,
};
use futures::future::try_join_all;
use tokio::sync::mpsc;

use crate::{consumer_opt::consumer_opt, failure::failure};

/// The flags of the source.
#[derive(Debug, clap::Args)]
pub(crate) struct SourceFlags {
    #[command(flatten)]
    pub(crate) addresses: Addresses,

    /// Maximum number of messages in flight of each topic
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = max_in_flight)]
    pub(crate) max_in_flight: usize,

    /// Option of the consumer, also NAME,VALUE; a boolean option alone means true; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = consumer_opt)]
    consumer_opt: Vec<(String, String)>,
}

/// The nsqds, or the nsqlookupds that know them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Addresses {
    /// Address of nsqd; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) nsqd_tcp_address: Vec<String>,

    /// HTTP address of nsqlookupd; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) lookupd_http_address: Vec<String>,
}

fn max_in_flight(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err("must be a number from 1 to 1000000".into()),
    }
}

impl SourceFlags {
    /// The configuration of the consumers of `tool`.
    pub(crate) fn config(&self, tool: &str) -> Result<ConsumerConfig, ConfigError> {
        self.builder(tool)?.build()
    }

    /// The same, for further options.
    pub(crate) fn builder(&self, tool: &str) -> Result<ConsumerConfigBuilder, ConfigError> {
        let version = env!("CARGO_PKG_VERSION");
        let Addresses {
            nsqd_tcp_address,
            lookupd_http_address,
        } = &self.addresses;
        let builder = ConsumerConfig::discover(lookupd_http_address)
            .addresses(nsqd_tcp_address)
            .user_agent(format!("{tool}/{version} actix-nsq/{version}"))
            .max_in_flight(self.max_in_flight);
        let mut options = self.consumer_opt.iter();
        options.try_fold(builder, |builder, (name, value)| builder.set(name, value))
    }
}

/// The consumers of a tool.
#[derive(Debug)]
pub(crate) struct Source {
    config: ConsumerConfig,
    channel: Channel,
    consumers: Vec<ConsumerHandle>,
    failures: mpsc::UnboundedSender<String>,
    failed: mpsc::UnboundedReceiver<String>,
}

impl Source {
    pub(crate) fn new(config: ConsumerConfig, channel: Channel) -> Self {
        let (failures, failed) = mpsc::unbounded_channel();
        Self {
            config,
            channel,
            consumers: Vec::new(),
            failures,
            failed,
        }
    }

    /// Starts a consumer of this topic.
    pub(crate) fn start(
        &mut self,
        topic: &Topic,
    ) -> Result<(ConsumerHandle, MessageStream), NameError> {
        let subscription = Subscription::new(topic.clone(), self.channel.clone())?;
        let (consumer, messages) = ConsumerHandle::start(self.config.clone(), subscription);
        let watcher = FirstConnections {
            pending: self.config.addresses().map(str::to_owned).collect(),
            failures: self.failures.clone(),
        };
        consumer.subscribe_connections(watcher.start().recipient());
        self.consumers.push(consumer.clone());
        Ok((consumer, messages))
    }

    /// Waits until the first attempt to connect to one of the nsqds that were given has failed, as
    /// NSQ's own tools end then. An nsqd that nsqlookupd names may fail.
    pub(crate) async fn failed(&mut self) -> String {
        // Cannot be `None`: this is a sender of the channel.
        self.failed.recv().await.unwrap_or_default()
    }

    /// Returns what is not answered, after this time for what is being handled.
    pub(crate) async fn drain(&self, timeout: Duration) -> Result<Drained, WaitError> {
        let drains = self
            .consumers
            .iter()
            .map(|consumer| consumer.drain(timeout));
        Ok(Drained(try_join_all(drains).await?))
    }
}

/// The reports of all consumers.
#[derive(Debug)]
pub(crate) struct Drained(Vec<DrainReport>);

impl Drained {
    /// Whether nsqd has executed every answer.
    pub(crate) fn is_clean(&self) -> bool {
        self.0.iter().all(DrainReport::is_clean)
    }
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, report) in self.0.iter().enumerate() {
            let comma = if number > 0 { "; " } else { "" };
            write!(f, "{comma}{report}")?;
        }
        Ok(())
    }
}

/// Reports the nsqds whose first connection fails.
struct FirstConnections {
    /// Those that were given, and not connected yet.
    pending: HashSet<String>,
    failures: mpsc::UnboundedSender<String>,
}

impl Actor for FirstConnections {
    type Context = Context<Self>;
}

impl Handler<ConnectionEvent> for FirstConnections {
    type Result = ();

    fn handle(&mut self, event: ConnectionEvent, _: &mut Context<Self>) {
        match event {
            ConnectionEvent::Connected { address, .. } => {
                self.pending.remove(&*address);
            }
            ConnectionEvent::BackingOff {
                address,
                reason: Some(reason),
                ..
            } if self.pending.contains(&*address) => {
                // The program may be ending.
                let reason = failure(&address, &reason);
                let text = format!("the first connection has failed: {reason}");
                let _ = self.failures.send(text);
            }
            _ => {}
        }
    }
}
