//! Publishes through mutual TLS and snappy compression.
//!
//! ```sh
//! cargo run --example tls
//! ```
//!
//! The certificates are made for this run. With files of your own the options are the same.

use std::{error::Error, fs, path::Path, time::Duration};

use actix_nsq::{
    Producer, ProducerConfig, PublishExt, WaitConnected,
    embedded::{EmbeddedNsqd, TlsClientAuthPolicy},
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
        .start()?;
    let address = format!("localhost:{}", nsqd.address().port());

    let config = ProducerConfig::builder(&address)
        .tls_v1(true)
        .tls_root_ca_file(file("ca.pem"))
        .tls_cert(file("shop.pem"))
        .tls_key(file("shop.key"))
        .snappy(true)
        .build()?;
    let producer = Producer::start(config);
    producer.publish("orders", "an order").await?;
    for connection in nsqd.connections() {
        let (version, snappy) = (&connection.tls_version, connection.snappy);
        println!("published through {version}, snappy: {snappy}");
    }

    // Without a client certificate there is no connection, and no message is sent.
    let config = ProducerConfig::builder(&address)
        .tls_v1(true)
        .tls_root_ca_file(file("ca.pem"))
        .build()?;
    let timeout = Duration::from_secs(1);
    let rejected = Producer::start(config).send(WaitConnected { timeout });
    if let Err(error) = rejected.await? {
        println!("without a client certificate: {error}");
    }
    Ok(())
}

/// Makes a certificate authority, and certificates of it for nsqd and for the client.
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
