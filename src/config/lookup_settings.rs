//! What a builder collects for a discovery by nsqlookupd.

#[cfg(feature = "lookup")]
use std::sync::Arc;

use super::{lookup_options::LookupOptions, table::Values};
#[cfg(feature = "lookup")]
use super::{lookupd_address::LookupdAddress, redact::shown_address};
use crate::error::{ConfigCause, ConfigError};
#[cfg(feature = "lookup")]
use crate::protocol::node::Node;

/// Returns whether a node is used.
#[cfg(feature = "lookup")]
pub(crate) type NodeFilter = Arc<dyn Fn(&Node) -> bool + Send + Sync>;

/// The option with the addresses of nsqlookupds, separated by commas. It is in no table, because
/// the queries of the addresses may contain secrets.
pub(super) const LOOKUPDS: &str = "lookupd_http_address";

/// Addresses and options, which are not checked yet.
#[derive(Clone, Default)]
pub(super) struct LookupSettings {
    pub(super) addresses: Vec<String>,
    pub(super) values: Values<LookupOptions>,
    #[cfg(feature = "lookup")]
    pub(super) filter: Option<NodeFilter>,
}

impl LookupSettings {
    /// Replaces the addresses.
    pub(super) fn set_addresses(&mut self, addresses: Vec<String>) -> Result<(), ConfigError> {
        if !cfg!(feature = "lookup") && !addresses.is_empty() {
            return Err(ConfigCause::Feature {
                name: LOOKUPDS,
                feature: "lookup",
            }
            .into());
        }
        self.addresses = addresses;
        Ok(())
    }

    /// Replaces the addresses by those of a list, separated by commas.
    pub(super) fn set_list(&mut self, list: &str) -> Result<(), ConfigError> {
        let addresses = list.split(',').map(str::trim);
        let addresses = addresses.filter(|address| !address.is_empty());
        self.set_addresses(addresses.map(str::to_owned).collect())?;
        #[cfg(feature = "lookup")]
        for address in &self.addresses {
            lookupd_address(address)?;
        }
        Ok(())
    }

    /// Whether an address needs TLS.
    #[cfg(feature = "lookup")]
    pub(super) fn has_https(&self) -> bool {
        let mut addresses = self.addresses.iter();
        addresses.any(|address| LookupdAddress::parse(address).is_ok_and(|it| it.is_https()))
    }
}

#[cfg(feature = "lookup")]
/// Parses the address of an nsqlookupd.
pub(crate) fn lookupd_address(address: &str) -> Result<LookupdAddress, ConfigError> {
    LookupdAddress::parse(address.trim()).map_err(|problem| {
        ConfigCause::LookupdAddress {
            address: shown_address(address),
            problem,
        }
        .into()
    })
}

/// Parses the address of nsqd's HTTP port.
#[cfg(feature = "lookup")]
pub(crate) fn nsqd_http_address(address: &str) -> Result<LookupdAddress, ConfigError> {
    LookupdAddress::parse(address.trim()).map_err(|problem| {
        // The text of nsqlookupd names its port.
        let is_no_port = problem.starts_with("no port");
        ConfigCause::NsqdHttpAddress {
            address: shown_address(address),
            problem: if is_no_port { "no port" } else { problem },
        }
        .into()
    })
}

/// Defines the methods of a builder for its field `lookup`, which is a [`LookupSettings`].
macro_rules! lookup_methods {
    ($Builder:ident, $Config:ident, $actor:literal, $topic:literal, $Add:literal) => {
        impl $Builder {
            #[doc = concat!("Replaces the addresses of nsqlookupds: the ", $actor, " connects to")]
            #[doc = concat!("every nsqd that one of them announces", $topic, ", and to the")]
            /// [`addresses`](Self::addresses).
            ///
            /// Each is `host:port`, usually with port 4161, or `http(s)://host:port[/path][?query]`;
            /// see `LookupConfig`.
            ///
            /// **An attacker in control of an nsqlookupd, or of the network to one without `https`,
            /// chooses the servers that are connected to.** If nsqd requires AUTH, use TLS, or
            /// accept only known nsqds with `node_filter`: otherwise the secret may be sent to any
            /// server.
            ///
            /// Needs the feature `lookup`. `build` fails without it.
            pub fn lookupds(
                mut self,
                addresses: impl IntoIterator<Item = impl Into<String>>,
            ) -> Self {
                let addresses = addresses.into_iter().map(Into::into).collect();
                let set = self.lookup.set_addresses(addresses);
                self.note(set)
            }

            /// Connects only to the discovered nsqds for which this function returns `true`. It
            /// concerns neither the [`addresses`](Self::addresses) nor
            #[doc = concat!("[`", $Add, "`](crate::", $Add, "). If it panics, the nsqd is not")]
            /// accepted.
            ///
            /// ```
            #[doc = concat!("use actix_nsq::", stringify!($Config), ";")]
            ///
            #[doc = concat!("let config = ", stringify!($Config), "::discover([\"lookupd:4161\"])")]
            ///     .node_filter(|node| node.broadcast_address.ends_with(".example.org"))
            ///     .build()?;
            /// # Ok::<_, actix_nsq::ConfigError>(())
            /// ```
            #[cfg(feature = "lookup")]
            #[cfg_attr(docsrs, doc(cfg(feature = "lookup")))]
            pub fn node_filter(
                mut self,
                accepts: impl Fn(&crate::protocol::node::Node) -> bool + Send + Sync + 'static,
            ) -> Self {
                self.lookup.filter = Some(std::sync::Arc::new(accepts));
                self
            }

            pub(super) fn lookup_values(&mut self) -> &mut Values<LookupOptions> {
                &mut self.lookup.values
            }
        }
    };
}

pub(super) use lookup_methods;
