//! What no value alone can tell: options that contradict each other, or have no effect where somebody may rely on it.

use std::path::Path;

use super::{ProducerConfigBuilder, TlsVersion, options::Options, value::Value};
use crate::error::{ConfigCause, ConfigError};

#[cfg(feature = "tls")]
const OWN: &str = "rustls_0_23_config";

impl ProducerConfigBuilder {
    pub(super) fn check_bounds(&self) -> Result<(), ConfigError> {
        let options = &self.options;
        let largest = options.max_publish_size.max(options.max_batch_size);
        if options.max_pending_bytes < largest {
            return Err(contradiction(
                "max_pending_bytes",
                &options.max_pending_bytes,
                "the larger of max_publish_size and max_batch_size",
                &largest,
                "the largest publish must have room",
            ));
        }
        if options.max_reconnect_backoff < options.reconnect_backoff {
            return Err(contradiction(
                "max_reconnect_backoff",
                &options.max_reconnect_backoff,
                "reconnect_backoff",
                &options.reconnect_backoff,
                "the longest delay cannot be below the first",
            ));
        }
        Ok(())
    }

    pub(super) fn check_ack_timeout(&mut self) -> Result<(), ConfigError> {
        let Options {
            ack_timeout,
            publish_timeout,
            ..
        } = &mut self.options;
        let half = *publish_timeout / 2;
        if *ack_timeout > half {
            if self.given.contains(&"ack_timeout") {
                return Err(contradiction(
                    "ack_timeout",
                    ack_timeout,
                    "publish_timeout",
                    publish_timeout,
                    "it can be at most half of it, so that a stall is found before the publishes time out",
                ));
            }
            *ack_timeout = half;
        }
        Ok(())
    }

    /// What would have no effect is an error where somebody may rely on the effect.
    pub(super) fn check_layers(&self) -> Result<(), ConfigError> {
        const IN_CLEAR_TEXT: &str = "the connection would not be encrypted";
        let options = &self.options;
        let is_given = |path: &Path| !path.as_os_str().is_empty();
        let given = [
            ("tls_root_ca_file", is_given(&options.tls_root_ca_file)),
            ("tls_cert", is_given(&options.tls_cert)),
            ("tls_key", is_given(&options.tls_key)),
            (
                "tls_min_version",
                options.tls_min_version != TlsVersion::Tls12,
            ),
            ("tls_insecure_skip_verify", options.tls_insecure_skip_verify),
            ("tls_server_name", !options.tls_server_name.is_empty()),
        ];
        let given = given
            .into_iter()
            .filter_map(|(name, is)| is.then_some(name));
        #[cfg(feature = "tls")]
        let given = given.chain(self.rustls.iter().map(|_| OWN));
        for name in given {
            if !options.tls_v1 {
                return Err(meaningless(name, "tls_v1", "false", IN_CLEAR_TEXT));
            }
            #[cfg(feature = "tls")]
            if self.rustls.is_some() && ![OWN, "tls_server_name"].contains(&name) {
                return Err(meaningless(
                    name,
                    OWN,
                    "given",
                    "it has to be a part of that",
                ));
            }
        }
        match (is_given(&options.tls_cert), is_given(&options.tls_key)) {
            (true, false) => return Err(incomplete("tls_cert", "tls_key, too")),
            (false, true) => return Err(incomplete("tls_key", "tls_cert, too")),
            _ => {}
        }
        if options.snappy && options.deflate {
            return Err(meaningless(
                "snappy",
                "deflate",
                "true",
                "nsqd compresses by one of them",
            ));
        }
        if self.secret_provider.is_some() && !options.auth_secret.is_empty() {
            return Err(meaningless(
                "auth_secret",
                "auth_secret_provider",
                "given",
                "there is one secret",
            ));
        }
        Ok(())
    }
}

fn incomplete(name: &'static str, needs: &'static str) -> ConfigError {
    ConfigError::from(ConfigCause::Incomplete { name, needs })
}

fn meaningless(
    name: &'static str,
    other: &'static str,
    bound: &'static str,
    rule: &'static str,
) -> ConfigError {
    ConfigError::from(ConfigCause::Unused {
        name,
        other,
        bound,
        rule,
    })
}

fn contradiction<T: Value>(
    name: &'static str,
    value: &T,
    other: &'static str,
    bound: &T,
    rule: &'static str,
) -> ConfigError {
    ConfigError::from(ConfigCause::Conflict {
        name,
        value: value.show(),
        other,
        bound: bound.show(),
        rule,
    })
}
