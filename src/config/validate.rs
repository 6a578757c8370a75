//! Checks that concern more than one value: conflicts between options, options without effect, and
//! addresses.

use std::{path::Path, time::Duration};

use super::{
    connection_options::ConnectionOptions,
    consumer_options::ConsumerOptions,
    producer_options::ProducerOptions,
    redact::shown_address,
    table::Values,
    value::{TlsVersion, Value},
};
use crate::{
    conn::Endpoint,
    error::{ConfigCause, ConfigError},
};

const RUSTLS_CONFIG: &str = "rustls_0_23_config";

/// Checks the options of a connection beside what is not in their table: whether the builder has a
/// configuration of rustls and a secret provider, and whether TLS is used for nsqlookupds.
pub(super) fn check_connection(
    options: &ConnectionOptions,
    has_rustls_config: bool,
    has_secret_provider: bool,
    has_https: bool,
) -> Result<(), ConfigError> {
    check_tls(options, has_rustls_config, has_https)?;
    if options.snappy && options.deflate {
        return Err(unused(
            "snappy",
            "deflate = true",
            "only one of them can be set",
        ));
    }
    if has_secret_provider && !options.auth_secret.is_empty() {
        return Err(unused(
            "auth_secret",
            "auth_secret_provider",
            "only one of them can be set",
        ));
    }
    if options.max_reconnect_backoff < options.reconnect_backoff {
        return Err(conflict(
            ConnectionOptions::max_reconnect_backoff.name,
            &options.max_reconnect_backoff,
            ConnectionOptions::reconnect_backoff.name,
            &options.reconnect_backoff,
            "the maximum must not be below the first delay",
        ));
    }
    Ok(())
}

/// Rejects options that would have no effect although the user may rely on them.
fn check_tls(
    options: &ConnectionOptions,
    has_rustls_config: bool,
    has_https: bool,
) -> Result<(), ConfigError> {
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
        .filter_map(|(name, is)| is.then_some(name))
        .chain(has_rustls_config.then_some(RUSTLS_CONFIG));
    for name in given {
        if !options.tls_v1 && !has_https {
            let rule = "the connection would not be encrypted; set tls_v1";
            return Err(unused(name, "tls_v1 = false", rule));
        }
        if has_rustls_config && ![RUSTLS_CONFIG, "tls_server_name"].contains(&name) {
            let rule = "set it in that configuration instead";
            return Err(unused(name, RUSTLS_CONFIG, rule));
        }
    }
    match (is_given(&options.tls_cert), is_given(&options.tls_key)) {
        (true, false) => Err(incomplete("tls_cert", "tls_key")),
        (false, true) => Err(incomplete("tls_key", "tls_cert")),
        _ => Ok(()),
    }
}

impl Values<ProducerOptions> {
    /// Checks the options, and lowers the default of `ack_timeout` if necessary.
    pub(super) fn check(&mut self) -> Result<(), ConfigError> {
        let is_ack_timeout_given = self.is_given(ProducerOptions::ack_timeout.name);
        let options = &mut self.options;
        let half = options.publish_timeout / 2;
        if options.ack_timeout > half {
            if is_ack_timeout_given {
                return Err(conflict(
                    ProducerOptions::ack_timeout.name,
                    &options.ack_timeout,
                    ProducerOptions::publish_timeout.name,
                    &options.publish_timeout,
                    "it must be at most half of that",
                ));
            }
            options.ack_timeout = half;
        }
        let largest = options.max_publish_size.max(options.max_batch_size);
        if options.max_pending_bytes < largest {
            return Err(conflict(
                ProducerOptions::max_pending_bytes.name,
                &options.max_pending_bytes,
                "the larger of max_publish_size and max_batch_size",
                &largest,
                "it must not be below that",
            ));
        }
        Ok(())
    }
}

impl Values<ConsumerOptions> {
    /// Checks the options with those of the connection.
    pub(super) fn check(&self, connection: &ConnectionOptions) -> Result<(), ConfigError> {
        let options = &self.options;
        let shortest = Duration::from_secs(1);
        if !options.msg_timeout.is_zero() && options.msg_timeout < shortest {
            return Err(ConsumerOptions::msg_timeout.rejects(
                &options.msg_timeout.show(),
                "0s or a duration from 1s to 24h",
            ));
        }
        if options.max_requeue_delay < options.default_requeue_delay {
            return Err(conflict(
                ConsumerOptions::max_requeue_delay.name,
                &options.max_requeue_delay,
                ConsumerOptions::default_requeue_delay.name,
                &options.default_requeue_delay,
                "the maximum must not be below the default",
            ));
        }
        if connection.heartbeat_interval.is_none() {
            return Err(unused(
                ConnectionOptions::heartbeat_interval.name,
                "a subscription",
                "nsqd accepts consumers only with heartbeats",
            ));
        }
        Ok(())
    }
}

/// Returns the error for an option that needs another one, or a value.
pub(super) fn incomplete(name: &'static str, needs: &'static str) -> ConfigError {
    ConfigCause::Incomplete { name, needs }.into()
}

fn unused(name: &'static str, other: &'static str, rule: &'static str) -> ConfigError {
    ConfigCause::Unused { name, other, rule }.into()
}

fn conflict<T: Value>(
    name: &'static str,
    value: &T,
    other: &'static str,
    bound: &T,
    rule: &'static str,
) -> ConfigError {
    ConfigCause::Conflict {
        name,
        value: value.show(),
        other,
        bound: bound.show(),
        rule,
    }
    .into()
}

/// Accepts what [`Endpoint`] can parse.
pub(super) fn check_address(address: &str) -> Result<(), ConfigError> {
    match Endpoint::parse(address) {
        Ok(_) => Ok(()),
        Err(problem) => Err(address_error(address, problem)),
    }
}

pub(super) fn address_error(address: &str, problem: &'static str) -> ConfigError {
    ConfigCause::Address {
        address: shown_address(address),
        problem,
    }
    .into()
}
