//! Addresses as text.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
};

/// Returns the first address that a text resolves to.
pub(super) fn resolve(address: &str) -> io::Result<SocketAddr> {
    address.to_socket_addrs()?.next().ok_or_else(|| {
        let text = format!("address {address:?} does not resolve");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    })
}
