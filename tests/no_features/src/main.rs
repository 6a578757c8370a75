//! What a build without features promises.

use actix_nsq::{ErrorKind, ProducerConfig};

const NEEDS: &[(&str, &str, &str)] = &[
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

fn main() {
    for (feature, name, value) in NEEDS {
        let var = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let refused = [
            ProducerConfig::builder("nsqd:4150")
                .set(name, value)
                .map(|_| ()),
            ProducerConfig::from_url(&format!("nsq://nsqd:4150?{name}={value}")).map(|_| ()),
            ProducerConfig::from_vars([
                var("NSQD_TCP_ADDRESS", "nsqd:4150"),
                var(&format!("NSQ_{}", name.to_uppercase()), value),
            ])
            .map(|_| ()),
        ];
        for refused in refused {
            refuses(refused, feature, name);
        }
        let row = ProducerConfig::options()
            .into_iter()
            .find(|row| row.name == *name);
        assert_eq!(row.unwrap().feature, Some(*feature), "{name}");
    }
    let builder = || ProducerConfig::builder("nsqd:4150");
    refuses(builder().tls_v1(true).build().map(|_| ()), "tls", "tls_v1");
    refuses(
        builder().snappy(true).build().map(|_| ()),
        "snappy",
        "snappy",
    );
    refuses(
        builder().deflate(true).build().map(|_| ()),
        "deflate",
        "deflate",
    );
    assert!(
        builder().auth_secret("s").build().is_ok(),
        "AUTH needs no feature"
    );
    println!("what needs a feature is refused by name");
}

#[track_caller]
fn refuses(set: Result<(), actix_nsq::PublishError>, feature: &str, name: &str) {
    let error = set.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let expected = format!("option {name} needs the feature `{feature}`");
    assert!(error.to_string().starts_with(&expected), "{error}");
}
