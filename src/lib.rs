//! The NSQ client for Actix applications: every publish gets exactly one, truthful answer.
//!
//! An application starts a [`Producer`], keeps its address, and sends it [`Publish`], [`MultiPublish`] and
//! [`DeferredPublish`] messages.
//!
//! ```no_run
//! use actix_nsq::{ProducerConfig, Producer, Publish, Topic};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let producer = Producer::start(ProducerConfig::new("127.0.0.1:4150")?);
//! let topic = Topic::new("orders")?;
//! producer.send(Publish::new(&topic, "an order")).await??;
//! # Ok(())
//! # }
//! ```
//!
//! Those who do not want actors take a [`ProducerHandle`], which waits where a message is told that there is no room.
//! [`SubscribeEvents`], [`GetState`] and [`GetStats`] show what a producer does; [`WaitConnected`], [`Ping`], [`Reconnect`]
//! and [`Drain`] steer it.
//!
//! # The ring
//!
//! Three actors, and messages that travel one way round:
//!
//! ```text
//!           Publish                 Write (one per burst)     bytes
//!  caller -----------> Producer -----------------> ConnWriter -----------> nsqd
//!         <-----------    ^                           ^                     |
//!      Result<(), PublishError>  | Frames (one per read)     | NOP                 |
//!                         +---------- ConnReader -----+ (heartbeat)         |
//!                                         ^            bytes                |
//!                                         +---------------------------------+
//! ```
//!
//! One publish, file by file: `producer/publish.rs` checks it and makes it a transaction with the caller's reply in it;
//! `producer/queue/mod.rs` queues it; at the end of the actor's turn (`producer/tail.rs`) `producer/session.rs`
//! asks for commands, which `producer/queue/dispatch.rs` forms and encodes, and hands the burst to `conn/writer.rs`; `conn/reader.rs` brings nsqd's answer back to the session, and
//! the queue answers the caller.
//!
//! # Automatic batching
//!
//! Publishes of one topic that wait at the same moment leave as one MPUB, and nsqd's one `OK` answers all of them: nsqd spends
//! most of its time on answers, so this is several times faster. There is no timer: a lone [`Publish`] leaves at once, as
//! PUB, and what waits only waits for answers to what is in flight. A [`MultiPublish`], a [`DeferredPublish`] and bodies above 64 KiB go by themselves, and nothing of their
//! topic overtakes them. Two things are other than without it. Order is kept within a topic, and not across topics. And when nsqd
//! fails in the midst of such a batch (`E_MPUB_FAILED`: a full disk), each of its publishes is
//! [`MaybeWritten`](Delivery::MaybeWritten), since any of them may be stored. When nsqd refuses a batch for what is in it, it
//! has stored nothing: its publishes are sent again one by one, so that only the guilty one fails. The options `auto_batch`, `auto_batch_messages` and `auto_batch_bytes` turn it off and bound it.
//!
//! # The delivery contract
//!
//! 1. Every publish that the producer accepted gets exactly one answer, within `publish_timeout` of its acceptance.
//! 2. `Ok` only when nsqd's `OK` frame for that very command was read.
//! 3. Every [`PublishError`] tells its [`Delivery`]. Refused here, refused by nsqd with an error code known to come before
//!    anything is stored, queued behind such a refusal, or never wholly handed to the socket (nsqd executes nothing
//!    of half a command): [`NotWritten`](Delivery::NotWritten). Wholly handed over and not answered, or refused with a code
//!    that is not known, or with the `E_MPUB_FAILED` of an automatic batch: [`MaybeWritten`](Delivery::MaybeWritten). The
//!    same for a [`MultiPublish`]: [`MaybePartial`](Delivery::MaybePartial). What an earlier connection may have stored is never called not written
//!    again.
//! 4. nsqd closes the connection when it refuses a publish. The publishes behind that one were not executed, and are
//!    sent again in order, unless the refusal is a verdict on their topic (`E_BAD_TOPIC`, `E_UNAUTHORIZED`; after the latter
//!    the topic is refused here for a second). A refusal
//!    that is itself lost, as may happen when much was sent behind it and nsqd resets the connection, leaves a lost
//!    connection. What was never wholly sent when a connection is lost is sent again as well. What may be stored is
//!    answered so, or sent again with `retry_maybe_written`.
//! 5. Sizes, counts and delays are checked before anything is sent, and names are types that are parsed. What is
//!    refused here touches nobody else.
//! 6. Memory is bounded: publishes accepted and not answered by count and bytes (`max_pending`, `max_pending_bytes`),
//!    those sent by `publish_window` and `publish_window_bytes`, frames by `max_msg_size`. Beyond, the answer is
//!    [`Full`](ErrorKind::Full) at once; a [`ProducerHandle`] waits for room instead, with its caller's message in hand.
//! 7. A caller that gives up or times out changes nobody else's answer. Handed over already, its publish keeps its place and
//!    the late answer is swallowed; else it is never sent.
//! 8. When writing fails, what nsqd said before is still read: its answers are real.
//! 9. Publishes of one topic are written in the order in which their messages arrived; without automatic batching, those of
//!    all topics. One that is sent again keeps its place before everything younger of its topic.
//! 10. [`Drain`] refuses new publishes, waits for the outstanding ones, answers the rest truthfully, and reports counts.
//!     After it the producer holds no socket, no timer and no other actor.
//! 11. What was to be encrypted never goes in clear text: where nsqd declines TLS, or shows a certificate that is not
//!     acceptable, there is no connection, and all that was sent is the IDENTIFY that asked. The secret of AUTH goes only to an
//!     nsqd that requires it, and inside TLS where that was asked for.
//! 12. Nothing that a peer sends makes this crate panic, allocate beyond the bounds, or loop.
//!
//! # What is absent
//!
//! One producer speaks to one nsqd. The consumer and nsqlookupd are to come.
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `tls` | TLS by rustls, with ring: the options `tls_v1` and its kin |
//! | `snappy`, `deflate` | compression: the options of these names |
//! | `embedded` | an nsqd inside the process, for tests, with faults on demand |
//!
//! AUTH needs no feature. What needs a feature that is not there is refused by name, not passed over.
//!
//! # The map
//!
//! Each folder may import only what stands left of it: `protocol` <- `conn` <- `producer`; `config`, `error`, `secret`,
//! `compression` and `backoff` stand beside `conn`, and `handle` is a user of `producer`. `embedded` imports nothing of the
//! crate, so that a mistake cannot cancel out, but `compression`, which is held against nsqd's own, and the name [`TlsVersion`].
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod backoff;
#[cfg(any(feature = "deflate", feature = "snappy"))]
mod compression;
mod config;
mod conn;
mod error;
mod handle;
mod producer;
pub mod protocol;
mod secret;
pub mod testing;

#[cfg(feature = "embedded")]
#[cfg_attr(docsrs, doc(cfg(feature = "embedded")))]
pub mod embedded;

pub use self::{
    config::{ConfigOption, ProducerConfig, ProducerConfigBuilder, TlsVersion},
    conn::{ConnectFuture, ConnectTarget, Connector, Transport},
    error::{
        ConfigError, ConnectionError, Delivery, ErrorKind, ErrorScope, PublishError, TlsFailure,
        WaitError,
    },
    handle::ProducerHandle,
    producer::{
        AnyPublish, ConnectionEvent, DeferredPublish, Drain, DrainReport, GetState, GetStats,
        Latency, MultiPublish, Ping, Producer, ProducerState, Publish, PublishFailure, Reconnect,
        Stats, SubscribeEvents, SubscribeFailures, WaitConnected,
    },
    protocol::{Channel, NameError, Topic},
    secret::Secret,
};
pub use {actix, bytes};

/// The examples of the README and of the pages, compiled.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../MIGRATION.md")]
    struct Migration;
    #[doc = include_str!("../docs/delivery.md")]
    struct Delivery;
    #[doc = include_str!("../docs/tuning.md")]
    struct Tuning;
}
