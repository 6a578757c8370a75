//! An nsqd inside the process, on a real loopback socket.
