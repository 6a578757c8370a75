//! The metrics of a discovery.

use std::sync::Arc;

use super::state::LookupState;
use crate::metrics::{Metric, Sample, Samples};

const QUERIES: Metric = (
    "nsq_lookupd_queries_total",
    "Queries that have ended, by their outcome.",
);
const ANSWERED_NODES: Metric = (
    "nsq_lookupd_answered_nodes",
    "Nodes that can be used in the last answer of this nsqlookupd.",
);
const LAST_ANSWER: Metric = (
    "nsq_lookupd_last_answer_timestamp_seconds",
    "Unix time of the last answer of this nsqlookupd.",
);
const NODES: Metric = (
    "nsq_lookupd_nodes",
    "Discovered nsqds, by whether there is a connection.",
);

impl LookupState {
    /// Returns the statistics as metrics, those of an nsqlookupd with the label `lookupd`.
    #[must_use]
    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = Samples::with_labels(&[]);
        let connected = self.nodes.iter().filter(|node| node.is_connected).count();
        let nodes = [
            ("connected", connected),
            ("not_connected", self.nodes.len() - connected),
        ];
        samples.gauges(NODES, ("state", &nodes));
        for lookupd in &self.lookupds {
            samples.with_label("lookupd", Arc::clone(&lookupd.address), |samples| {
                let outcomes = [("ok", lookupd.answers), ("failed", lookupd.errors)];
                samples.counters(QUERIES, ("outcome", &outcomes));
                if let Some(nodes) = lookupd.nodes {
                    samples.gauge(ANSWERED_NODES, nodes);
                }
                if let Some(time) = lookupd.last_answer {
                    samples.gauge(LAST_ANSWER, time);
                }
            });
        }
        samples.into_vec()
    }
}
