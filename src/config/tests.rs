//! Tests of the tables and of the validation.

use std::{net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use super::{
    BackoffStrategy, ConnectionConfig, ConsumerConfig, ProducerConfig, ProducerConfigBuilder,
    Strategy, TlsVersion, WaitForConnection, connection_options::ConnectionOptions,
    consumer_options::ConsumerOptions, lookup_options::LookupOptions, pool_options::PoolOptions,
    producer_options::ProducerOptions, value::Value,
};
use crate::{error::ConfigError, secret::Secret};

const ADDRESS: &str = "127.0.0.1:4150";

/// The text of bounds, which the tables contain as literals.
pub(super) trait Describe: Value {
    fn describe(bounds: &Self::Bounds) -> String;
}

impl Describe for Duration {
    fn describe(bounds: &RangeInclusive<Self>) -> String {
        format!(
            "a duration from {} to {}",
            bounds.start().show(),
            bounds.end().show()
        )
    }
}

impl Describe for Option<Duration> {
    fn describe(bounds: &RangeInclusive<Duration>) -> String {
        format!("{}, or off (-1)", Duration::describe(bounds))
    }
}

impl Describe for usize {
    fn describe(bounds: &RangeInclusive<Self>) -> String {
        match (bounds.start(), bounds.end()) {
            (start, &Self::MAX) => format!("a number of at least {start}"),
            (start, end) => format!("a number from {start} to {end}"),
        }
    }
}

impl Describe for f64 {
    fn describe(bounds: &RangeInclusive<f64>) -> String {
        format!("a number from {} to {}", bounds.start(), bounds.end())
    }
}

impl Describe for Option<usize> {
    fn describe(bounds: &RangeInclusive<usize>) -> String {
        format!("{}, or off (-1)", usize::describe(bounds))
    }
}

impl Describe for String {
    fn describe(max: &usize) -> String {
        format!("at most {max} bytes long")
    }
}

impl Describe for Secret {
    fn describe(max: &usize) -> String {
        String::describe(max)
    }
}

impl Describe for bool {
    fn describe((): &()) -> String {
        "true or false".into()
    }
}

impl Describe for Option<SocketAddr> {
    fn describe((): &()) -> String {
        "an IP address, with or without a port".into()
    }
}

impl Describe for PathBuf {
    fn describe((): &()) -> String {
        "the path of a PEM file".into()
    }
}

impl Describe for WaitForConnection {
    fn describe((): &()) -> String {
        "always, first or never".into()
    }
}

impl Describe for BackoffStrategy {
    fn describe((): &()) -> String {
        "exponential or full_jitter".into()
    }
}

impl Describe for Strategy {
    fn describe((): &()) -> String {
        "spread, primary or per_topic".into()
    }
}

impl Describe for TlsVersion {
    fn describe((): &()) -> String {
        "tls1.2 or tls1.3".into()
    }
}

#[track_caller]
fn assert_error<T: std::fmt::Debug>(built: Result<T, ConfigError>, text: &str) {
    assert_eq!(built.unwrap_err().to_string(), text);
}

fn builder() -> ProducerConfigBuilder {
    ProducerConfig::builder(ADDRESS)
}

/// checklist: 4
#[test]
fn table_texts_agree_with_values_and_bounds() {
    let computed = ConnectionOptions::computed()
        .into_iter()
        .chain(ProducerOptions::computed())
        .chain(ConsumerOptions::computed())
        .chain(PoolOptions::computed())
        .chain(LookupOptions::computed());
    for (row, default, bounds) in computed {
        assert_eq!(row.default, default, "{}", row.name);
        assert_eq!(row.bounds, bounds, "{}", row.name);
        assert!(!row.meaning.is_empty(), "{}", row.name);
    }
}

/// checklist: 4
#[test]
fn set_accepts_the_default_of_every_option() {
    for row in ProducerConfig::options() {
        let config = builder()
            .set(row.name, row.default)
            .and_then(|it| it.build());
        assert!(config.is_ok(), "{row:?}: {config:?}");
    }
    for row in ConsumerConfig::options() {
        let config = ConsumerConfig::builder(ADDRESS)
            .set(row.name, row.default)
            .and_then(|it| it.build());
        assert!(config.is_ok(), "{row:?}: {config:?}");
    }
    for row in ConnectionConfig::options() {
        let config = ConnectionConfig::builder().set(row.name, row.default);
        assert!(config.is_ok(), "{row:?}: {config:?}");
    }
}

/// checklist: 4
#[test]
fn set_and_methods_have_the_same_effect() {
    let built = builder()
        .publish_timeout(Duration::from_millis(2_500))
        .heartbeat_interval(None)
        .client_id("me")
        .max_pending(7)
        .retry_maybe_written(true)
        .build();
    let set = [
        ("publish-timeout", "2500ms"),
        ("heartbeat_interval", "-1"),
        ("client_id", "me"),
        ("max_pending", "7"),
        ("retry_maybe_written", "true"),
    ]
    .into_iter()
    .try_fold(builder(), |builder, (name, value)| builder.set(name, value))
    .and_then(ProducerConfigBuilder::build);
    assert_eq!(
        format!("{:?}", built.unwrap()),
        format!("{:?}", set.unwrap())
    );
}

/// checklist: 4
#[test]
fn out_of_bounds_error_names_option_value_and_bounds() {
    let must_be = "must be a duration from 1s to 1h, or off (-1)";
    assert_error(
        builder()
            .heartbeat_interval(Duration::from_millis(1))
            .build(),
        &format!("option heartbeat_interval = \"1ms\": {must_be}"),
    );
    assert_error(
        builder().set("heartbeat_interval", "soon"),
        &format!("option heartbeat_interval = \"soon\": {must_be}"),
    );
    assert_error(
        builder().set("heartbeat_interval", "30000"),
        &format!(
            "option heartbeat_interval = \"30000\": {must_be}; a number needs a unit, such as 500ms"
        ),
    );
    assert_error(
        builder().max_pending(0).build(),
        "option max_pending = \"0\": must be a number from 1 to 100000000",
    );
    assert_error(
        builder().set("retry_maybe_written", "perhaps"),
        "option retry_maybe_written = \"perhaps\": must be true or false",
    );
}

/// checklist: 4
#[test]
fn build_reports_the_first_invalid_value() {
    for (first, second) in [
        ("max_pending", "dial_timeout"),
        ("dial_timeout", "max_pending"),
    ] {
        let mut config = builder();
        for name in [first, second] {
            config = match name {
                "max_pending" => config.max_pending(0),
                _ => config.dial_timeout(Duration::ZERO),
            };
        }
        assert_eq!(config.build().unwrap_err().option(), Some(first));
    }
}

/// checklist: 4
#[test]
fn unknown_option_error_lists_the_known_ones() {
    let error = builder().set("publish_timeuot", "1s").unwrap_err();
    let text = error.to_string();
    let start = "unknown option \"publish_timeuot\"; known are: dial_timeout, ";
    assert!(text.starts_with(start), "{text}");
    assert!(text.contains("publish_timeout"), "{text}");
    let error = ConnectionConfig::builder().set("dial-timeuot", "1s");
    let text = error.unwrap_err().to_string();
    assert!(!text.contains("publish_timeout"), "{text}");
}

/// checklist: 4
#[test]
fn option_of_another_scope_is_rejected_by_name() {
    assert_error(
        ConnectionConfig::builder().set("max-pending", "1"),
        "option max_pending is not an option of ConnectionConfig, but of a producer",
    );
    assert_error(
        builder().set("max_in_flight", "1"),
        "option max_in_flight is not an option of ProducerConfig, but of a consumer",
    );
    assert_error(
        ConsumerConfig::builder(ADDRESS).set("max_pending", "1"),
        "option max_pending is not an option of ConsumerConfig, but of a producer",
    );
}

/// checklist: 4
#[test]
fn conflict_error_names_both_options() {
    assert_error(
        builder().ack_timeout(Duration::from_secs(20)).build(),
        "option ack_timeout = 20s conflicts with publish_timeout = 30s: it must be at most half of \
         that",
    );
    assert_error(
        builder().max_pending_bytes(1_000).build(),
        "option max_pending_bytes = 1000 conflicts with the larger of max_publish_size and \
         max_batch_size = 5242880: it must not be below that",
    );
    assert_error(
        ConnectionConfig::builder()
            .max_reconnect_backoff(Duration::from_millis(1))
            .build(),
        "option max_reconnect_backoff = 1ms conflicts with reconnect_backoff = 100ms: the maximum \
         must not be below the first delay",
    );
}

/// checklist: 4
#[cfg(feature = "rustls")]
#[test]
fn tls_options_are_checked_together() {
    let config = || builder().tls_v1(true);
    assert_error(
        config().tls_key("a.key").build(),
        "option tls_key needs tls_cert",
    );
    assert_error(
        config().tls_server_name("nsqd:4150").build(),
        "option tls_server_name = \"nsqd:4150\": must be a host name or an IP address, without a \
         port",
    );
}

/// checklist: 4
#[cfg(feature = "rustls")]
#[test]
fn tls_server_name_is_derived_from_each_address() {
    let connection = ConnectionConfig::builder().tls_v1(true).build().unwrap();
    for (address, name) in [
        ("nsqd.example.org:4150", Some("nsqd.example.org")),
        ("[::1]:4150", Some("::1")),
        ("nsqd_1.example.org:4150", Some("nsqd_1.example.org")),
        ("-nsqd:4150", None),
    ] {
        let config = ProducerConfig::builder(address)
            .connection(connection.clone())
            .build();
        match name {
            Some(name) => {
                let tls = config.unwrap().conn_options().tls.unwrap();
                assert_eq!(tls.server_name.to_str(), name);
            }
            None => assert_error(
                config,
                "TLS: \"-nsqd\" is not a name that a certificate can be valid for; set \
                 tls_server_name",
            ),
        }
    }
}

/// checklist: 4
#[test]
fn shared_connection_replaces_options_and_can_be_changed() {
    let shared = ConnectionConfig::builder()
        .dial_timeout(Duration::from_secs(3))
        .client_id("shared")
        .build()
        .unwrap();
    let config = builder()
        .dial_timeout(Duration::from_secs(9))
        .connection(shared)
        .client_id("own")
        .build()
        .unwrap();
    assert_eq!(config.connection().dial_timeout(), Duration::from_secs(3));
    assert_eq!(config.connection().client_id(), "own");
}

/// checklist: 4
#[test]
fn secret_keeps_its_whitespace_from_every_source() {
    let secret = " a&b c \n";
    let vars = [
        ("NSQD_TCP_ADDRESS".to_owned(), ADDRESS.to_owned()),
        ("NSQ_AUTH_SECRET".to_owned(), secret.to_owned()),
    ];
    for config in [
        builder().auth_secret(secret).build(),
        builder()
            .set("auth_secret", secret)
            .and_then(ProducerConfigBuilder::build),
        ProducerConfig::from_url(&format!("nsq://{ADDRESS}?auth_secret=%20a%26b%20c%20%0a")),
        ProducerConfig::from_vars(vars),
    ] {
        let config = config.unwrap();
        assert_eq!(
            config.connection().auth_secret().expose(),
            secret.as_bytes()
        );
    }
}

/// checklist: 4
#[test]
fn default_ack_timeout_is_lowered_for_a_short_publish_timeout() {
    let config = builder()
        .publish_timeout(Duration::from_secs(4))
        .build()
        .unwrap();
    assert_eq!(config.ack_timeout(), Duration::from_secs(2));
}

/// checklist: 4
#[test]
fn address_must_be_host_and_port() {
    for address in [
        "127.0.0.1:4150",
        "[::1]:4150",
        "nsqd:4150",
        "nsqd.example.org:1",
    ] {
        assert!(ProducerConfig::new(address).is_ok(), "{address}");
    }
    for (address, shown, problem) in [
        ("nsqd", "nsqd", "no port"),
        (":4150", ":4150", "no host"),
        ("nsqd:http", "nsqd:http", "invalid port"),
        ("nsqd:0", "nsqd:0", "port 0 is not valid"),
        ("127.0.0.1:0", "127.0.0.1:0", "port 0 is not valid"),
        ("::1:4150", "::1:4150", "invalid host name"),
        (
            "nsq://nsqd:4150",
            "nsq://nsqd:4150",
            "this is a URL, use from_url",
        ),
        (
            "http://nsqd:4150",
            "http://nsqd:4150",
            "this is a URL, not HOST:PORT",
        ),
        ("", "", "no port"),
        ("nsqd?a=secret:4150", "nsqd?***", "invalid host name"),
        ("ns qd:4150", "ns ***", "invalid host name"),
    ] {
        let expected = "expected host:port, such as 127.0.0.1:4150 or [::1]:4150";
        assert_error(
            ProducerConfig::new(address),
            &format!("nsqd address \"{shown}\": {problem}; {expected}"),
        );
    }
}

/// checklist: 4
#[test]
fn producer_takes_exactly_one_address() {
    let config = builder().addresses(["nsqd:4150"]).build();
    assert_eq!(config.unwrap().address(), "nsqd:4150");
    let text = "a producer takes one nsqd address, not 2; start a pool for several nsqds";
    let list = "nsqd-1:4150,nsqd-2:4150";
    assert_error(builder().addresses(list.split(',')).build(), text);
    assert_error(ProducerConfig::from_url(&format!("nsq://{list}")), text);
    let vars = [("NSQD_TCP_ADDRESS".to_owned(), list.to_owned())];
    assert_error(ProducerConfig::from_vars(vars), text);
    let none: [&str; 0] = [];
    assert_error(
        builder().addresses(none).build(),
        &text.replace("not 2", "not 0"),
    );
}

/// checklist: 4
#[test]
fn identify_has_the_host_name_unless_set() {
    let identify = ProducerConfig::new(ADDRESS).unwrap().identify();
    let user_agent = concat!("actix-nsq/", env!("CARGO_PKG_VERSION"));
    assert_eq!(identify.user_agent.as_deref(), Some(user_agent));
    let (client, host) = (identify.client_id.unwrap(), identify.hostname.unwrap());
    assert!(!host.is_empty() && host.starts_with(&client) && !client.contains('.'));
    let config = builder().client_id("me").topology_zone("z").build();
    let identify = config.unwrap().identify();
    assert_eq!(identify.client_id.as_deref(), Some("me"));
    assert_eq!(identify.topology_zone.as_deref(), Some("z"));
    assert_eq!(identify.topology_region, None);
    assert_eq!(identify.heartbeat_interval, Some(30_000));
}

/// checklist: 4
#[test]
fn consumer_options_are_checked_together() {
    let consumer = || ConsumerConfig::builder(ADDRESS);
    assert_error(
        consumer().msg_timeout(Duration::from_millis(999)).build(),
        "option msg_timeout = \"999ms\": must be 0s or a duration from 1s to 24h",
    );
    assert_error(
        consumer()
            .max_requeue_delay(Duration::from_secs(89))
            .build(),
        "option max_requeue_delay = 1m29s conflicts with default_requeue_delay = 1m30s: the maximum \
         must not be below the default",
    );
    assert_error(
        consumer().heartbeat_interval(None).build(),
        "option heartbeat_interval conflicts with a subscription: nsqd accepts consumers only with \
         heartbeats",
    );
    let addresses = ["a:1", "b:2", "a:1"];
    let config = consumer().addresses(addresses).build().unwrap();
    assert_eq!(config.addresses().collect::<Vec<_>>(), ["a:1", "b:2"]);
    assert!(consumer().addresses(["a:1", "b"]).build().is_err());
}

/// checklist: 4
#[test]
fn consumer_requests_its_options_in_identify() {
    let address = ADDRESS.into();
    let options = ConsumerConfig::new(ADDRESS).unwrap().conn_options(&address);
    let identify = options.unwrap().identify;
    let requested = (identify.msg_timeout, identify.sample_rate);
    assert_eq!(requested, (None, None));
    assert_eq!(identify.output_buffer_timeout, Some(25));
    let config = ConsumerConfig::builder(ADDRESS)
        .msg_timeout(Duration::from_secs(7))
        .sample_rate(9)
        .output_buffer_timeout(Duration::from_millis(250));
    let options = config.build().unwrap().conn_options(&address).unwrap();
    let identify = options.identify;
    let requested = (identify.msg_timeout, identify.sample_rate);
    assert_eq!(requested, (Some(7_000), Some(9)));
    assert_eq!(identify.output_buffer_timeout, Some(250));
}
