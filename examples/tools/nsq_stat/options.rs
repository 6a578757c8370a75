//! The command line.

use std::time::Duration;

use actix_nsq::{
    Channel, ConfigError, ConnectionConfig, LookupConfig, Topic, admin::Nsqd, lookup::Node,
};
use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::{arguments, duration::positive_duration};

/// Prints the rates and the depth of a channel at regular intervals.
#[derive(Debug, Parser)]
#[command(name = "nsq_stat", version)]
struct Flags {
    /// NSQ topic
    #[arg(long)]
    topic: Topic,

    /// NSQ channel
    #[arg(long)]
    channel: Channel,

    #[command(flatten)]
    addresses: Addresses,

    /// Time between two rows
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = positive_duration)]
    interval: Duration,

    /// Number of rows [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Time for connecting
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = positive_duration)]
    http_client_connect_timeout: Duration,

    /// Time for a request, from connecting to the end of the answer
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = positive_duration)]
    http_client_request_timeout: Duration,
}

/// The nsqds, or the nsqlookupds that know them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Addresses {
    /// HTTP address of nsqd; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    nsqd_http_address: Vec<String>,

    /// HTTP address of nsqlookupd; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    lookupd_http_address: Vec<String>,
}

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) topic: Topic,
    pub(crate) channel: Channel,
    pub(crate) nsqds: Nsqds,
    pub(crate) interval: Duration,
    /// Number of rows; `None`: no limit.
    pub(crate) count: Option<u64>,
    requests: Requests,
}

/// Which nsqds are asked.
#[derive(Debug)]
pub(crate) enum Nsqds {
    Given(Vec<(String, Nsqd)>),
    Discovered(LookupConfig),
}

/// The limits of a request.
#[derive(Debug)]
struct Requests {
    connection: ConnectionConfig,
    timeout: Duration,
}

impl Options {
    /// Parses the command line. Exits with code 2 if it is wrong.
    pub(crate) fn from_command_line() -> Self {
        Self::new(arguments::parse()).unwrap_or_else(|error| {
            Flags::command()
                .error(ErrorKind::ValueValidation, error)
                .exit()
        })
    }

    fn new(flags: Flags) -> Result<Self, ConfigError> {
        let connection = ConnectionConfig::builder()
            .dial_timeout(flags.http_client_connect_timeout)
            .build()?;
        let requests = Requests {
            connection,
            timeout: flags.http_client_request_timeout,
        };
        let lookupds = flags.addresses.lookupd_http_address;
        let nsqds = if lookupds.is_empty() {
            let given = flags.addresses.nsqd_http_address.into_iter();
            let nsqds = given.map(|address| {
                let nsqd = requests.nsqd(&address)?;
                Ok((address, nsqd))
            });
            Nsqds::Given(nsqds.collect::<Result<_, ConfigError>>()?)
        } else {
            let lookup = LookupConfig::builder(lookupds)
                .connection(requests.connection.clone())
                .lookupd_poll_timeout(requests.timeout);
            Nsqds::Discovered(lookup.build()?)
        };
        Ok(Self {
            topic: flags.topic,
            channel: flags.channel,
            nsqds,
            interval: flags.interval,
            count: flags.count,
            requests,
        })
    }

    /// An nsqd that an nsqlookupd has named.
    pub(crate) fn nsqd_of(&self, node: &Node) -> Result<Nsqd, ConfigError> {
        let host = node.broadcast_address.trim_matches(['[', ']']);
        let address = if host.contains(':') {
            format!("[{host}]:{}", node.http_port)
        } else {
            format!("{host}:{}", node.http_port)
        };
        self.requests.nsqd(&address)
    }
}

impl Requests {
    fn nsqd(&self, address: &str) -> Result<Nsqd, ConfigError> {
        let nsqd = Nsqd::with_connection(address, self.connection.clone())?;
        Ok(nsqd.timeout(self.timeout))
    }
}
