//! The [NSQ](https://nsq.io) client for [Actix](https://docs.rs/actix) applications: every publish
//! gets exactly one result, in bounded time while its arbiter is not blocked, and the result is
//! true.
//!
//! Start a [`Producer`], keep its address, and publish:
//!
//! ```no_run
//! use actix_nsq::{Delivery, Producer, ProducerConfig, PublishExt};
//!
//! #[actix::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let producer = Producer::start(ProducerConfig::new("127.0.0.1:4150")?);
//!     match producer.publish("orders", r#"{"id":1}"#).await {
//!         Ok(()) => println!("stored by nsqd"),
//!         Err(error) if error.delivery() != Delivery::NotWritten => {
//!             println!("may be stored, a retry may duplicate it: {error}");
//!         }
//!         Err(error) if error.is_retryable() => println!("not stored, safe to retry: {error}"),
//!         Err(error) => println!("not stored, and a retry would fail again: {error}"),
//!     }
//!     Ok(())
//! }
//! ```
//!
//! | to | use |
//! |---|---|
//! | publish one message, several, or one with a delay | [`Publish`], [`MultiPublish`], [`DeferredPublish`] |
//! | publish to several nsqds, of which some may fail | [`ProducerPool`], and the module [`pool`] |
//! | publish without actors, with backpressure | [`ProducerHandle`] |
//! | configure: builder, URL, environment | [`ProducerConfig`] |
//! | wait for nsqd, check it, reconnect | [`WaitConnected`], [`Ping`], [`Reconnect`] |
//! | observe | [`SubscribeEvents`], [`SubscribeFailures`], [`producer::GetState`], [`producer::GetStats`], and the module [`metrics`] |
//! | shut down gracefully | [`producer::Drain`] |
//! | consume with an actor, an async closure or a stream | [`Consumer`], [`MessageHandler`], [`IncomingMessage`] |
//! | consume without actors | [`ConsumerHandle`] |
//! | find nsqds by nsqlookupd | [`ConsumerConfig::discover`], [`PoolConfig::discover`], and the module `lookup` |
//! | create, pause, empty and delete topics and channels | the module `admin` |
//! | test an application | [`testing`], and `embedded`, nsqd and nsqlookupd inside the process |
//!
//! The [`guide`] has the longer texts: delivery, several nsqds, consuming, options, tuning,
//! troubleshooting, actix-web, metrics and health, integrations, command-line tools, migration.
//!
//! A [`Consumer`] handles messages of a topic and channel, each answered once:
//!
//! ```no_run
//! use actix_nsq::{Consumer, ConsumerConfig, IncomingMessage, MessageHandler, Subscription};
//!
//! async fn handle(message: IncomingMessage) -> Result<(), std::str::Utf8Error> {
//!     println!("{}", std::str::from_utf8(message.body())?);
//!     Ok(())
//! }
//!
//! # fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = ConsumerConfig::builder("127.0.0.1:4150").max_in_flight(100).build()?;
//! let subscription = Subscription::new("orders", "billing")?;
//! let consumer = Consumer::start(config, subscription, MessageHandler::from_fn(handle));
//! # drop(consumer);
//! # Ok(())
//! # }
//! ```
//!
//! # How it works
//!
//! Three actors exchange typed messages:
//!
//! ```text
//!           Publish                 Write (one per burst)     bytes
//!  caller -----------> Producer -----------------> ConnWriter -----------> nsqd
//!         <-----------    ^                           ^                     |
//!             the result  | Frames (one per read)     | NOP                 |
//!                         +---------- ConnReader -----+ (heartbeat)         |
//!                                         ^            bytes                |
//!                                         +---------------------------------+
//! ```
//!
//! The producer keeps a queue of transactions and completes the oldest one with each response of
//! nsqd. Reader and writer are new for each connection. When a connection is lost, the supervised
//! producer settles what was in flight and reconnects, indefinitely and with backoff; its address,
//! mailbox and queued publishes survive.
//!
//! A [`ProducerPool`] has a queue of its own, in front of one producer per nsqd. It passes
//! publishes on in bursts, and takes those back that a producer cannot send.
//!
//! # Automatic batching
//!
//! Publishes of one topic that are queued at the same moment share MPUBs, and nsqd's `OK` completes
//! all publishes of an MPUB. nsqd spends most of its time on sending responses, so this is
//! several times faster. There is no timer: a single [`Publish`] is sent at once, and
//! publishes only wait for responses to commands in flight. [`MultiPublish`], [`DeferredPublish`]
//! and bodies above 64 KiB are never batched, and nothing of their topic overtakes them. Two
//! properties differ from sending each publish by itself: order is kept within a topic, not across
//! topics; and if nsqd fails while it stores a batch (`E_MPUB_FAILED`: its disk is full), each
//! publish of the batch is [`MaybeWritten`](Delivery::MaybeWritten). If nsqd rejects a batch
//! because of its content, it has stored nothing: the publishes are retried one by one, and only
//! the invalid one fails. The options `auto_batch`, `auto_batch_messages` and `auto_batch_bytes`
//! turn batching off and limit it.
//!
//! # The delivery contract of a producer
//!
//! That of a consumer stands at [`Consumer`](Consumer#contract), that of a pool at
//! [`ProducerPool`](ProducerPool#contract).
//!
//! 1. Every accepted publish gets exactly one result, within `publish_timeout` (30 s by default) of
//!    its acceptance, provided that the producer's arbiter runs. Deadlines are checked every 20 ms,
//!    and 20 ms less often for each 100,000 publishes that are outstanding.
//!    A publish that arrives while there is no connection is queued as well, unless
//!    `wait_for_connection` says otherwise: then it is [`NotConnected`](ErrorKind::NotConnected) at
//!    once.
//! 2. The result is `Ok` only if nsqd's `OK` for that very command was read.
//! 3. Every [`PublishError`] has a [`Delivery`]. [`NotWritten`](Delivery::NotWritten): rejected
//!    locally, rejected by nsqd with an error code that is known to come before anything is stored,
//!    queued behind such a rejection, or never wholly accepted by the socket (nsqd executes nothing
//!    of half a command). [`MaybeWritten`](Delivery::MaybeWritten): wholly accepted by the socket
//!    without a response, rejected with an unknown code, or part of an automatic batch that failed
//!    with `E_MPUB_FAILED`. A [`MultiPublish`] is [`MaybePartial`](Delivery::MaybePartial) in these
//!    cases. A publish that an earlier connection may have stored is never `NotWritten` later.
//! 4. nsqd closes the connection when it rejects a publish. The publishes in flight behind it were
//!    not executed, and are retried in order, unless the error concerns their whole topic
//!    (`E_BAD_TOPIC`, `E_UNAUTHORIZED`): then all publishes of the topic fail with it, also those
//!    that wait for capacity, and those that follow within a second. Commands that were never
//!    wholly written are retried as well. If the error response itself is lost because nsqd resets
//!    the connection, the connection counts as lost. Publishes that may be stored are answered as
//!    such, or retried if `retry_maybe_written` is on.
//! 5. Names, sizes, counts and delays are validated before anything is sent. A local rejection
//!    affects no other publish.
//! 6. Memory is bounded: publishes without a result by `max_pending` and `max_pending_bytes`, those
//!    of one topic by `max_pending_per_topic`, publishes in flight by `publish_window` and
//!    `publish_window_bytes`, frames by `max_msg_size`. Beyond that the result is
//!    [`Full`](ErrorKind::Full) at once; a [`ProducerHandle`] waits for capacity instead. Publishes
//!    that wait so are limited by the number of their callers and the limits of their sinks, with
//!    about as many cancelled ones at most; those in the mailbox are not limited.
//! 7. A caller that cancels or times out changes no other result. A publish in flight keeps its
//!    place, and its late response is discarded; a publish that is not in flight is never sent.
//! 8. After a write error the responses that nsqd has sent already are still read and count.
//! 9. Publishes of one topic are written in the order in which their messages arrived, or in which
//!    they were submitted to a handle; without automatic batching, those of all topics. One of a
//!    handle may precede one that was sent to the address before it. A retried publish precedes
//!    every younger one of its topic.
//! 10. [`Drain`](producer::Drain) rejects new publishes, waits for outstanding ones, answers the
//!     rest truthfully, and reports counts. Afterwards the producer holds no socket, timer or other
//!     actor.
//! 11. TLS and AUTH are enforced: if nsqd declines TLS or its certificate is not acceptable, the
//!     connection fails, and nothing but the IDENTIFY that asks for TLS was sent. The secret is
//!     sent only to an nsqd that requires AUTH, and inside TLS if TLS is configured.
//! 12. No input of a peer causes a panic, an allocation beyond the limits, or a busy loop.
//!
//! # Limitations
//!
//! A message is stored by one nsqd: NSQ has no replication, and a pool makes no copies. Its order
//! holds per topic and member. nsqds are found by nsqlookupd only.
//!
//! # Features
//!
//! | feature | |
//! |---|---|
//! | `tls` | TLS by rustls with ring: the option `tls_v1` and its relatives |
//! | `rustls` | the same without ring: the program installs the default crypto provider of rustls |
//! | `snappy`, `deflate` | compression: the options of these names |
//! | `lookup` | discovery of nsqds by nsqlookupd: [`ConsumerConfig::discover`], [`PoolConfig::discover`], the module `lookup` |
//! | `embedded` | an nsqd and an nsqlookupd inside the process for tests, with faults on demand |
//!
//! None is on by default. AUTH needs no feature. An option whose feature is off is rejected by
//! name.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "lookup")]
#[cfg_attr(docsrs, doc(cfg(feature = "lookup")))]
pub mod admin;
#[cfg(any(feature = "deflate", feature = "snappy"))]
mod compression;
mod config;
mod conn;
pub mod consumer;
mod error;
mod handle;
mod link;
#[cfg(feature = "lookup")]
#[cfg_attr(docsrs, doc(cfg(feature = "lookup")))]
pub mod lookup;
pub mod metrics;
pub mod pool;
pub mod producer;
pub mod protocol;
mod runtime;
mod secret;
pub mod testing;

