//! Every option by its name, by a URL and by the environment: what is out of bounds by one or is no value at all is refused
//! with option, value and bounds; what is at its bounds is taken, and works.

use std::time::Duration;

use actix_nsq::{ConfigError, ProducerConfig, ProducerConfigBuilder};
use proptest::prelude::*;

use super::one_short_line;
use crate::harness::{Network, in_virtual_time, publish};
use crate::support::spoken::ok_frame;

const ADDRESS: &str = "127.0.0.1:4150";

/// The bounds of the numbers, by the documentation and not by the table in the code; times in milliseconds.
const NUMBERS: &[(&str, u128, u128)] = &[
    ("dial_timeout", 1, 300_000),
    ("handshake_timeout", 1, 300_000),
    ("write_timeout", 1, 300_000),
    ("heartbeat_interval", 1_000, 60_000),
    ("ack_timeout", 1, 3_600_000),
    ("publish_timeout", 1, 86_400_000),
    ("reconnect_backoff", 1, 3_600_000),
    ("max_reconnect_backoff", 1, 3_600_000),
    ("max_pending", 1, 100_000_000),
    ("max_pending_bytes", 1, u64::MAX as u128),
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

/// `-1` switches these off.
const CAN_BE_OFF: &[&str] = &[
    "heartbeat_interval",
    "tcp_keepalive",
    "output_buffer_size",
    "output_buffer_timeout",
];

/// Any text of at most so many bytes.
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
    "auto_batch",
    "retry_maybe_written",
    "tls_v1",
    "tls_min_version",
    "tls_insecure_skip_verify",
    "snappy",
    "deflate",
    "allow_uncompressed",
];

/// A text that has to be a name, too, and is looked at below.
const NAME: &str = "tls_server_name";

