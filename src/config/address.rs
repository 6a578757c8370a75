//! What can be dialled, and what an error shows of an address that cannot.

use std::net::SocketAddr;

use super::{options::LONGEST_NAME, shown};
use crate::{
    error::{ConfigCause, ConfigError},
    protocol::one_line,
};

/// Accepts what can be dialled: `host:port`, where the host is a name, an IPv4 address, or an IPv6 one in brackets. Names
/// need not be ASCII, but they are shown in logs: with nothing in them that is not plainly to be seen.
pub(super) fn check_address(address: &str) -> Result<(), ConfigError> {
    let refused = |problem| Err(address_error(address, problem));
    if let Ok(address) = address.parse::<SocketAddr>() {
        return if address.port() == 0 {
            refused("port 0 cannot be connected to")
        } else {
            Ok(())
        };
    }
    let Some((host, port)) = address.rsplit_once(':') else {
        return refused("no port");
    };
    if host.is_empty() {
        return refused("no host");
    }
    if address.contains("://") {
        return refused("a URL, which ProducerConfig::from_url takes");
    }
    let is_plain = one_line(host.chars(), LONGEST_NAME) == host;
    // A resolver knows which others there are.
    let is_forbidden = |c: char| c.is_whitespace() || c.is_ascii() && !is_of_a_name(c);
    if !is_plain || host.contains(is_forbidden) {
        return refused("not a host name");
    }
    match port.parse::<u16>() {
        Ok(0) => refused("port 0 cannot be connected to"),
        Ok(_) => Ok(()),
        Err(_) => refused("not a port number"),
    }
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

pub(super) fn address_error(address: &str, problem: &'static str) -> ConfigError {
    ConfigError::from(ConfigCause::Address {
        address: shown_address(address),
        problem,
    })
}

/// What may be seen of an address that was not checked: what stands before an @ may be a secret, and so may what stands
/// behind the first character that is not of `host:port`, such as the options of a URL.
pub(super) fn shown_address(address: &str) -> String {
    let is_odd = |c: char| !is_of_a_name(c) && !matches!(c, ':' | '[' | ']');
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(is_odd) => (format!("{scheme}://"), rest),
        _ => (String::new(), address),
    };
    let (front, rest) = match rest.rsplit_once('@') {
        // The @ may be a part of what is behind, and that a part of the password.
        Some((user, _)) if user.contains(is_odd) => return "***".into(),
        Some((_, host)) => ("***@".into(), host),
        None => (scheme, rest),
    };
    let mut parts = rest.split_inclusive(is_odd);
    let host = parts.next().unwrap_or_default();
    let more = parts.next().map_or("", |_| "***");
    shown(&format!("{front}{host}{more}"))
}
