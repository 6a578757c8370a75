//! The NSQ wire protocol V2: bytes in, bytes out.
//!
//! Nothing here knows a socket, a clock or an actor, and nothing is imported from the rest of the crate.
//! The client speaks first; afterwards both directions run side by side.
//!
//! ```text
//!  client -> nsqd    "  V2"  then commands:
//!
//!    PUB orders\n  | 00 00 00 05 | h e l l o
//!    one line      | u32 length  | body          (only commands that carry a body)
//!
//!  nsqd -> client    frames:
//!
//!    00 00 00 06   | 00 00 00 00 | O K
//!    u32 size      | u32 type    | data          (size counts type and data)
//!                    0 response, 1 error, 2 message
//! ```
//!
//! Every integer on the wire is big-endian. [`Command`] encodes into an [`Outbox`]; [`FrameDecoder`] turns what was
//! read into [`Frame`]s. [`Topic`] and [`Channel`] are parsed once and good ever after.

mod name;

mod command;
mod identify;
mod outbox;

mod codec;
mod error_code;
mod frame;
mod message;

mod text;

pub use codec::{DecodeError, FrameDecoder};
pub use command::{Command, MAGIC};
pub(crate) use command::{batch_size, put_batch, wire_size};
pub use error_code::{ErrorCode, NamedLimit, ServerError};
pub use frame::Frame;
pub use identify::{AuthResponse, Identify, IdentifyResponse};
pub use message::{Message, MessageId};
pub use name::{Channel, NameError, Topic};
pub use outbox::Outbox;
pub(crate) use text::one_line;
