//! The statistics of a channel at one moment, of each nsqd.

use std::{collections::BTreeMap, error::Error};

use actix_nsq::{
    admin::{ChannelStats, Nsqd},
    lookup,
};
use futures::future::join_all;

use crate::{
    failure::failure,
    options::{Nsqds, Options},
};

/// The statistics of a channel, by the addresses of the nsqds that have it.
#[derive(Debug)]
pub(crate) struct Sample(pub(crate) BTreeMap<String, ChannelStats>);

impl Sample {
    /// Asks all nsqds at the same time.
    pub(crate) async fn take(options: &Options) -> Result<Self, Box<dyn Error>> {
        let nsqds = nsqds(options).await?;
        let requests = nsqds.into_iter().map(|(address, nsqd)| async move {
            let stats = nsqd.topic_stats(&options.topic).await;
            (address, stats)
        });
        let mut channels = BTreeMap::new();
        for (address, stats) in join_all(requests).await {
            let stats = stats.map_err(|error| failure(&address, &error))?;
            let mut all = stats.into_iter().flat_map(|topic| topic.channels);
            if let Some(channel) = all.find(|it| it.channel_name == options.channel.as_str()) {
                channels.insert(address, channel);
            }
        }
        if channels.is_empty() {
            let (topic, channel) = (&options.topic, &options.channel);
            return Err(format!("no nsqd has channel {channel} of topic {topic}").into());
        }
        Ok(Self(channels))
    }
}

async fn nsqds(options: &Options) -> Result<Vec<(String, Nsqd)>, Box<dyn Error>> {
    let config = match &options.nsqds {
        Nsqds::Given(nsqds) => return Ok(nsqds.clone()),
        Nsqds::Discovered(config) => config,
    };
    let nodes = lookup::lookup(config, &options.topic).await?;
    let nsqds = nodes.iter().map(|node| {
        let nsqd = options.nsqd_of(node)?;
        Ok((node.address.to_string(), nsqd))
    });
    nsqds.collect()
}
