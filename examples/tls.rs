//! TLS both ways, compression and AUTH: an nsqd that takes nobody without a certificate and a secret.
//!
//! ```text
//! cargo run --example tls
//! ```
//!
//! Certificates are made here for the run, and nsqd is inside this process. With an nsqd of your own the options are the
//! same: see "TLS, compression, AUTH" in the README.

use std::{error::Error, fs, io, path::Path, time::Duration};

use actix_nsq::{
    Drain, Producer, ProducerConfig, ProducerConfigBuilder, ProducerHandle, Publish, Secret, Topic,
    embedded::{EmbeddedNsqd, Grant, TlsClientAuthPolicy},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    make_certificates(folder.path())?;

    let nsqd = EmbeddedNsqd::builder()
        .tls_cert(file("nsqd.pem"))
        .tls_key(file("nsqd.key"))
        .tls_root_ca_file(file("ca.pem"))
        .tls_client_auth_policy(TlsClientAuthPolicy::RequireVerify)
        .tls_required(true)
        .auth(|asked| match asked.secret() {
            b"the shop's secret" => Ok(Grant::new("shop").publish("orders")),
            _ => Ok(Grant::nothing()),
        })
        .start()?;
    let localhost = format!("localhost:{}", nsqd.address().port());

    let config = ProducerConfig::builder(&localhost)
        .tls_v1(true)
        .tls_root_ca_file(file("ca.pem"))
        .tls_cert(file("shop.pem"))
        .tls_key(file("shop.key"))
        .snappy(true)
        // Asked at each connect, so that the secret may change; `auth_secret` takes one that does not.
        .auth_secret_provider(|| async { Ok(read_secret()?) });
    let producer = Producer::start(config.build()?);
    let topic = Topic::new("orders")?;
    producer.send(Publish::new(&topic, "an order")).await??;
    for shop in nsqd.connections() {
        println!(
            "published as \"{}\", through {} and snappy ({})",
            shop.auth_identity, shop.tls_version, shop.snappy
        );
    }
    let deadline = Duration::from_secs(5);
    producer.send(Drain { timeout: deadline }).await?;

    // What nsqd, or this client, does not take is an error, and nothing was sent in clear text.
    let with_ca = || {
        ProducerConfig::builder(&localhost)
            .tls_v1(true)
            .tls_root_ca_file(file("ca.pem"))
    };
    let with_certificate = || {
        with_ca()
            .tls_cert(file("shop.pem"))
            .tls_key(file("shop.key"))
    };
    for (missing, config) in [
        (
            "its authority",
            ProducerConfig::builder(&localhost).tls_v1(true),
        ),
        ("a certificate of ours", with_ca()),
        ("a secret", with_certificate()),
        (
            "the right secret",
            with_certificate().auth_secret("another's secret"),
        ),
    ] {
        println!("without {missing}: {}", refused(config).await?);
    }
    match nsqd.message_count("orders") {
        1 => Ok(()),
        count => Err(format!("{count} messages are stored, and it should be one").into()),
    }
}

/// Where a program has its secrets: a file that is mounted, a vault.
fn read_secret() -> io::Result<Secret> {
    Ok(Secret::from("the shop's secret"))
}

/// Why nothing is published.
async fn refused(config: ProducerConfigBuilder) -> Result<actix_nsq::PublishError, Box<dyn Error>> {
    let config = config.publish_timeout(Duration::from_secs(1)).build()?;
    match ProducerHandle::start(config)
        .publish("orders", "another order")
        .await
    {
        Ok(()) => Err("it was published".into()),
        Err(error) => Ok(error),
    }
}

/// An authority, and two who are certified by it: nsqd, and the shop.
fn make_certificates(folder: &Path) -> Result<(), Box<dyn Error>> {
    let mut authority = CertificateParams::new([])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    fs::write(folder.join("ca.pem"), authority.pem())?;
    for (name, host) in [("nsqd", "localhost"), ("shop", "shop.example.org")] {
        let key = KeyPair::generate()?;
        let certificate = CertificateParams::new([host.to_owned()])?.signed_by(&key, &authority)?;
        fs::write(folder.join(format!("{name}.pem")), certificate.pem())?;
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem())?;
    }
    Ok(())
}
