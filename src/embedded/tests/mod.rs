//! Promises of the embedded nsqd, over raw sockets.
