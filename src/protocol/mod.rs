//! The NSQ wire protocol V2: bytes in, bytes out.
