//! Tasks that publish the messages that the same process consumes.

use std::{cell::Cell, error::Error, rc::Rc};

use actix_nsq::{Producer, Publish, PublishError};
use tokio::task::JoinSet;

use super::options::Options;
use crate::bodies::Bodies;

/// Publishes the messages of `--publishers`, and returns when each has its result.
pub(super) async fn publish(options: &Options) -> Result<(), Box<dyn Error>> {
    let Some(publishers) = &options.publishers else {
        return Ok(());
    };
    let producer = Producer::start(publishers.config.clone());
    let body = Bodies::of_size(publishers.size).of(0);
    let left = Rc::new(Cell::new(options.messages));
    let mut callers = JoinSet::new();
    for _ in 0..publishers.count {
        let (topic, body) = (options.topic.clone(), body.clone());
        let (producer, left) = (producer.clone(), Rc::clone(&left));
        callers.spawn_local(async move {
            while let Some(rest) = left.get().checked_sub(1) {
                left.set(rest);
                producer.send(Publish::new(&topic, body.clone())).await??;
            }
            Ok::<_, PublishError>(())
        });
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}