/// No number, time, address or truth.
fn hostile() -> Vec<String> {
    let mut hostile: Vec<String> = [
        " ",
        "NaN",
        "inf",
        "-2",
        "-0",
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
        "-1s",
        "99999999999999999999s",
        "18446744073709551615y",
        "18446744073709551615s 1s",
        "yes",
        "TRUE",
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
fn refused(error: &ConfigError, name: &str) {
    assert_eq!(error.option(), Some(name));
    let text = one_short_line(error);
    let option = ProducerConfig::options()
        .into_iter()
        .find(|option| option.name == name);
    let bounds = option.expect("an option of the table").bounds;
    assert!(text.starts_with(&format!("option {name} = ")), "{text}");
    assert!(text.ends_with(&format!(": must be {bounds}")), "{text}");
}

/// By every way from outside.
fn by_all_ways(name: &str, value: &str) -> [Result<ProducerConfig, ConfigError>; 3] {
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
fn every_option_of_the_table_is_looked_at() {
    let numbers = NUMBERS.iter().map(|(name, ..)| *name);
    let texts = TEXTS.iter().map(|(name, _)| *name);
    let others = FILES.iter().chain(OTHERS).copied().chain([NAME]);
    let mut looked_at: Vec<_> = numbers.chain(texts).chain(others).collect();
    let mut table: Vec<_> = ProducerConfig::options()
        .iter()
        .map(|option| option.name)
        .collect();
    looked_at.sort_unstable();
    table.sort_unstable();
    assert_eq!(looked_at, table);
}

/// fault: P25
#[test]
fn what_is_no_value_is_refused_by_name_whichever_way_it_comes() {
    for name in NUMBERS.iter().map(|(name, ..)| name).chain(OTHERS) {
        for value in hostile() {
            // Spaces around a value are nobody's fault, and nothing is the system's choice.
            if *name == "local_addr" && value.trim().is_empty() {
                continue;
            }
            for built in by_all_ways(name, &value) {
                refused(&built.expect_err(&format!("{name} = {value:.40?}")), name);
            }
        }
    }
}

#[test]
fn a_text_may_be_anything_but_long() {
    for (name, longest) in TEXTS {
        for value in hostile() {
            let long = value.trim().len() > *longest;
            for built in by_all_ways(name, &value) {
                match built {
                    Ok(_) => assert!(!long, "{name} of {} bytes", value.len()),
                    Err(error) => {
                        assert!(long, "{name} = {value:.40?}: {error}");
                        refused(&error, name);
                    }
                }
            }
        }
    }
}

/// fault: P25
#[test]
fn numbers_are_taken_up_to_their_bounds_and_not_one_beyond() {
    for (name, low, high) in NUMBERS {
        for good in [*low, *high] {
            let _ = set(name, &good.to_string()).unwrap();
        }
        for bad in [low.checked_sub(1), Some(high + 1)].into_iter().flatten() {
            refused(&set(name, &bad.to_string()).unwrap_err(), name);
        }
        let off = set(name, "-1");
        assert_eq!(off.is_ok(), CAN_BE_OFF.contains(name), "{name}");
    }
    for (name, longest) in TEXTS.iter().chain(&[(NAME, 255)]) {
        let _ = set(name, &"x".repeat(*longest)).unwrap();
        refused(&set(name, &"x".repeat(longest + 1)).unwrap_err(), name);
    }
}

#[test]
fn a_file_that_is_none_is_refused_by_the_name_of_its_option() {
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
            let told = if *name == "tls_key" { "tls_cert" } else { name };
            assert!(text.starts_with(&format!("option {told} = ")), "{text}");
        }
    }
}

#[test]
fn a_server_name_that_no_certificate_can_be_for_is_refused() {
    for value in hostile() {
        let config = ProducerConfig::builder(ADDRESS)
            .tls_v1(true)
            .set(NAME, &value);
        let Err(error) = config.and_then(ProducerConfigBuilder::build) else {
            // A name of letters, or none, in which case the address has one.
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

/// What contradicts another option is told with both; all else publishes.
#[test]
fn a_producer_with_an_option_at_its_bound_publishes() {
    let off = CAN_BE_OFF.iter().map(|name| (*name, "-1".to_owned()));
    let bounds = NUMBERS
        .iter()
        .flat_map(|(name, low, high)| [low, high].map(|bound| (*name, bound.to_string())));
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
fn the_builders_own_methods_refuse_the_same() {
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
        refused(&built.unwrap_err(), name);
    }
}

#[test]
fn a_name_of_no_option_is_refused_in_one_short_line() {
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
fn a_name_without_a_value_is_taken_for_a_switch_only() {
    for option in ProducerConfig::options() {
        let name = option.name;
        let built = ProducerConfig::from_url(&format!("nsq://{ADDRESS}?{name}"));
        if ["true", "false"].contains(&option.default.as_str()) {
            if let Err(error) = built {
                // It has no effect alone.
                assert!(error.to_string().contains(" conflicts with "), "{error}");
            }
            continue;
        }
        let text = one_short_line(&built.expect_err(name));
        let told = format!("option {name} needs a value: only a switch may stand alone");
        assert_eq!(text, told);
    }
}

/// A secret in an address is not repeated, wherever it stands.
/// fault: P25
#[test]
fn an_address_that_is_none_is_refused_without_its_secrets() {
    for address in [
        "h:4150?auth_secret=hunter2",
        "me:hunter2@h:4150",
        "nsq://me:hunter2@h:4150",
        "http://h:4150?auth_secret=hunter2",
        "nsq://h/?max_pending=1&auth_secret=hunter2#x",
        "h:4150#auth_secret=hunter2",
        "h:4150;auth_secret=hunter2",
        "h:4150 auth_secret=hunter2",
        "h:4150/hunter2",
        "h:4150%3Fauth_secret=hunter2",
        "h#auth_secret=hunter2:4150",
    ] {
        let vars = [("NSQD_TCP_ADDRESS".to_owned(), address.to_owned())];
        for built in [
            ProducerConfig::new(address),
            ProducerConfig::from_url(address),
            ProducerConfig::from_vars(vars),
        ] {
            let text = one_short_line(&built.unwrap_err());
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}

/// What is taken for an address can be shown in a log, again at each attempt to connect.
#[track_caller]
fn judge_address(address: &str) {
    match ProducerConfig::new(address) {
        Err(error) => {
            one_short_line(&error);
        }
        Ok(config) => {
            let (host, port) = config.address().rsplit_once(':').unwrap();
            assert!(port.parse::<u16>().unwrap() > 0);
            assert!((1..=255).contains(&host.len()), "{} bytes", host.len());
            let plain = |c: char| {
                !c.is_control() && !c.is_whitespace() && !matches!(c, '\u{200e}'..='\u{202e}')
            };
            assert!(host.chars().all(plain), "{address:?}");
        }
    }
}

#[test]
fn hostile_addresses_are_refused() {
    for host in hostile() {
        judge_address(&host);
        judge_address(&format!("{host}:4150"));
        judge_address(&format!("a{host}b:4150"));
        judge_address(&format!("127.0.0.1:{host}"));
        judge_address(&format!("[{host}]:4150"));
        one_short_line(&ProducerConfig::from_url(&format!("nsq://{host}\n")).unwrap_err());
    }
}

proptest! {
    #[test]
    fn no_text_is_taken_for_an_address_that_a_log_could_not_show(
        address in prop_oneof![
            any::<String>(),
            ".{0,20}:[0-9]{1,6}",
            "[a-z0-9.\\[\\]:]{0,30}:4150",
            ("[a-z]{1,9}", any::<char>(), "[a-z]{1,9}").prop_map(|(a, c, b)| format!("{a}{c}{b}:4150")),
        ]
    ) {
        judge_address(&address);
    }

    #[test]
    fn any_text_for_any_option_is_taken_or_refused_by_name(
        option in any::<prop::sample::Index>(),
        value in prop_oneof![any::<String>(), "-?[0-9]{1,25}(ns|us|ms|s|m|h|d|w|M|y)?", "[0-9a-zµ .+-]{0,12}"],
    ) {
        let options = ProducerConfig::options();
        let name = option.get(&options).name;
        if let Err(error) = set(name, &value) {
            refused(&error, name);
        }
    }
}
