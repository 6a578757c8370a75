//! Single queries, without an actor.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;

use super::{
    answer::{self, Query},
    http::Response,
    peer::get,
};
use crate::{
    config::{LookupConfig, LookupdAddress},
    error::LookupError,
    protocol::{Topic, node::Node},
};

/// Returns all nsqds that the nsqlookupds know, in the order of their addresses, each with its
/// topics. The `node_filter` of the configuration applies.
///
/// All nsqlookupds are queried at the same time, and the result is the union of the answers.
///
/// # Errors
///
/// [`LookupError`] of the first nsqlookupd, only if none has answered.
///
/// # Cancel safety
///
/// It changes nothing.
pub async fn nodes(config: &LookupConfig) -> Result<Vec<Node>, LookupError> {
    union_of_nodes(config, &Query::Nodes).await
}

/// Returns the nsqds of a topic, in the order of their addresses, without those where the topic is
/// tombstoned. Empty if no nsqlookupd knows the topic. The `node_filter` of the configuration
/// applies.
///
/// # Errors
///
/// As for [`nodes`].
///
/// # Cancel safety
///
/// It changes nothing.
pub async fn lookup(config: &LookupConfig, topic: &Topic) -> Result<Vec<Node>, LookupError> {
    union_of_nodes(config, &Query::Topic(topic.clone())).await
}

/// Returns all topics that the nsqlookupds know, in order.
///
/// # Errors
///
/// As for [`nodes`].
///
/// # Cancel safety
///
/// It changes nothing.
pub async fn topics(config: &LookupConfig) -> Result<Vec<Topic>, LookupError> {
    let target = |address: &LookupdAddress| address.request("topics");
    let answers = answers(config, target, |it| answer::topics(&it.head, &it.body)).await?;
    let topics: BTreeSet<Topic> = answers.into_iter().flatten().collect();
    Ok(topics.into_iter().collect())
}

async fn union_of_nodes(config: &LookupConfig, query: &Query) -> Result<Vec<Node>, LookupError> {
    let target = |address: &LookupdAddress| match query {
        Query::Topic(topic) => address.topic_request(topic),
        Query::Nodes => address.request("nodes"),
    };
    let answers = answers(config, target, |it| {
        answer::nodes(query, &it.head, &it.body)
    })
    .await?;
    let mut nodes = BTreeMap::<_, Node>::new();
    for node in answers.into_iter().flat_map(|answer| answer.nodes) {
        match nodes.get_mut(&node.address) {
            Some(known) => known.add_topics(&node),
            None => {
                nodes.insert(std::sync::Arc::clone(&node.address), node);
            }
        }
    }
    let nodes = nodes.into_values();
    Ok(nodes.filter(|node| config.accepts(node)).collect())
}

/// Returns the answers of all nsqlookupds that answer.
async fn answers<T>(
    config: &LookupConfig,
    target: impl Fn(&LookupdAddress) -> String,
    parse: impl Fn(Response) -> Result<T, LookupError>,
) -> Result<Vec<T>, LookupError> {
    let parse = &parse;
    let queries = config.addresses().iter().map(|address| {
        let get = get(config, address, target(address));
        async move {
            let get = get.map_err(|error| LookupError::NotHttp {
                problem: error.to_string(),
            })?;
            get.send(None).await.0.and_then(parse)
        }
    });
    let (mut answers, mut first_error) = (Vec::new(), None);
    for result in join_all(queries).await {
        match result {
            Ok(answer) => answers.push(answer),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        }
    }
    if answers.is_empty() {
        return Err(first_error.unwrap_or(LookupError::NoAddress));
    }
    Ok(answers)
}
