//! Checks options and addresses with any text: the result is a typed error that names the option,
//! or a valid configuration, and no secret is shown.

use std::time::Duration;

use actix_nsq::{ConfigError, ProducerConfig};

use super::{input::Input, world::ms};

/// The secret that must not be shown.
const SECRET: &str = "open-sesame-7f3a";

/// Unsupported options: two of go-nsq, and two unknown ones. Their values may be secrets.
const OTHERS: &[&str] = &["tls_config", "max_in_flight", "", "unknown"];

/// The input: a byte that selects a URL, an address, texts around a secret, or options, each of
/// them a byte for its name and a line for its value.
pub fn options(data: &[u8]) {
    // The fuzzer finds the secret and puts it where it is no secret.
    let is_secret = |part: &[u8]| part == SECRET.as_bytes();
    if data.windows(SECRET.len()).any(is_secret) {
        return;
    }
    let mut input = Input::new(data);
    let text = |input: &mut Input<'_>| String::from_utf8_lossy(input.until(b'\n')).into_owned();
    match input.below(5) {
        0 => check(&ProducerConfig::from_url(&text(&mut input))),
        1 => {
            let url = format!("nsq://{}", text(&mut input));
            let config = ProducerConfig::from_url(&url);
            check(&config);
            let config = config.map_err(|error| error.to_string());
            let vars = [("NSQD_TCP_ADDRESS".to_owned(), url)];
            let again = ProducerConfig::from_vars(vars).map_err(|error| error.to_string());
            assert_eq!(format!("{config:?}"), format!("{again:?}"));
        }
        2 => check(&ProducerConfig::new(text(&mut input))),
        3 => secrets(&text(&mut input), &text(&mut input)),
        _ => pairs(&mut input),
    }
}

fn check(config: &Result<ProducerConfig, ConfigError>) {
    match config {
        Ok(config) => {
            let out_of_bounds = out_of_bounds(config);
            assert!(out_of_bounds.is_empty(), "{out_of_bounds:?}: {config:?}");
            check_address(config.address());
        }
        Err(error) => {
            let text = error.to_string();
            let named = [
                "option ",
                "unknown option ",
                "unsupported option ",
                "nsqd address ",
                "URL ",
                "a producer takes one nsqd address",
                "TLS: ",
            ];
            assert!(named.iter().any(|start| text.starts_with(start)), "{text}");
            assert!(!text.contains(char::is_control), "{text}");
        }
    }
}

/// Asserts that an address can be dialed, independently of the crate.
fn check_address(address: &str) {
    if let Some(path) = address.strip_prefix("unix:") {
        assert!(
            !path.is_empty() && !path.contains(char::is_control),
            "{address:?}"
        );
        return;
    }
    let (host, port) = address.rsplit_once(':').expect("a port");
    let port: u16 = port.parse().expect("a number");
    assert!(port > 0 && !host.is_empty(), "{address:?}");
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let odd = |c: char| c.is_whitespace() || "/@?".contains(c) || ":[]".contains(c) && !bracketed;
    assert!(!host.contains(odd), "{address:?}");
}