#[cfg(feature = "embedded")]
#[cfg_attr(docsrs, doc(cfg(feature = "embedded")))]
pub mod embedded;

#[cfg(feature = "lookup")]
#[cfg_attr(docsrs, doc(cfg(feature = "lookup")))]
pub use self::config::{LookupConfig, LookupConfigBuilder};
pub use self::{
    config::{
        BackoffStrategy, ConfigOption, ConfigScope, ConnectionConfig, ConnectionConfigBuilder,
        ConsumerConfig, ConsumerConfigBuilder, PoolConfig, PoolConfigBuilder, ProducerConfig,
        ProducerConfigBuilder, TlsVersion, WaitForConnection,
    },
    conn::{ConnectFuture, ConnectTarget, Connector, Transport},
    consumer::{
        Consumer, ConsumerEvent, ConsumerState, DeadLetter, DeadLetterReason, IncomingMessage,
        IncomingMessages, MessageHandler, MessageStream, Requeue, Subscription,
    },
    error::{
        AddNsqdError, AnswerError, ConfigError, ConnectionError, Delivery, ErrorKind, ErrorScope,
        PublishError, TlsFailure, WaitError,
    },
    handle::{ConsumerHandle, ProducerHandle, PublishSink, Publisher, Readiness, SinkError},
    link::{
        ConnectionEvent, DeferredReply, Reconnect, SubscribeEvents, Unsubscribe, WaitConnected,
    },
    metrics::Latency,
    pool::ProducerPool,
    producer::{
        AnyPublish, DeferredPublish, MultiPublish, Ping, Producer, ProducerEvent, ProducerState,
        Publish, PublishExt, PublishFailure, SubscribeFailures,
    },
    protocol::{Channel, NameError, Topic},
    secret::Secret,
};
pub use {actix, bytes};

