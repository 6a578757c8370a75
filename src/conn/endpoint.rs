//! The address of an nsqd: `host:port`, or the path of a Unix socket.

use std::{
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
};

use crate::protocol::one_line;

/// Maximum length of a host name in bytes. DNS allows 253.
pub(crate) const MAX_HOST: usize = 255;

/// What begins a URL of nsqds with options.
pub(crate) const SCHEME: &str = "nsq://";

/// What begins the address of a Unix socket. A host may be called `unix`, so the path is absolute.
const UNIX: &str = "unix:";

/// An address, parsed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Endpoint<'a> {
    /// An IP address and a port.
    Ip(SocketAddr),
    /// A host that is to be resolved, and a port: a name, or an IPv6 address with the name of its
    /// zone.
    Host(&'a str, u16),
    /// The path of a Unix socket.
    #[cfg_attr(not(unix), expect(dead_code))]
    Unix(&'a str),
}

impl<'a> Endpoint<'a> {
    /// Parses an address. A host name need not be ASCII, but addresses are logged, so they must
    /// consist of visible characters.
    ///
    /// # Errors
    ///
    /// Describes the problem.
    pub(crate) fn parse(address: &'a str) -> Result<Self, &'static str> {
        const PORT_0: &str = "port 0 is not valid";
        if let Some(path) = address.strip_prefix(UNIX)
            && path.starts_with('/')
        {
            return unix_socket(path);
        }
        if let Ok(address) = address.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(PORT_0),
                _ => Ok(Self::Ip(address)),
            };
        }
        let (host, port) = address.rsplit_once(':').ok_or("no port")?;
        if host.is_empty() {
            return Err("no host");
        }
        if address.starts_with(SCHEME) {
            return Err("this is a URL, use from_url");
        }
        if address.contains("://") {
            return Err("this is a URL, not HOST:PORT");
        }
        // Which other characters are valid is for the resolver to decide.
        let is_invalid = |c: char| c.is_whitespace() || c.is_ascii() && !is_host_char(c);
        let host = match zoned(host) {
            Some((host, zone)) if !zone.contains(is_invalid) => host,
            _ if host.contains(is_invalid) => return Err("invalid host name"),
            _ => host,
        };
        if !is_visible(host) {
            return Err("invalid host name");
        }
        match port.parse() {
            Ok(0) => Err(PORT_0),
            Ok(port) => Ok(Self::Host(host, port)),
            Err(_) => Err("invalid port"),
        }
    }

    /// Returns the host as a certificate names it, without a zone; `None` for a Unix socket.
    #[cfg(feature = "rustls")]
    pub(crate) fn host(&self) -> Option<String> {
        match self {
            Self::Ip(address) => Some(address.ip().to_string()),
            Self::Host(host, _) => Some(host.split('%').next().unwrap_or(host).to_owned()),
            Self::Unix(_) => None,
        }
    }
}

/// Takes `[fe80::1%eth0]` apart: returns `fe80::1%eth0` and `eth0`.
fn zoned(host: &str) -> Option<(&str, &str)> {
    let host = host.strip_prefix('[')?.strip_suffix(']')?;
    let (ip, zone) = host.split_once('%')?;
    let is_zoned = ip.parse::<Ipv6Addr>().is_ok() && !zone.is_empty();
    is_zoned.then_some((host, zone))
}

#[cfg(unix)]
fn unix_socket(path: &str) -> Result<Endpoint<'_>, &'static str> {
    use std::os::unix::net::SocketAddr;

    if SocketAddr::from_pathname(path).is_err() {
        return Err("the path of the Unix socket is too long");
    }
    if !is_visible(path) {
        return Err("invalid path of a Unix socket");
    }
    Ok(Endpoint::Unix(path))
}

#[cfg(not(unix))]
fn unix_socket(_: &str) -> Result<Endpoint<'_>, &'static str> {
    Err("this system has no Unix sockets")
}

fn is_visible(text: &str) -> bool {
    one_line(text.chars(), MAX_HOST) == text
}

/// Returns the form in which addresses are compared.
pub(crate) fn address_key(address: &str) -> Arc<str> {
    match Endpoint::parse(address) {
        Ok(endpoint) => canonical_address(&endpoint).into(),
        // A connector of the program understands it.
        Err(_) => address.into(),
    }
}

/// Returns the one text of equivalent addresses: names in lower case, IP addresses as the standard
/// library writes them.
pub(crate) fn canonical_address(endpoint: &Endpoint<'_>) -> String {
    match endpoint {
        Endpoint::Ip(address) => address.to_string(),
        // An IPv6 address with a zone.
        Endpoint::Host(host, port) if host.contains('%') => format!("[{host}]:{port}"),
        Endpoint::Host(host, port) => format!("{}:{port}", host.to_ascii_lowercase()),
        Endpoint::Unix(path) => format!("{UNIX}{path}"),
    }
}

/// Returns whether a host name may contain the ASCII character.
pub(crate) fn is_host_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '_' | '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_ip_name_or_zoned_ip_with_port() {
        for (address, endpoint) in [
            (
                "127.0.0.1:4150",
                Endpoint::Ip(([127, 0, 0, 1], 4150).into()),
            ),
            ("nsqd.example.org:1", Endpoint::Host("nsqd.example.org", 1)),
            ("unix:4150", Endpoint::Host("unix", 4150)),
            ("[fe80::7%eth0]:4150", Endpoint::Host("fe80::7%eth0", 4150)),
            (
                "[fe80::7%br-1.2]:4150",
                Endpoint::Host("fe80::7%br-1.2", 4150),
            ),
        ] {
            assert_eq!(Endpoint::parse(address), Ok(endpoint), "{address}");
        }
        for address in [
            "[fe80::7%eth0]",
            "[fe80::7%]:4150",
            "[%eth0]:4150",
            "[nsqd%eth0]:4150",
            "[fe80::7%eth 0]:4150",
            "[fe80::7%eth0]]:4150",
            "fe80::7%eth0:4150",
            "127.0.0.1%eth0:4150",
        ] {
            assert_eq!(Endpoint::parse(address), Err("invalid host name"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn unix_socket_is_an_absolute_visible_path() {
        let path = "/run/nsqd:1.sock";
        let address = format!("unix:{path}");
        assert_eq!(Endpoint::parse(&address), Ok(Endpoint::Unix(path)));
        let problem = |address: &str| Endpoint::parse(address).unwrap_err();
        let long = format!("unix:/{}", "x".repeat(200));
        assert_eq!(problem(&long), "the path of the Unix socket is too long");
        assert_eq!(problem("unix:/a\nb"), "invalid path of a Unix socket");
        assert_eq!(problem("unix:nsqd.sock"), "invalid port");
    }

    #[cfg(feature = "rustls")]
    #[test]
    fn certificate_name_has_no_zone_and_no_port() {
        for (address, name) in [
            ("nsqd:4150", Some("nsqd")),
            ("[::1]:4150", Some("::1")),
            ("[fe80::7%3]:4150", Some("fe80::7")),
            ("[fe80::7%eth0]:4150", Some("fe80::7")),
            ("unix:/run/nsqd.sock", None),
        ] {
            let host = Endpoint::parse(address).unwrap().host();
            assert_eq!(host.as_deref(), name);
        }
    }
}