/// Puts a secret before an `@` and into `auth_secret`, and asserts that it is not shown.
fn secrets(before: &str, behind: &str) {
    let mut texts = vec![format!("nsq://{before}?{behind}&auth_secret={SECRET}")];
    // After a `?` it would be the value of an option that is not secret.
    if !before.contains('?') {
        texts.push(format!("nsq://{before}:{SECRET}@{behind}"));
        texts.push(format!("{before}:{SECRET}@{behind}"));
        texts.push(format!("{before}?auth_secret={SECRET}"));
        texts.push(format!("{before}#auth_secret={SECRET}"));
        texts.push(format!("nsq://{before}?auth_secret%3D{SECRET}"));
    }
    for text in texts {
        let vars = [("NSQD_TCP_ADDRESS".to_owned(), text.clone())];
        for config in [
            ProducerConfig::from_url(&text),
            ProducerConfig::new(text.as_str()),
            ProducerConfig::from_vars(vars),
        ] {
            check(&config);
            let shown = match config {
                Ok(config) => format!("{config:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains(SECRET), "{shown}");
        }
    }
}

/// Asserts that options from a program, a URL and the environment have the same result.
fn pairs(input: &mut Input<'_>) {
    let known: Vec<_> = ProducerConfig::options()
        .iter()
        .map(|option| option.name)
        .collect();
    let mut pairs = Vec::new();
    while !input.is_empty() && pairs.len() < 20 {
        let at = input.below(known.len() + OTHERS.len());
        let value = String::from_utf8_lossy(input.until(b'\n')).into_owned();
        match known.get(at) {
            Some(name) => pairs.push((*name, value)),
            None => pairs.push((OTHERS[at - known.len()], SECRET.to_owned())),
        }
    }
    let start = ProducerConfig::builder("127.0.0.1:4150");
    let set = pairs
        .iter()
        .try_fold(start, |builder, (name, value)| builder.set(name, value));
    let config = set.and_then(|builder| builder.build());
    check(&config);
    if let Err(error) = &config {
        let text = error.to_string();
        assert!(!text.contains(SECRET), "{text}");
        let shown = |(name, value): &(&str, String)| {
            let value = match *name {
                "auth_secret" => "***",
                _ => value.trim(),
            };
            text.contains(&format!("option {name} = {value:?}: "))
        };
        let contradicts = [" conflicts with ", " needs ", "TLS: "]
            .iter()
            .any(|words| text.contains(words));
        let other = OTHERS.iter().any(|name| text.contains(name));
        assert!(contradicts || other || pairs.iter().any(shown), "{text}");
    }

    let query: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name}={}", percent_encoded(value)))
        .collect();
    let url = ProducerConfig::from_url(&format!("nsq://127.0.0.1:4150?{}", query.join("&")));
    assert_eq!(shown(&config), shown(&url));
    // In the environment, unknown names are ignored: they may belong to other programs. So are
    // options of consumers: one environment configures both.
    let ignored = ["", "unknown", "max_in_flight"];
    if pairs.iter().all(|(name, _)| !ignored.contains(name)) {
        let address = [("NSQD_TCP_ADDRESS".to_owned(), "127.0.0.1:4150".to_owned())];
        let vars = pairs.iter().map(|(name, value)| {
            let name = format!("NSQ_{}", name.to_ascii_uppercase());
            (name, value.clone())
        });
        assert_eq!(
            shown(&config),
            shown(&ProducerConfig::from_vars(address.into_iter().chain(vars)))
        );
    }
}

fn shown(config: &Result<ProducerConfig, ConfigError>) -> String {
    format!("{config:?}")
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// Returns the options whose values are out of bounds, by an independent list of bounds.
fn out_of_bounds(config: &ProducerConfig) -> Vec<&'static str> {
    let hours = |hours: u64| ms(hours * 3_600_000);
    let time = |time: Duration, from: u64, to: Duration| ms(from) <= time && time <= to;
    let five_minutes = ms(300_000);
    let connection = config.connection();
    let heartbeat = |every| time(every, 1_000, hours(1));
    let keepalive = |idle| time(idle, 1_000, ms(32_767_000));
    let wait = |wait| time(wait, 25, ms(30_000));
    let largest = config.max_publish_size().max(config.max_batch_size());
    let half = config.publish_timeout() / 2;
    let texts = [
        connection.client_id(),
        connection.hostname(),
        connection.user_agent(),
        connection.topology_region(),
        connection.topology_zone(),
    ];
    let checked = [
        (
            "deflate_level",
            (1..=9).contains(&connection.deflate_level()),
        ),
        (
            "auth_secret",
            connection.auth_secret().expose().len() <= 65_536,
        ),
        ("tls_server_name", connection.tls_server_name().len() <= 255),
        (
            "dial_timeout",
            time(connection.dial_timeout(), 1, five_minutes),
        ),
        (
            "handshake_timeout",
            time(connection.handshake_timeout(), 1, five_minutes),
        ),
        (
            "write_timeout",
            time(connection.write_timeout(), 1, five_minutes),
        ),
        (
            "heartbeat_interval",
            connection.heartbeat_interval().is_none_or(heartbeat),
        ),
        // The default is reduced to half of a short publish_timeout, even below the minimum.
        ("ack_timeout", config.ack_timeout() <= half.min(hours(1))),
        (
            "publish_timeout",
            time(config.publish_timeout(), 1, hours(24)),
        ),
        (
            "reconnect_backoff",
            time(
                connection.reconnect_backoff(),
                1,
                connection.max_reconnect_backoff(),
            ),
        ),
        (
            "max_reconnect_backoff",
            time(connection.max_reconnect_backoff(), 1, hours(1)),
        ),
        (
            "max_pending",
            (1..=100_000_000).contains(&config.max_pending()),
        ),
        ("max_pending_bytes", config.max_pending_bytes() >= largest),
        (
            "publish_window",
            (1..=1_000_000).contains(&config.publish_window()),
        ),
        ("publish_window_bytes", config.publish_window_bytes() >= 1),
        (
            "max_publish_size",
            (1..=1 << 30).contains(&config.max_publish_size()),
        ),
        (
            "max_batch_size",
            (9..=1 << 30).contains(&config.max_batch_size()),
        ),
        (
            "max_req_timeout",
            config.max_req_timeout() <= hours(30 * 24),
        ),
        (
            "max_msg_size",
            (4_096..=1 << 30).contains(&connection.max_msg_size()),
        ),
        (
            "tcp_keepalive",
            connection.tcp_keepalive().is_none_or(keepalive),
        ),
        ("names", texts.iter().all(|text| text.len() <= 1_024)),
        (
            "output_buffer_size",
            connection
                .output_buffer_size()
                .is_none_or(|size| (64..=65_536).contains(&size)),
        ),
        (
            "output_buffer_timeout",
            connection.output_buffer_timeout().is_none_or(wait),
        ),
    ];
    let wrong = checked.iter().filter(|(_, within)| !within);
    wrong.map(|(name, _)| *name).collect()
}
