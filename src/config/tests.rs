//! A configuration in hand is valid, and one that is not says what is wrong with it.

use std::time::Duration;

use super::ProducerConfig;

const ADDRESS: &str = "127.0.0.1:4150";

#[track_caller]
fn refused(built: Result<ProducerConfig, crate::ConfigError>, text: &str) {
    let error = built.unwrap_err();
    assert_eq!(error.to_string(), text);
}

/// checklist: 4
#[test]
fn every_option_can_be_set_by_name_to_what_the_table_gives_as_its_default() {
    for option in ProducerConfig::options() {
        let default = match option.default.as_str() {
            "any" => "",
            default => default,
        };
        let set = ProducerConfig::builder(ADDRESS).set(option.name, default);
        assert!(
            set.is_ok_and(|builder| builder.build().is_ok()),
            "{option:?}"
        );
    }
}

/// checklist: 4
#[test]
fn the_defaults_are_within_their_own_bounds_and_documented() {
    let defaults = format!("{:?}", ProducerConfig::new(ADDRESS).unwrap());
    for option in ProducerConfig::options() {
        assert!(defaults.contains(option.name), "{option:?}");
        assert!(
            !option.meaning.is_empty() && !option.bounds.is_empty(),
            "{option:?}"
        );
    }
}

/// checklist: 4
#[test]
fn the_builder_and_set_lead_to_the_same() {
    let built = ProducerConfig::builder(ADDRESS)
        .publish_timeout(Duration::from_millis(2_500))
        .heartbeat_interval(None)
        .client_id("me")
        .max_pending(7)
        .retry_maybe_written(true)
        .build();
    let set = [
        ("publish-timeout", "2500"),
        ("heartbeat_interval", "-1"),
        ("client_id", "me"),
        ("max_pending", "7"),
        ("retry_maybe_written", "true"),
    ]
    .into_iter()
    .try_fold(
        ProducerConfig::builder(ADDRESS),
        |builder, (name, value)| builder.set(name, value),
    )
    .and_then(super::ProducerConfigBuilder::build);
    assert_eq!(
        format!("{:?}", built.unwrap()),
        format!("{:?}", set.unwrap())
    );
}

/// checklist: 4
#[test]
fn times_are_read_as_go_nsq_reads_them() {
    for (text, milliseconds) in [
        ("250", 250),
        ("250ms", 250),
        ("1m30s", 90_000),
        ("2h", 7_200_000),
    ] {
        let config = ProducerConfig::builder(ADDRESS)
            .set("publish_timeout", text)
            .unwrap()
            .build()
            .unwrap();
        assert_eq!(
            config.publish_timeout(),
            Duration::from_millis(milliseconds),
            "{text}"
        );
    }
}

/// checklist: 4
#[test]
fn a_value_out_of_bounds_is_refused_with_option_value_and_bounds() {
    let text = "option heartbeat_interval = \"1ms\": must be a time from 1s to 1m, or off (-1)";
    refused(
        ProducerConfig::builder(ADDRESS)
            .heartbeat_interval(Duration::from_millis(1))
            .build(),
        text,
    );
    let text = "option heartbeat_interval = \"soon\": must be a time from 1s to 1m, or off (-1)";
    refused(
        ProducerConfig::builder(ADDRESS)
            .set("heartbeat_interval", "soon")
            .map(|_| unreachable!()),
        text,
    );
    let text = "option max_pending = \"0\": must be a number from 1 to 100000000";
    refused(
        ProducerConfig::builder(ADDRESS).max_pending(0).build(),
        text,
    );
    let text = "option retry_maybe_written = \"perhaps\": must be true or false";
    refused(
        ProducerConfig::builder(ADDRESS)
            .set("retry_maybe_written", "perhaps")
            .map(|_| unreachable!()),
        text,
    );
}

/// checklist: 4
#[test]
fn the_first_of_several_problems_is_reported() {
    let built = ProducerConfig::builder(ADDRESS)
        .max_pending(0)
        .publish_window(0)
        .build();
    assert!(
        built
            .unwrap_err()
            .to_string()
            .starts_with("option max_pending")
    );
}

/// checklist: 4
#[test]
fn an_unknown_option_is_refused_with_the_known_ones() {
    let error = ProducerConfig::builder(ADDRESS)
        .set("publish_timeuot", "1s")
        .unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("unknown option \"publish_timeuot\"; known are: dial_timeout,"),
        "{text}"
    );
}

