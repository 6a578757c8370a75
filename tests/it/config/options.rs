//! Every option with every kind of value: an invalid value is rejected with option, value and
//! bounds, from a name, a URL or the environment; a value at its bound is accepted and works.

use std::time::Duration;

use actix_nsq::{ConfigError, ConnectionConfig, ProducerConfig, ProducerConfigBuilder};
use proptest::prelude::*;

use super::one_short_line;
use crate::harness::{Network, in_virtual_time, publish};
use crate::support::spoken::ok_frame;

const ADDRESS: &str = "127.0.0.1:4150";

/// The bounds of numbers, written independently of the table in the code. Durations are in
/// milliseconds.
const NUMBERS: &[(&str, u128, u128)] = &[
    ("dial_timeout", 1, 300_000),
    ("handshake_timeout", 1, 300_000),
    ("write_timeout", 1, 300_000),
    ("heartbeat_interval", 1_000, 3_600_000),
    ("ack_timeout", 1, 3_600_000),
    ("publish_timeout", 1, 86_400_000),
    ("reconnect_backoff", 1, 3_600_000),
    ("max_reconnect_backoff", 1, 3_600_000),
    ("max_pending", 1, 100_000_000),
    ("max_pending_bytes", 1, u64::MAX as u128),
    ("max_pending_per_topic", 1, 100_000_000),
    ("topic_stats", 1, 10_000),
    ("publish_window", 1, 1_000_000),
    ("publish_window_bytes", 1, u64::MAX as u128),
    ("max_publish_size", 1, 1 << 30),
    ("max_batch_size", 9, 1 << 30),
    ("auto_batch_messages", 2, 100_000),
    ("auto_batch_bytes", 9, 1 << 30),
    ("max_req_timeout", 0, 2_592_000_000),
    ("max_msg_size", 4_096, 1 << 30),
    ("tcp_keepalive", 1_000, 32_767_000),
    ("output_buffer_size", 64, 65_536),
    ("output_buffer_timeout", 25, 30_000),
    ("deflate_level", 1, 9),
];

/// Options that `-1` switches off.
const CAN_BE_OFF: &[&str] = &[
    "max_pending_per_topic",
    "topic_stats",
    "heartbeat_interval",
    "tcp_keepalive",
    "output_buffer_size",
    "output_buffer_timeout",
];

/// Options that accept any text, and their maximum length in bytes.
const TEXTS: &[(&str, usize)] = &[
    ("client_id", 1_024),
    ("hostname", 1_024),
    ("user_agent", 1_024),
    ("topology_region", 1_024),
    ("topology_zone", 1_024),
    ("auth_secret", 65_536),
];

const FILES: &[&str] = &["tls_root_ca_file", "tls_cert", "tls_key"];

const OTHERS: &[&str] = &[
    "local_addr",
    "connect_at_start",
    "wait_for_connection",
    "auto_batch",
    "retry_maybe_written",
    "tls_v1",
    "tls_min_version",
    "tls_insecure_skip_verify",
    "snappy",
    "deflate",
    "allow_uncompressed",
];

/// Follows the bounds if a duration has no unit.
const HINT: &str = "; a number needs a unit, such as 500ms";

/// A text that must be a host name.
const NAME: &str = "tls_server_name";

/// Returns texts that are not a valid number, duration, address or switch.
fn hostile() -> Vec<String> {
    let mut hostile: Vec<String> = [
        " ",
        "NaN",
        "inf",
        "-2",
        "1e400",
        "1e3",
        "18446744073709551616",
        "0x10",
        "1_000",
        "1,000",
        "½",
        "١",
        "ms",
        "1 parsec",
        "1ms1",
        "99999999999999999999s",
        "18446744073709551615y",
        "18446744073709551615s 1s",
        "yes",
        "null",
        "\0",
        "1\n2",
        "\u{1b}[31m1",
        "\u{202e}1",
        "\u{feff}1",
        "%s%n",
        "{}",
        "$(id)",
        "1;2",
        "::1::",
        "1.2.3.4:99999",
    ]
    .map(str::to_owned)
    .into();
    hostile.extend(["9", "x", "\n1", "é"].map(|text| text.repeat(100_000)));
    hostile
}

