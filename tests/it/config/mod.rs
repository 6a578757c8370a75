//! The configuration: contradictions between options, the environment, and hostile values.

mod environment;
mod options;

use std::sync::Arc;

use actix_nsq::ProducerConfig;

/// Checks that an error is one line of bounded length without control characters, and returns it.
#[track_caller]
pub(crate) fn one_short_line(error: &dyn std::error::Error) -> String {
    for text in [error.to_string(), format!("{error:?}")] {
        // The error for an unknown option lists all known ones.
        assert!(text.len() < 1_200, "{} bytes: {text:.300}", text.len());
        let plain = |c: char| !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}');
        assert!(text.chars().all(plain), "{text:?}");
    }
    error.to_string()
}

#[test]
fn options_without_effect_are_rejected() {
    let builder = || ProducerConfig::builder("localhost:4150");
    let rustls = || {
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let config = tokio_rustls::rustls::ClientConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().unwrap();
        config
            .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
            .with_no_client_auth()
    };
    let cases = [
        (
            builder().tls_server_name("nsqd"),
            "option tls_server_name conflicts with tls_v1 = false",
        ),
        (
            builder().tls_cert("cert.pem"),
            "option tls_cert conflicts with tls_v1 = false",
        ),
        (
            builder().tls_insecure_skip_verify(true),
            "option tls_insecure_skip_verify conflicts with tls_v1 = false",
        ),
        (
            builder().tls_v1(true).tls_cert("cert.pem"),
            "option tls_cert needs tls_key",
        ),
        (
            builder().snappy(true).deflate(true),
            "option snappy conflicts with deflate = true",
        ),
        (
            builder()
                .auth_secret("hunter2")
                .auth_secret_provider(async || Ok("s".into())),
            "option auth_secret conflicts with auth_secret_provider",
        ),
        (
            builder().rustls_0_23_config(rustls()).tls_v1(false),
            "option rustls_0_23_config conflicts with tls_v1 = false",
        ),
        (
            builder()
                .rustls_0_23_config(rustls())
                .tls_root_ca_file("ca.pem"),
            "option tls_root_ca_file conflicts with rustls_0_23_config",
        ),
    ];
    for (builder, expected) in cases {
        let error = builder.build().unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    // Empty and default values are accepted, since a file may list all options.
    let defaults = builder()
        .tls_insecure_skip_verify(false)
        .tls_server_name("")
        .tls_cert("");
    defaults.build().unwrap();
    builder()
        .rustls_0_23_config(rustls())
        .tls_server_name("nsqd")
        .build()
        .unwrap();
}
