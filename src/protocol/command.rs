//! Commands: everything that a client sends.

use std::fmt;

use bytes::Bytes;

use super::{
    message::MessageId,
    name::{Channel, Topic},
    outbox::Outbox,
};

/// The first bytes of every connection, which select protocol V2. nsqd does not answer them.
pub const MAGIC: &[u8; 4] = b"  V2";

/// One command of the V2 protocol. It borrows its parts.
///
/// The documented ranges are nsqd's. They are *not* checked here: nsqd closes the connection if one
/// is exceeded, so callers must check before they encode. `Debug` shows no secret, and lengths
/// instead of bodies.
///
/// ```
/// use actix_nsq::{
///     Topic,
///     bytes::Bytes,
///     protocol::{Command, Outbox},
/// };
///
/// let mut out = Outbox::new();
/// Command::Publish {
///     topic: &Topic::from_static("orders"),
///     body: &Bytes::from_static(b"hello"),
/// }
/// .encode(&mut out);
/// assert_eq!(out.take().concat(), b"PUB orders\n\0\0\0\x05hello");
/// ```
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Command<'a> {
    /// `IDENTIFY`: describes the client and requests features, as the JSON of
    /// [`Identify`](super::Identify). The first command of a connection.
    Identify(&'a [u8]),
    /// `AUTH`: sends the secret. Once, and only if the response to IDENTIFY requires it.
    Auth(&'a [u8]),
    /// `SUB`: subscribes the connection to a channel. Once per connection.
    Subscribe {
        /// The topic; nsqd creates it if it does not exist.
        topic: &'a Topic,
        /// The channel; nsqd creates it if it does not exist.
        channel: &'a Channel,
    },
    /// `PUB`: publishes one message.
    Publish {
        /// The topic; nsqd creates it if it does not exist.
        topic: &'a Topic,
        /// 1 byte to nsqd's `max_msg_size` (default 1 MiB).
        body: &'a Bytes,
    },
    /// `MPUB`: publishes several messages, answered by one `OK`.
    MultiPublish {
        /// The topic; nsqd creates it if it does not exist.
        topic: &'a Topic,
        /// At least one message, each with the limits of `PUB`. All bodies, 4 bytes per message and
        /// 4 bytes for their number are together at most nsqd's `max_body_size` (default 5 MiB).
        bodies: &'a [Bytes],
    },
    /// `DPUB`: publishes one message that nsqd delivers after a delay.
    DeferredPublish {
        /// The topic; nsqd creates it if it does not exist.
        topic: &'a Topic,
        /// Delay in milliseconds after nsqd received the command, 0 to nsqd's `max_req_timeout`
        /// (default 1 h).
        delay_ms: u64,
        /// 1 byte to nsqd's `max_msg_size` (default 1 MiB).
        body: &'a Bytes,
    },
    /// `RDY`: sets the maximum number of messages in flight on this connection, 0 to the
    /// `max_rdy_count` of the response to IDENTIFY.
    Ready(u32),
    /// `FIN`: the message was processed.
    Finish(MessageId),
    /// `REQ`: requests that the message is delivered again.
    Requeue {
        /// The message.
        id: MessageId,
        /// Delay in milliseconds. nsqd reduces it to its `max_req_timeout` (default 1 h).
        delay_ms: u64,
    },
    /// `TOUCH`: restarts the timeout of a message that is still being processed.
    Touch(MessageId),
    /// `CLS`: requests that nsqd sends no more messages; answered by `CLOSE_WAIT`.
    Close,
    /// `NOP`: answers a heartbeat; not answered by nsqd.
    Nop,
}

impl Command<'_> {
    /// Appends the command to `out`.
    ///
    /// ```text
    ///  IDENTIFY\n                         | u32 length | JSON
    ///  AUTH\n                             | u32 length | secret
    ///  SUB <topic> <channel>\n
    ///  PUB <topic>\n                      | u32 length | body
    ///  MPUB <topic>\n                     | u32 length | u32 n | n times ( u32 length | body )
    ///                                                  |<------------ length ------------->|
    ///  DPUB <topic> <milliseconds>\n      | u32 length | body
    ///  RDY <n>\n
    ///  FIN <id>\n   TOUCH <id>\n   REQ <id> <milliseconds>\n
    ///  CLS\n   NOP\n
    /// ```
    ///
    /// Encoding cannot fail. A length above `u32::MAX` is written as `u32::MAX`, which every nsqd
    /// rejects; callers check sizes against far smaller limits.
    pub fn encode(&self, out: &mut Outbox) {
        match *self {
            Command::Identify(json) => {
                out.put(b"IDENTIFY\n");
                out.put_u32(wire_length(json.len()));
                out.put(json);
            }
            Command::Auth(secret) => {
                out.put(b"AUTH\n");
                out.put_u32(wire_length(secret.len()));
                out.put(secret);
            }
            Command::Subscribe { topic, channel } => {
                out.put(b"SUB ");
                out.put(topic.as_str().as_bytes());
                out.put(b" ");
                out.put(channel.as_str().as_bytes());
                out.put(b"\n");
            }
            Command::Publish { topic, body } => {
                out.put(b"PUB ");
                out.put(topic.as_str().as_bytes());
                out.put(b"\n");
                put_body(out, body);
            }
            Command::MultiPublish { topic, bodies } => {
                put_batch(topic, bodies.len(), batch_size(bodies), bodies, out);
            }
            Command::DeferredPublish {
                topic,
                delay_ms,
                body,
            } => {
                out.put(b"DPUB ");
                out.put(topic.as_str().as_bytes());
                out.put(b" ");
                out.put_decimal(delay_ms);
                out.put(b"\n");
                put_body(out, body);
            }
            Command::Ready(count) => {
                out.put(b"RDY ");
                out.put_decimal(count.into());
                out.put(b"\n");
            }
            Command::Finish(id) => put_finish(&id, out),
            Command::Requeue { id, delay_ms } => {
                out.put(b"REQ ");
                out.put(id.as_bytes());
                out.put(b" ");
                out.put_decimal(delay_ms);
                out.put(b"\n");
            }
            Command::Touch(id) => {
                out.put(b"TOUCH ");
                out.put(id.as_bytes());
                out.put(b"\n");
            }
            Command::Close => out.put(b"CLS\n"),
            Command::Nop => out.put(b"NOP\n"),
        }
    }
}