fn set(name: &str, value: &str) -> Result<ProducerConfigBuilder, ConfigError> {
    ProducerConfig::builder(ADDRESS).set(name, value)
}

#[track_caller]
fn assert_rejects_value(error: &ConfigError, name: &str) {
    assert_eq!(error.option(), Some(name));
    let text = one_short_line(error);
    let option = ProducerConfig::options()
        .into_iter()
        .find(|option| option.name == name);
    let bounds = option.expect("an option of the table").bounds;
    assert!(text.starts_with(&format!("option {name} = ")), "{text}");
    let text = text.strip_suffix(HINT).unwrap_or(&text);
    assert!(text.ends_with(&format!(": must be {bounds}")), "{text}");
}

/// Writes a number as a value: a duration needs a unit.
fn written(name: &str, number: u128) -> String {
    let mut options = ProducerConfig::options().into_iter();
    let is_duration = options.any(|it| it.name == name && it.bounds.starts_with("a duration"));
    format!("{number}{}", if is_duration { "ms" } else { "" })
}

/// Builds a configuration with one option, from each source.
fn from_each_source(name: &str, value: &str) -> [Result<ProducerConfig, ConfigError>; 3] {
    let encoded: String = value.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let vars = [
        ("NSQD_TCP_ADDRESS".to_owned(), ADDRESS.to_owned()),
        (format!("NSQ_{}", name.to_uppercase()), value.to_owned()),
    ];
    [
        set(name, value).and_then(ProducerConfigBuilder::build),
        ProducerConfig::from_url(&format!("nsq://{ADDRESS}?{name}={encoded}")),
        ProducerConfig::from_vars(vars),
    ]
}

#[test]
fn every_option_of_the_table_is_tested() {
    let numbers = NUMBERS.iter().map(|(name, ..)| *name);
    let texts = TEXTS.iter().map(|(name, _)| *name);
    let others = FILES.iter().chain(OTHERS).copied().chain([NAME]);
    let mut tested: Vec<_> = numbers.chain(texts).chain(others).collect();
    let mut table: Vec<_> = ProducerConfig::options()
        .iter()
        .map(|option| option.name)
        .collect();
    tested.sort_unstable();
    table.sort_unstable();
    assert_eq!(tested, table);
}

/// fault: P25
#[test]
fn unreadable_value_is_rejected_from_every_source() {
    for name in NUMBERS.iter().map(|(name, ..)| name).chain(OTHERS) {
        for value in hostile() {
            // An empty value is valid: the operating system chooses.
            if *name == "local_addr" && value.trim().is_empty() {
                continue;
            }
            for built in from_each_source(name, &value) {
                assert_rejects_value(&built.expect_err(&format!("{name} = {value:.40?}")), name);
            }
        }
    }
}

#[test]
fn text_option_accepts_any_text_up_to_its_length() {
    for (name, longest) in TEXTS {
        for value in hostile() {
            let long = value.trim().len() > *longest;
            for built in from_each_source(name, &value) {
                match built {
                    Ok(_) => assert!(!long, "{name} of {} bytes", value.len()),
                    Err(error) => {
                        assert!(long, "{name} = {value:.40?}: {error}");
                        assert_rejects_value(&error, name);
                    }
                }
            }
        }
    }
}

/// fault: P25
#[test]
fn bounds_are_inclusive_and_exact() {
    for (name, low, high) in NUMBERS {
        for good in [*low, *high] {
            let _ = set(name, &written(name, good)).unwrap();
        }
        for bad in [low.checked_sub(1), Some(high + 1)].into_iter().flatten() {
            assert_rejects_value(&set(name, &written(name, bad)).unwrap_err(), name);
        }
        let off = set(name, "-1");
        assert_eq!(off.is_ok(), CAN_BE_OFF.contains(name), "{name}");
    }
    for (name, longest) in TEXTS.iter().chain(&[(NAME, 255)]) {
        let _ = set(name, &"x".repeat(*longest)).unwrap();
        assert_rejects_value(&set(name, &"x".repeat(longest + 1)).unwrap_err(), name);
    }
}

