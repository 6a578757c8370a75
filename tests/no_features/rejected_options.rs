//! In a build without features, an option that needs one is rejected by name.

use actix_nsq::{ConfigError, ConnectionConfig, ConsumerConfig, ProducerConfig};

const OPTIONS: &[(&str, &str, &str)] = &[
    ("tls", "tls_v1", "true"),
    ("tls", "tls_v1", "false"),
    ("tls", "tls_root_ca_file", "ca.pem"),
    ("tls", "tls_cert", "cert.pem"),
    ("tls", "tls_key", "key.pem"),
    ("tls", "tls_server_name", "nsqd"),
    ("tls", "tls_min_version", "tls1.3"),
    ("tls", "tls_insecure_skip_verify", "true"),
    ("snappy", "snappy", "true"),
    ("deflate", "deflate", "true"),
    ("deflate", "deflate_level", "1"),
];

const LOOKUP: &[&str] = &[
    "lookupd_poll_interval",
    "lookupd_poll_jitter",
    "lookupd_poll_timeout",
    "lookupd_authorization",
    "lookupd_http_address",
];

fn main() {
    for (feature, name, value) in OPTIONS {
        let var = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let option = var(&format!("NSQ_{}", name.to_uppercase()), value);
        let address = var("NSQD_TCP_ADDRESS", "nsqd:4150");
        for result in [
            ProducerConfig::builder("nsqd:4150")
                .set(name, value)
                .map(|_| ()),
            ConnectionConfig::builder().set(name, value).map(|_| ()),
            ProducerConfig::from_url(&format!("nsq://nsqd:4150?{name}={value}")).map(|_| ()),
            ProducerConfig::from_vars([address, option.clone()]).map(|_| ()),
            ConnectionConfig::from_vars([option]).map(|_| ()),
        ] {
            assert_needs(result, feature, name);
        }
        let row = ConnectionConfig::options()
            .into_iter()
            .find(|row| row.name == *name);
        assert_eq!(row.unwrap().feature, Some(*feature), "{name}");
    }
    let builder = || ProducerConfig::builder("nsqd:4150");
    assert_needs(builder().tls_v1(true).build().map(|_| ()), "tls", "tls_v1");
    assert_needs(
        builder().snappy(true).build().map(|_| ()),
        "snappy",
        "snappy",
    );
    assert_needs(
        builder().deflate(true).build().map(|_| ()),
        "deflate",
        "deflate",
    );
    assert!(
        builder().auth_secret("s").build().is_ok(),
        "AUTH needs no feature"
    );
    for name in LOOKUP {
        let value = if *name == "lookupd_authorization" {
            "true"
        } else {
            "1s"
        };
        let set = ConsumerConfig::builder("nsqd:4150").set(name, value);
        assert_needs(set.map(|_| ()), "lookup", name);
    }
    let lookupds = ConsumerConfig::discover(["lookupd:4161"]).build();
    assert_needs(lookupds.map(|_| ()), "lookup", "lookupd_http_address");
    println!("options that need a feature are rejected by name");
}

#[track_caller]
fn assert_needs(result: Result<(), ConfigError>, feature: &str, name: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.option(), Some(name));
    let expected = format!("option {name} needs the feature `{feature}`");
    assert!(error.to_string().starts_with(&expected), "{error}");
}