/// Appends a FIN, the command of each consumed message: one copy instead of three.
pub(crate) fn put_finish(id: &MessageId, out: &mut Outbox) {
    let mut line = *b"FIN 0123456789abcdef\n";
    if let Some(place) = line.get_mut(4..20) {
        place.copy_from_slice(id.as_bytes());
    }
    out.put(&line);
}

fn put_body(out: &mut Outbox, body: &Bytes) {
    out.put_u32(wire_length(body.len()));
    out.put_shared(body);
}

/// Appends an MPUB of `count` bodies whose [`batch_size`] is `size`. Unlike
/// [`Command::MultiPublish`], the bodies need not be contiguous.
pub(crate) fn put_batch<'a>(
    topic: &Topic,
    count: usize,
    size: usize,
    bodies: impl IntoIterator<Item = &'a Bytes>,
    out: &mut Outbox,
) {
    // Shared bodies need no capacity, and copied ones are rarely that large.
    if size / count.max(1) < Outbox::SHARE_FROM {
        out.reserve(size.saturating_add(128));
    }
    out.put(b"MPUB ");
    out.put(topic.as_str().as_bytes());
    out.put(b"\n");
    out.put_u32(wire_length(size));
    out.put_u32(wire_length(count));
    bodies.into_iter().for_each(|body| put_body(out, body));
}

/// Returns the first length of an MPUB in bytes: it covers the number of messages, and each
/// message with its own length.
pub(crate) fn batch_size(bodies: &[Bytes]) -> usize {
    wire_size(bodies.len(), bodies.iter().map(Bytes::len).sum())
}

/// Returns [`batch_size`] for `count` messages with bodies of `bytes` bytes in total.
pub(crate) const fn wire_size(count: usize, bytes: usize) -> usize {
    count
        .saturating_add(1)
        .saturating_mul(4)
        .saturating_add(bytes)
}

fn wire_length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Secrets are omitted. Bodies may be large and private, so only their lengths are shown.
impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Command::Identify(json) => write!(f, "Identify({} bytes)", json.len()),
            // The length of the secret is omitted, too.
            Command::Auth(_) => f.write_str("Auth(..)"),
            Command::Subscribe { topic, channel } => f
                .debug_struct("Subscribe")
                .field("topic", topic)
                .field("channel", channel)
                .finish(),
            Command::Publish { topic, body } => f
                .debug_struct("Publish")
                .field("topic", topic)
                .field("body", &format_args!("{} bytes", body.len()))
                .finish(),
            Command::MultiPublish { topic, bodies } => f
                .debug_struct("MultiPublish")
                .field("topic", topic)
                .field(
                    "bodies",
                    &format_args!("{} in {} bytes", bodies.len(), batch_size(bodies)),
                )
                .finish(),
            Command::DeferredPublish {
                topic,
                delay_ms,
                body,
            } => f
                .debug_struct("DeferredPublish")
                .field("topic", topic)
                .field("delay_ms", &delay_ms)
                .field("body", &format_args!("{} bytes", body.len()))
                .finish(),
            Command::Ready(count) => f.debug_tuple("Ready").field(&count).finish(),
            Command::Finish(id) => f.debug_tuple("Finish").field(&id).finish(),
            Command::Requeue { id, delay_ms } => f
                .debug_struct("Requeue")
                .field("id", &id)
                .field("delay_ms", &delay_ms)
                .finish(),
            Command::Touch(id) => f.debug_tuple("Touch").field(&id).finish(),
            Command::Close => f.write_str("Close"),
            Command::Nop => f.write_str("Nop"),
        }
    }
}

#[cfg(test)]
mod tests;