/// Longer texts: what a result means, several nsqds, consuming, options, tuning, scale,
/// troubleshooting, actix-web, metrics and health, integrations, command-line tools, migration.
// The pages link to each other's files. The definitions here come first, so that on docs.rs they
// win.
pub mod guide {
    #[doc = include_str!("../docs/delivery.md")]
    pub mod delivery {}
    #[doc = "[consuming]: crate::guide::consuming#which-nsqds"]
    #[doc = "[tuning]: crate::guide::tuning#windows-and-memory"]
    #[doc = include_str!("../docs/several-nsqds.md")]
    pub mod several_nsqds {}
    #[doc = "[metrics]: crate::guide::metrics"]
    #[doc = include_str!("../docs/consuming.md")]
    pub mod consuming {}
    #[doc = include_str!("../docs/actix-web.md")]
    pub mod actix_web {}
    #[doc = "[tuning]: crate::guide::tuning"]
    #[doc = include_str!("../docs/options.md")]
    pub mod options {}
    #[doc = "[options]: crate::guide::options"]
    #[doc = "[several]: crate::guide::several_nsqds"]
    #[doc = "[metrics]: crate::guide::metrics"]
    #[doc = "[scale]: crate::guide::scale"]
    #[doc = include_str!("../docs/tuning.md")]
    pub mod tuning {}
    #[doc = "[arbiters]: crate::guide::tuning#arbiters"]
    #[doc = "[batching]: crate::guide::tuning#automatic-batching"]
    #[doc = "[windows]: crate::guide::tuning#windows-and-memory"]
    #[doc = include_str!("../docs/scale.md")]
    pub mod scale {}
    #[doc = "[arbiters]: crate::guide::tuning#arbiters"]
    #[doc = "[delivery]: crate::guide::delivery"]
    #[doc = "[nsqd]: crate::guide::delivery#what-nsqd-does-not-promise"]
    #[doc = "[options]: crate::guide::options"]
    #[doc = "[topics]: crate::guide::several_nsqds#topics-and-channels-beforehand"]
    #[doc = "[windows]: crate::guide::tuning#windows-and-memory"]
    #[doc = include_str!("../docs/troubleshooting.md")]
    pub mod troubleshooting {}
    #[doc = "[options]: crate::guide::options"]
    #[doc = include_str!("../docs/tools.md")]
    pub mod tools {}
    #[doc = "[consuming]: crate::guide::consuming#what-to-monitor"]
    #[doc = "[tuning]: crate::guide::tuning#what-to-monitor"]
    #[doc = include_str!("../docs/metrics.md")]
    pub mod metrics {}
    #[doc = "[delivery]: crate::guide::delivery"]
    #[doc = "[metrics]: crate::guide::metrics"]
    #[doc = include_str!("../docs/integrations.md")]
    pub mod integrations {}
    #[doc = include_str!("../MIGRATION.md")]
    pub mod migration {}
}

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