#[test]
fn unreadable_file_error_names_its_option() {
    for name in FILES {
        for value in hostile() {
            if value.trim().is_empty() {
                continue;
            }
            let config = ProducerConfig::builder(ADDRESS)
                .tls_v1(true)
                .tls_key("also missing");
            let config = match *name {
                "tls_root_ca_file" => ProducerConfig::builder(ADDRESS).tls_v1(true),
                "tls_key" => config.tls_cert("Cargo.toml"),
                _ => config,
            };
            let error = config.set(name, &value).unwrap().build().unwrap_err();
            let text = one_short_line(&error);
            // The certificate is read before its key.
            let named = if *name == "tls_key" { "tls_cert" } else { name };
            assert!(text.starts_with(&format!("option {named} = ")), "{text}");
        }
    }
}

#[test]
fn invalid_server_name_is_rejected() {
    for value in hostile() {
        let config = ProducerConfig::builder(ADDRESS)
            .tls_v1(true)
            .set(NAME, &value);
        let Err(error) = config.and_then(ProducerConfigBuilder::build) else {
            // A valid name, or none: then the host of the address is used.
            assert!(
                value
                    .trim()
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)),
                "{value}"
            );
            continue;
        };
        one_short_line(&error);
    }
}

/// A value at its bound either works or conflicts with another option.
#[test]
fn producer_with_an_option_at_its_bound_publishes() {
    let off = CAN_BE_OFF.iter().map(|name| (*name, "-1".to_owned()));
    let bounds = NUMBERS
        .iter()
        .flat_map(|(name, low, high)| [low, high].map(|bound| (*name, written(name, *bound))));
    for (name, bound) in bounds.chain(off) {
        in_virtual_time(async |mut network: Network| {
            let config = match network.config().set(name, &bound).unwrap().build() {
                Ok(config) => config,
                Err(error) => {
                    let text = one_short_line(&error);
                    assert!(
                        text.contains(name) && text.contains(" conflicts with "),
                        "{text}"
                    );
                    return;
                }
            };
            let producer = actix_nsq::Producer::start(config);
            let mut nsqd = network.connected().await;
            let answer = publish(&producer, "x");
            nsqd.expect_pub("t", "x").await;
            nsqd.send(ok_frame()).await;
            answer
                .await
                .unwrap_or_else(|error| panic!("{name} = {bound}: {error}"));
        });
    }
}

#[test]
fn builder_methods_reject_values_out_of_bounds() {
    let long = "x\n".repeat(100_000);
    type Set = fn(ProducerConfigBuilder, &str) -> ProducerConfigBuilder;
    let cases: [(&str, Set); 8] = [
        ("dial_timeout", |config, _| {
            config.dial_timeout(Duration::MAX)
        }),
        ("publish_timeout", |config, _| {
            config.publish_timeout(Duration::from_nanos(1))
        }),
        ("heartbeat_interval", |config, _| {
            config.heartbeat_interval(Duration::MAX)
        }),
        ("max_req_timeout", |config, _| {
            config.max_req_timeout(Duration::MAX)
        }),
        ("max_pending", |config, _| config.max_pending(usize::MAX)),
        ("max_batch_size", |config, _| config.max_batch_size(0)),
        ("output_buffer_size", |config, _| {
            config.output_buffer_size(usize::MAX)
        }),
        ("client_id", |config, long| config.client_id(long)),
    ];
    for (name, set) in cases {
        let built = set(ProducerConfig::builder(ADDRESS), &long).build();
        assert_rejects_value(&built.unwrap_err(), name);
    }
}