/// checklist: 4
#[test]
fn options_that_contradict_each_other_are_refused_with_both() {
    refused(
        ProducerConfig::builder(ADDRESS)
            .ack_timeout(Duration::from_secs(20))
            .build(),
        "option ack_timeout = 20s conflicts with publish_timeout = 30s: it can be at most half of it, so that a stall is \
         found before the publishes time out",
    );
    refused(
        ProducerConfig::builder(ADDRESS)
            .max_pending_bytes(1_000)
            .build(),
        "option max_pending_bytes = 1000 conflicts with the larger of max_publish_size and max_batch_size = 5242880: the \
         largest publish must have room",
    );
    refused(
        ProducerConfig::builder(ADDRESS)
            .max_reconnect_backoff(Duration::from_millis(1))
            .build(),
        "option max_reconnect_backoff = 1ms conflicts with reconnect_backoff = 100ms: the longest delay cannot be below \
         the first",
    );
}

/// checklist: 4
#[cfg(feature = "tls")]
#[test]
fn a_certificate_needs_its_key_and_a_server_name_is_one() {
    let config = || ProducerConfig::builder(ADDRESS).tls_v1(true);
    refused(
        config().tls_cert("a.pem").build(),
        "option tls_cert needs tls_key, too",
    );
    refused(
        config().tls_key("a.key").build(),
        "option tls_key needs tls_cert, too",
    );
    refused(
        config().tls_server_name("nsqd:4150").build(),
        "option tls_server_name = \"nsqd:4150\": must be a name or an IP address, without a port",
    );
}

/// checklist: 4
#[test]
fn a_secret_is_taken_as_it_is_whichever_way_it_comes() {
    let secret = " a&b c \n";
    let vars = [
        ("NSQD_TCP_ADDRESS".to_owned(), ADDRESS.to_owned()),
        ("NSQ_AUTH_SECRET".to_owned(), secret.to_owned()),
    ];
    for config in [
        ProducerConfig::builder(ADDRESS).auth_secret(secret).build(),
        ProducerConfig::builder(ADDRESS)
            .set("auth_secret", secret)
            .and_then(super::ProducerConfigBuilder::build),
        ProducerConfig::from_url(&format!("nsq://{ADDRESS}?auth_secret=%20a%26b%20c%20%0a")),
        ProducerConfig::from_vars(vars),
    ] {
        assert_eq!(config.unwrap().auth_secret().expose(), secret.as_bytes());
    }
}

/// checklist: 4
#[test]
fn the_ack_timeout_follows_a_short_publish_timeout() {
    let config = ProducerConfig::builder(ADDRESS)
        .publish_timeout(Duration::from_secs(4))
        .build()
        .unwrap();
    assert_eq!(config.ack_timeout(), Duration::from_secs(2));
}

/// checklist: 4
#[test]
fn an_address_is_a_host_and_a_port() {
    for good in [
        "127.0.0.1:4150",
        "[::1]:4150",
        "nsqd:4150",
        "nsqd.example.org:1",
    ] {
        assert!(ProducerConfig::new(good).is_ok(), "{good}");
    }
    for (bad, problem) in [
        ("nsqd", "no port"),
        (":4150", "no host"),
        ("nsqd:http", "not a port number"),
        ("nsqd:0", "port 0 cannot be connected to"),
        ("127.0.0.1:0", "port 0 cannot be connected to"),
        ("::1:4150", "not a host name"),
        (
            "nsq://nsqd:4150",
            "a URL, which ProducerConfig::from_url takes",
        ),
        ("", "no port"),
    ] {
        let text = format!(
            "nsqd address {bad:?}: {problem}; expected host:port, such as 127.0.0.1:4150 or [::1]:4150"
        );
        refused(ProducerConfig::new(bad), &text);
    }
}

/// checklist: 4
#[test]
fn a_host_has_no_options_and_a_refusal_does_not_repeat_them() {
    for (address, shown) in [("nsqd?a=secret:4150", "nsqd?***"), ("ns qd:4150", "ns ***")] {
        let text = format!(
            "nsqd address \"{shown}\": not a host name; expected host:port, such as 127.0.0.1:4150 or [::1]:4150"
        );
        refused(ProducerConfig::new(address), &text);
    }
}

/// checklist: 4
#[test]
fn identify_tells_the_host_unless_told_otherwise() {
    let identify = ProducerConfig::new(ADDRESS).unwrap().identify();
    assert_eq!(
        identify.user_agent.as_deref(),
        Some(concat!("actix-nsq/", env!("CARGO_PKG_VERSION")))
    );
    let (client, host) = (identify.client_id.unwrap(), identify.hostname.unwrap());
    assert!(!host.is_empty() && host.starts_with(&client) && !client.contains('.'));
    let identify = ProducerConfig::builder(ADDRESS)
        .client_id("me")
        .topology_zone("z")
        .build()
        .unwrap()
        .identify();
    assert_eq!(identify.client_id.as_deref(), Some("me"));
    assert_eq!(identify.topology_zone.as_deref(), Some("z"));
    assert_eq!(identify.topology_region, None);
    assert_eq!(identify.heartbeat_interval, Some(30_000));
}
