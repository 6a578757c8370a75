//! The consumer: messages of one topic and channel, from any number of nsqds.

mod backoff;
mod connection_key;
mod flow;
mod in_flight;
