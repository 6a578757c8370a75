//! The NSQ wire protocol V2, pure: bytes in, bytes out.
//!
//! This module uses no socket, clock or actor, and imports nothing from the rest of the crate.
//! The client speaks first; afterwards both directions are independent.
//!
//! ```text
//!  client -> nsqd    "  V2"  then commands:
//!
//!    PUB orders\n  | 00 00 00 05 | h e l l o
//!    one line      | u32 length  | body          (only commands that have a body)
//!
//!  nsqd -> client    frames:
//!
//!    00 00 00 06   | 00 00 00 00 | O K
//!    u32 size      | u32 type    | data          (size counts type and data)
//!                    0 response, 1 error, 2 message
//! ```
//!
//! All integers on the wire are big-endian. [`Command`] is encoded into an [`Outbox`];
//! [`FrameDecoder`] decodes the bytes read from nsqd into [`Frame`]s. [`Topic`] and [`Channel`] are
//! validated on construction.

mod error;
mod text;

mod error_code;
mod identify;
mod message;
mod name;
#[cfg(feature = "lookup")]
pub(crate) mod node;
mod outbox;

mod command;
mod frame;

mod codec;

pub use codec::FrameDecoder;
pub use command::{Command, MAGIC};
pub(crate) use command::{batch_size, put_batch, put_finish, wire_size};
pub use error::DecodeError;
pub use error_code::{ErrorCode, NamedLimit, ServerError};
pub use frame::Frame;
pub use identify::{AuthResponse, Identify, IdentifyResponse};
pub use message::{Message, MessageId};
pub use name::{Channel, NameError, Topic};
pub use outbox::Outbox;
pub(crate) use text::one_line;