#[test]
fn unknown_option_error_is_one_line_without_the_value() {
    for name in
        hostile()
            .iter()
            .map(String::as_str)
            .chain(["", "Publish_Timeout", "nsq_max_pending"])
    {
        for (name, value) in [
            (name, "hunter2"),
            (&format!("auth_secret,{name}hunter2"), ""),
        ] {
            let error = set(name, value).unwrap_err();
            let text = one_short_line(&error);
            assert!(text.starts_with("unknown option \""), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}

#[test]
fn connection_accepts_exactly_its_own_options() {
    let own = ConnectionConfig::options();
    for option in ProducerConfig::options() {
        let name = option.name;
        match ConnectionConfig::builder().set(name, option.default) {
            Ok(_) => assert!(own.contains(&option), "{name}"),
            Err(error) => {
                assert!(!own.contains(&option), "{error}");
                assert_eq!(error.option(), Some(name));
                one_short_line(&error);
            }
        }
    }
}

#[test]
fn only_a_switch_may_omit_its_value_in_a_url() {
    for option in ProducerConfig::options() {
        let name = option.name;
        let built = ProducerConfig::from_url(&format!("nsq://{ADDRESS}?{name}"));
        if option.is_switch() {
            if let Err(error) = built {
                // It has no effect without another option.
                assert!(error.to_string().contains(" conflicts with "), "{error}");
            }
            continue;
        }
        let text = one_short_line(&built.expect_err(name));
        let expected = format!("option {name} needs a value: only a switch may omit it");
        assert_eq!(text, expected);
    }
}

/// An accepted address is safe to log.
#[track_caller]
fn check_address(address: &str) {
    match ProducerConfig::new(address) {
        Err(error) => {
            one_short_line(&error);
        }
        Ok(config) if config.address().starts_with("unix:/") => {
            assert!(!config.address().contains(char::is_control), "{address:?}");
        }
        Ok(config) => {
            let (host, port) = config.address().rsplit_once(':').unwrap();
            assert!(port.parse::<u16>().unwrap() > 0);
            assert!((1..=255).contains(&host.len()), "{} bytes", host.len());
            // Those that change the direction of what follows.
            let is_direction = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}');
            let plain = |c: char| !c.is_control() && !c.is_whitespace() && !is_direction(c);
            assert!(host.chars().all(plain), "{address:?}");
        }
    }
}

#[test]
fn accepted_address_is_safe_to_log() {
    for host in hostile() {
        check_address(&host);
        check_address(&format!("{host}:4150"));
        check_address(&format!("a{host}b:4150"));
        check_address(&format!("127.0.0.1:{host}"));
        check_address(&format!("[{host}]:4150"));
        check_address(&format!("[fe80::1%{host}]:4150"));
        check_address(&format!("unix:/{host}"));
        one_short_line(&ProducerConfig::from_url(&format!("nsq://{host}\n")).unwrap_err());
    }
}

proptest! {
    #[test]
    fn any_accepted_address_is_safe_to_log(
        address in prop_oneof![
            any::<String>(),
            ".{0,20}:[0-9]{1,6}",
            "[a-z0-9.\\[\\]:]{0,30}:4150",
            ("[a-z]{1,9}", any::<char>(), "[a-z]{1,9}").prop_map(|(a, c, b)| format!("{a}{c}{b}:4150")),
        ]
    ) {
        check_address(&address);
    }

    #[test]
    fn any_text_is_accepted_or_rejected_with_option_and_bounds(
        option in any::<prop::sample::Index>(),
        value in prop_oneof![any::<String>(), "-?[0-9]{1,25}(ns|us|ms|s|m|h|d|w|M|y)?", "[0-9a-zµ .+-]{0,12}"],
    ) {
        let options = ProducerConfig::options();
        let name = option.get(&options).name;
        if let Err(error) = set(name, &value) {
            assert_rejects_value(&error, name);
        }
    }
}
