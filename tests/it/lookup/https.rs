//! https: the `tls_*` options apply to nsqlookupd, whose certificate must be for its host.

use std::sync::Arc;

use actix_nsq::{
    ConnectionConfig, ConnectionError, ConsumerConfig, LookupConfig, TlsFailure,
    lookup::{LookupError, Node, nodes},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::world::producers;
use crate::harness::{Network, in_virtual_time};
use crate::support::certificates::{Certificates, Flaw};

/// Queries an nsqlookupd that has a certificate for `localhost`.
async fn query(
    mut network: Network,
    certificates: &Certificates,
    host: &str,
) -> Result<Vec<Node>, LookupError> {
    let connection = ConnectionConfig::builder()
        .connector(network.connector())
        .tls_v1(true)
        .tls_root_ca_file(certificates.authority())
        // It concerns nsqd.
        .tls_server_name("nsqd.example.org");
    let config = LookupConfig::builder([format!("https://{host}:443/nsq/lookup?token=7")])
        .connection(connection.build().unwrap())
        .build()
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(certificates.server_config(Flaw::None)));
    let serve = async {
        let dial = network.dial().await;
        assert_eq!(dial.address, format!("{host}:443"));
        let mut peer = dial.accept();
        let Ok(mut stream) = acceptor.accept(peer.stream()).await else {
            return;
        };
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        assert!(head.starts_with(b"GET /nsq/nodes?token=7 HTTP/1.1\r\n"));
        stream.write_all(&producers(&["nsqd"])).await.unwrap();
        let _ = stream.read_u8().await;
    };
    let (answer, ()) = tokio::join!(nodes(&config), serve);
    answer
}

/// checklist: 85, 86
#[test]
fn https_keeps_path_and_token_and_checks_the_host() {
    in_virtual_time(async |network| {
        let certificates = Certificates::new();
        let nodes = query(network, &certificates, "localhost").await.unwrap();
        assert_eq!(&*nodes[0].address, "nsqd:4150");
    });
    in_virtual_time(async |network| {
        let certificates = Certificates::new();
        let error = query(network, &certificates, "lookup.example.org").await;
        let error = error.unwrap_err();
        let is_wrong_name = matches!(
            error,
            LookupError::Connection(ConnectionError::Tls {
                failure: TlsFailure::WrongName,
                ..
            })
        );
        assert!(is_wrong_name, "{error}");
    });
}

/// checklist: 85
#[test]
fn tls_options_have_an_effect_if_only_lookupds_are_encrypted() {
    let certificates = Certificates::new();
    let config = |lookupd: &str| {
        ConsumerConfig::discover([lookupd])
            .tls_root_ca_file(certificates.authority())
            .build()
    };
    assert!(config("https://lookupd:443").is_ok());
    let error = config("http://lookupd:443").unwrap_err();
    assert_eq!(error.option(), Some("tls_root_ca_file"));
}
