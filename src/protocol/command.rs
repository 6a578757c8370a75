//! What a client can say.

use std::fmt;

use bytes::Bytes;

use super::{
    message::MessageId,
    name::{Channel, Topic},
    outbox::Outbox,
};

/// The first bytes of every connection: which protocol is meant. nsqd does not answer them.
pub const MAGIC: &[u8; 4] = b"  V2";

/// One command of the V2 protocol, borrowing what it is made of.
///
/// Ranges are nsqd's and are *not* checked here: breaking one costs the connection, so callers check before they encode.
/// `Debug` shows no secret, and lengths instead of bodies.
#[derive(Clone, Copy)]
pub enum Command<'a> {
    /// `IDENTIFY`: who this client is and what it would like; the JSON of [`Identify`](super::Identify). First command, once.
    Identify(&'a [u8]),
    /// `AUTH`: the secret. Once, and only if nsqd's answer to IDENTIFY asks for it.
    Auth(&'a [u8]),
    /// `SUB`: deliver messages of this channel here. Once per connection.
    Subscribe {
        /// The topic; nsqd creates it if need be.
        topic: &'a Topic,
        /// The channel; nsqd creates it if need be.
        channel: &'a Channel,
    },
    /// `PUB`: publish one message.
    Publish {
        /// Where to.
        topic: &'a Topic,
        /// The message: 1 byte to nsqd's `max_msg_size` (1 MiB by default).
        body: &'a Bytes,
    },
    /// `MPUB`: publish several messages, answered by one `OK`.
    MultiPublish {
        /// Where to.
        topic: &'a Topic,
        /// At least one message, each as in `PUB`; counted with 4 bytes more per message and 4 for their number, all
        /// together at most nsqd's `max_body_size` (5 MiB by default).
        bodies: &'a [Bytes],
    },
    /// `DPUB`: publish one message that channels deliver only later.
    DeferredPublish {
        /// Where to.
        topic: &'a Topic,
        /// Milliseconds from nsqd's receipt; 0 to nsqd's `max_req_timeout` (1 h by default), more is fatal.
        delay_ms: u64,
        /// The message, as in `PUB`.
        body: &'a Bytes,
    },
    /// `RDY`: how many messages may be in flight on this connection; 0 to the `max_rdy_count` of nsqd's IDENTIFY response.
    Ready(u32),
    /// `FIN`: the message is done.
    Finish(MessageId),
    /// `REQ`: deliver the message again.
    Requeue {
        /// Which message.
        id: MessageId,
        /// Milliseconds to wait before that; more than nsqd's `max_req_timeout` (1 h by default) is cut to it.
        delay_ms: u64,
    },
    /// `TOUCH`: the message is still being worked on; its time-out starts anew.
    Touch(MessageId),
    /// `CLS`: send no more messages; answered by `CLOSE_WAIT`.
    Close,
    /// `NOP`: a sign of life, not answered.
    Nop,
}

impl Command<'_> {
    /// Writes the command into `out`.
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
    /// Encoding cannot fail. A length above `u32::MAX` is written as `u32::MAX`, which every nsqd refuses; callers check sizes
    /// earlier and against far smaller limits.
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
            Command::Finish(id) => {
                out.put(b"FIN ");
                out.put(id.as_bytes());
                out.put(b"\n");
            }
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

fn put_body(out: &mut Outbox, body: &Bytes) {
    out.put_u32(wire_length(body.len()));
    out.put_shared(body);
}

/// Writes an MPUB of `count` bodies, which need not lie side by side; `size` is their [`batch_size`].
pub(crate) fn put_batch<'a>(
    topic: &Topic,
    count: usize,
    size: usize,
    bodies: impl IntoIterator<Item = &'a Bytes>,
    out: &mut Outbox,
) {
    // Bodies that are shared need no room, and few of those that are copied are that large.
    if size / count.max(1) < Outbox::SHARE_FROM {
        out.reserve(size.saturating_add(128));
    }
    out.put(b"MPUB ");
    out.put(topic.as_str().as_bytes());
    out.put(b"\n");
    out.put_u32(wire_length(size));
    out.put_u32(wire_length(count));
    for body in bodies {
        put_body(out, body);
    }
}

/// What MPUB's first length covers: the number of messages, and each message with its own length.
pub(crate) fn batch_size(bodies: &[Bytes]) -> usize {
    wire_size(bodies.len(), bodies.iter().map(Bytes::len).sum())
}

/// The same for `count` messages of `bytes` bytes in all.
pub(crate) const fn wire_size(count: usize, bytes: usize) -> usize {
    count
        .saturating_add(1)
        .saturating_mul(4)
        .saturating_add(bytes)
}

fn wire_length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Secrets stay out of logs; bodies may be large and private, so they show as lengths.
impl fmt::Debug for Command<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Command::Identify(json) => write!(f, "Identify({} bytes)", json.len()),
            // Even the length would be a hint.
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
