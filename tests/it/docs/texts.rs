//! The texts and consequences in docs/troubleshooting.md are those of the crate.

use std::{collections::BTreeSet, io, sync::Arc, time::Duration};

use actix::Addr;
use actix_nsq::{
    ConfigError, ConnectionConfig, ConnectionError, DeferredPublish, Delivery, ErrorKind,
    MultiPublish, PoolConfig, Producer, ProducerConfig, ProducerConfigBuilder, Publish,
    PublishError, TlsFailure, Topic, WaitConnected, WaitForConnection,
    embedded::EmbeddedNsqd,
    producer::Drain,
    protocol::{DecodeError, ErrorCode, Frame, ServerError},
    testing,
};

use super::{
    read,
    variants::{section, tokens},
};
use crate::harness::{ms, publish, s, topic};

const PAGE: &str = "docs/troubleshooting.md";

#[test]
fn page_has_the_texts_of_connection_errors() {
    let server_error = |text: &str| ServerError::parse(text.as_bytes());
    let io = |code| io::Error::from_raw_os_error(code);
    let tls = |failure, text: &str| ConnectionError::Tls {
        failure,
        source: Arc::new(io::Error::other(text.to_owned())),
    };
    let failures = [
        ConnectionError::Resolve {
            address: "nsqd.example.org:4150".into(),
            source: Arc::new(io::Error::other(
                "failed to lookup address information: Name or service not known",
            )),
        },
        ConnectionError::ResolveTimeout {
            address: "nsqd.example.org:4150".into(),
            after: s(1),
            problem: "the resolver has not answered",
        },
        ConnectionError::ResolveTimeout {
            address: "nsqd.example.org:4150".into(),
            after: s(1),
            problem: "every resolver thread waits for another name",
        },
        ConnectionError::Dial {
            address: "127.0.0.1:4150".into(),
            source: Arc::new(io(111)),
        },
        ConnectionError::DialTimeout {
            address: "127.0.0.1:4150".into(),
            after: s(1),
        },
        ConnectionError::HandshakeTimeout { after: s(5) },
        ConnectionError::HandshakeClosed,
        ConnectionError::HandshakeRejected(server_error(
            "E_BAD_BODY IDENTIFY heartbeat interval (60000) is invalid",
        )),
        ConnectionError::HandshakeResponse {
            step: "IDENTIFY",
            problem: "not JSON".into(),
        },
        ConnectionError::HandshakeResponse {
            step: "IDENTIFY",
            problem: "JSON of an unexpected form".into(),
        },
        ConnectionError::HandshakeResponse {
            step: "IDENTIFY",
            problem: Frame::CloseWait.to_string(),
        },
        ConnectionError::HandshakeResponse {
            step: "IDENTIFY",
            problem: "nsqd enabled TLS, which was not requested".into(),
        },
        ConnectionError::TlsDeclined,
        ConnectionError::TlsRequired(server_error(
            "E_INVALID cannot PUB in current state (TLS required)",
        )),
        tls(
            TlsFailure::UnknownIssuer,
            "invalid peer certificate: UnknownIssuer",
        ),
        tls(
            TlsFailure::UnknownIssuer,
            "invalid peer certificate: BadSignature",
        ),
        tls(
            TlsFailure::Expired,
            "invalid peer certificate: certificate expired: verification time 1796083200 (UNIX), but certificate is not valid after 1764547200 (31536000 seconds ago)",
        ),
        tls(
            TlsFailure::NotYetValid,
            "invalid peer certificate: NotValidYet",
        ),
        tls(
            TlsFailure::WrongName,
            "invalid peer certificate: certificate not valid for name \"10.0.0.1\"; certificate is only valid for DnsName(\"nsqd.example.org\")",
        ),
        tls(
            TlsFailure::BadCertificate,
            "invalid peer certificate: BadEncoding",
        ),
        tls(
            TlsFailure::BadCertificate,
            "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
        ),
        tls(
            TlsFailure::CertificateRequired,
            "received fatal alert: CertificateRequired",
        ),
        tls(
            TlsFailure::CertificateRejected,
            "received fatal alert: BadCertificate",
        ),
        tls(TlsFailure::Version, "received fatal alert: ProtocolVersion"),
        tls(
            TlsFailure::NotTls,
            "received corrupt message of type InvalidContentType",
        ),
        tls(TlsFailure::Other, "cannot decrypt peer's message"),
        ConnectionError::CompressionDeclined { method: "snappy" },
        ConnectionError::AuthSecretMissing,
        ConnectionError::AuthSecretProvider {
            source: Arc::new(io::Error::other("the vault is sealed")),
        },
        ConnectionError::AuthRejected(server_error("E_UNAUTHORIZED AUTH no authorizations found")),
        ConnectionError::AuthRejected(server_error("E_AUTH_FAILED AUTH failed")),
        ConnectionError::HttpServer,
        ConnectionError::NsqlookupdServer,
        ConnectionError::Protocol(DecodeError::TooLarge {
            size: 2_000_000,
            limit: 1_048_640,
        }),
        ConnectionError::Protocol(DecodeError::UnknownFrameType { frame_type: 7 }),
        ConnectionError::Protocol(DecodeError::TooShort { size: 2 }),
        ConnectionError::Protocol(DecodeError::Negative { size: -1 }),
        ConnectionError::Protocol(DecodeError::ShortMessage { size: 10 }),
        ConnectionError::UnexpectedResponse {
            problem: "OK while no command is in flight".into(),
        },
        ConnectionError::UnexpectedResponse {
            problem: "OK for a command that is not completely sent".into(),
        },
        ConnectionError::UnexpectedResponse {
            problem: "a message is not a response to a publish".into(),
        },
        ConnectionError::Rejected(server_error(
            "E_BAD_MESSAGE PUB message too big 1048576 > 65536",
        )),
        ConnectionError::ClosedByPeer,
        ConnectionError::Truncated,
        ConnectionError::Io(Arc::new(io(104))),
        ConnectionError::Io(Arc::new(io(32))),
        ConnectionError::HeartbeatTimeout { after: s(60) },
        ConnectionError::AckTimeout { after: s(10) },
        ConnectionError::WriteTimeout { after: s(5) },
        ConnectionError::ClosedLocally,
    ];
    prints(
        "## Connection errors",
        failures.iter().map(ToString::to_string),
    );
}

#[actix::test]
async fn page_has_the_texts_of_publish_errors() {
    prints(
        "## Configuration errors",
        configurations().iter().map(ToString::to_string),
    );
    let mut printed: Vec<String> = Vec::new();
    printed.push(testing::publish_error(ErrorKind::Serialize).to_string());
    printed.extend(names().iter().map(ToString::to_string));
    printed.extend(rejected_locally().await.iter().map(ToString::to_string));
    printed.extend(full().await.iter().map(ToString::to_string));
    printed.extend(timed_out().await.iter().map(ToString::to_string));
    printed.extend(not_waited().await.iter().map(ToString::to_string));
    printed.extend(stopped().await.iter().map(ToString::to_string));
    prints("## Publish errors", printed);
}

#[actix::test]
async fn error_code_has_the_consequences_on_the_page() {
    let mut printed = Vec::new();
    for (text, message, delivery, retryable) in REJECTIONS {
        let error = rejected_with(text, *message).await;
        let code = ServerError::parse(text.as_bytes()).code();
        assert_eq!(
            (error.kind(), error.delivery(), error.is_retryable()),
            (ErrorKind::Rejected(code), *delivery, *retryable),
            "{text}"
        );
        let page = section(&read(PAGE), "## nsqd error codes");
        let begin = format!("| `{}` |", code.as_str());
        let is_row = |line: &&str| line.starts_with(&begin) && line.contains(text);
        let row = page.lines().find(is_row).expect(text);
        let expected = format!("`{delivery:?}`");
        assert!(
            row.contains(&expected),
            "{text}: the page does not say {expected}"
        );
        let says_not = row.contains("not retryable");
        assert_eq!(says_not, !retryable, "{text}: retryable or not");
        printed.push(error.to_string());
    }
    printed.extend(above_known_limits().await.iter().map(ToString::to_string));
    prints("## nsqd error codes", printed);
}

/// Codes that no publish can cause.
#[actix::test]
async fn code_of_the_handshake_has_the_consequences_on_the_page() {
    let drawn: BTreeSet<_> = REJECTIONS
        .iter()
        .map(|row| ServerError::parse(row.0.as_bytes()).code().as_str())
        .collect();
    for token in tokens()
        .iter()
        .filter(|token| !drawn.contains(token.as_str()))
    {
        let error = rejected_with(&format!("{token} no"), Message::Publish).await;
        let code = ErrorCode::from_token(token.as_bytes());
        let consequence = match code.is_fatal() {
            true => "`Rejected`, `NotWritten`",
            false => "unexpected: `ConnectionLost`, `MaybeWritten`",
        };
        let (kind, delivery) = match code.is_fatal() {
            true => (ErrorKind::Rejected(code), Delivery::NotWritten),
            false => (ErrorKind::ConnectionLost, Delivery::MaybeWritten),
        };
        assert_eq!(
            (error.kind(), error.delivery()),
            (kind, delivery),
            "{token}"
        );
        let row = |line: &str| {
            line.starts_with(&format!("| `{token}` |"))
                && line.ends_with(&format!("| {consequence} |"))
        };
        assert!(
            read(PAGE).lines().any(row),
            "{PAGE}: {token} is {consequence}"
        );
    }
}

/// nsqd's limits are below the options; the texts are nsqd's own.
#[actix::test]
async fn nsqd_with_lower_limits_sends_the_texts_on_the_page() {
    let nsqd = EmbeddedNsqd::builder()
        .max_msg_size(1_000)
        .max_body_size(2_000)
        .max_req_timeout(s(1))
        .start()
        .unwrap();
    let producer = start(&nsqd, |config| config);
    let body = vec![b'x'; 1_001];
    let answers = [
        producer.send(Publish::new(topic("t"), body)).await.unwrap(),
        producer
            .send(MultiPublish::new(topic("t"), vec![vec![b'x'; 900]; 3]))
            .await
            .unwrap(),
        producer
            .send(DeferredPublish::new(topic("t"), s(2), "x"))
            .await
            .unwrap(),
    ];
    let page = texts("## nsqd error codes");
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.delivery(), Delivery::NotWritten);
        assert!(
            page.contains(&plain(&error.to_string())),
            "{PAGE} does not print: {error}"
        );
    }
}

#[derive(Clone, Copy)]
enum Message {
    Publish,
    Batch,
    Deferred,
}

/// nsqd's text, the message that it rejects, and the delivery of the error.
const REJECTIONS: &[(&str, Message, Delivery, bool)] = &[
    (
        "E_INVALID DPUB timeout 7200000 out of range 0-3600000",
        Message::Deferred,
        Delivery::NotWritten,
        false,
    ),
    (
        "E_INVALID cannot PUB in current state (TLS required)",
        Message::Publish,
        Delivery::NotWritten,
        false,
    ),
    (
        "E_BAD_TOPIC PUB topic name \"orders\" is not valid",
        Message::Publish,
        Delivery::NotWritten,
        false,
    ),
    (
        "E_BAD_BODY MPUB body too big 5242881 > 2097152",
        Message::Batch,
        Delivery::NotWritten,
        false,
    ),
    (
        "E_BAD_MESSAGE PUB message too big 1048576 > 65536",
        Message::Publish,
        Delivery::NotWritten,
        false,
    ),
    (
        "E_PUB_FAILED PUB failed exiting",
        Message::Publish,
        Delivery::NotWritten,
        true,
    ),
    (
        "E_MPUB_FAILED MPUB failed exiting",
        Message::Batch,
        Delivery::MaybePartial,
        true,
    ),
    (
        "E_DPUB_FAILED DPUB failed exiting",
        Message::Deferred,
        Delivery::NotWritten,
        true,
    ),
    (
        "E_AUTH_FIRST AUTH required before PUB",
        Message::Publish,
        Delivery::NotWritten,
        false,
    ),
    (
        "E_AUTH_FAILED AUTH failed",
        Message::Publish,
        Delivery::NotWritten,
        true,
    ),
    (
        "E_UNAUTHORIZED AUTH failed for PUB on \"orders\" \"\"",
        Message::Publish,
        Delivery::NotWritten,
        false,
    ),
    (
        "E_NEW something that no nsqd says today",
        Message::Publish,
        Delivery::MaybeWritten,
        false,
    ),
];

async fn rejected_with(text: &str, message: Message) -> PublishError {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let (name, t) = (["PUB", "MPUB", "DPUB"][message as usize], topic("t"));
    nsqd.faults().fail_next(name, text);
    let producer = start(&nsqd, |config| config);
    let answer = match message {
        Message::Publish => producer.send(Publish::new(t, "x")).await,
        Message::Batch => producer.send(MultiPublish::new(t, ["x"])).await,
        Message::Deferred => producer.send(DeferredPublish::new(t, s(1), "x")).await,
    };
    answer.unwrap().unwrap_err()
}

/// Publishes above a limit that nsqd named before: the second of each kind is rejected locally.
async fn above_known_limits() -> Vec<PublishError> {
    let nsqd = EmbeddedNsqd::builder()
        .max_msg_size(1_000)
        .max_body_size(2_000)
        .start();
    let nsqd = nsqd.unwrap();
    let mut errors = Vec::new();
    let producer = start(&nsqd, |config| config);
    for _ in 0..2 {
        let answer = producer
            .send(Publish::new(topic("t"), vec![b'x'; 1_001]))
            .await;
        errors.push(answer.unwrap().unwrap_err());
    }
    for _ in 0..2 {
        let batch = MultiPublish::new(topic("t"), vec![vec![b'x'; 900]; 3]);
        errors.push(producer.send(batch).await.unwrap().unwrap_err());
    }
    assert!(
        errors
            .iter()
            .all(|error| error.delivery() == Delivery::NotWritten)
    );
    assert_eq!(
        (nsqd.command_count("PUB"), nsqd.command_count("MPUB")),
        (1, 1)
    );
    errors
}

fn start(
    nsqd: &EmbeddedNsqd,
    options: impl FnOnce(ProducerConfigBuilder) -> ProducerConfigBuilder,
) -> Addr<Producer> {
    let config = ProducerConfig::builder(nsqd.address().to_string()).reconnect_backoff(ms(1));
    Producer::start(options(config).build().unwrap())
}

fn configurations() -> Vec<ConfigError> {
    let builder = || ProducerConfig::builder("nsqd:4150");
    vec![
        builder().max_pending(0).build().unwrap_err(),
        ProducerConfig::from_url("nsqd:4150").unwrap_err(),
        builder().set("publish_timeout", "2500").unwrap_err(),
        builder().set("publish_timeuot", "1s").unwrap_err(),
        builder().set("rdy_redistribute_interval", "2").unwrap_err(),
        ConnectionConfig::builder()
            .set("max_pending", "2")
            .unwrap_err(),
        builder().tls_cert("client.pem").build().unwrap_err(),
        builder()
            .tls_v1(true)
            .tls_cert("client.pem")
            .build()
            .unwrap_err(),
        ProducerConfig::from_url("nsq://nsqd:4150?auth_secret").unwrap_err(),
        builder()
            .tls_v1(true)
            .tls_server_name("nsqd:4150")
            .build()
            .unwrap_err(),
        builder()
            .tls_v1(true)
            .tls_root_ca_file("Cargo.toml")
            .build()
            .unwrap_err(),
        builder().ack_timeout(s(20)).build().unwrap_err(),
        ProducerConfig::new("nsqd").unwrap_err(),
        ProducerConfig::from_url("nsq://nsqd-1:4150,nsqd-2:4150").unwrap_err(),
        PoolConfig::builder(["nsqd-1:4150", "nsqd-2:4150", "nsqd-3:4150"])
            .max_members(2)
            .build()
            .unwrap_err(),
        ProducerConfig::from_vars([]).unwrap_err(),
    ]
}

fn names() -> Vec<PublishError> {
    ["", "new orders", "#ephemeral", &"a".repeat(65)]
        .map(|name| Topic::new(name).unwrap_err().into())
        .into()
}

async fn rejected_locally() -> Vec<PublishError> {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let producer = start(&nsqd, |config| config);
    let (t, large) = (topic("t"), vec![b'x'; (1 << 20) + 1]);
    let batches = [
        vec!["a".into(), "b".into(), "c".into(), Vec::new()],
        Vec::new(),
        vec!["a".into(), "b".into(), "c".into(), large.clone()],
        vec![vec![b'x'; 1 << 20]; 6],
    ];
    let mut errors = Vec::new();
    for body in [Vec::new(), large] {
        errors.push(
            producer
                .send(Publish::new(&t, body))
                .await
                .unwrap()
                .unwrap_err(),
        );
    }
    for batch in batches {
        errors.push(
            producer
                .send(MultiPublish::new(&t, batch))
                .await
                .unwrap()
                .unwrap_err(),
        );
    }
    let late = DeferredPublish::new(&t, s(7_200), "x");
    errors.push(producer.send(late).await.unwrap().unwrap_err());
    errors
}

async fn full() -> Vec<PublishError> {
    let nsqd = EmbeddedNsqd::start().unwrap();
    nsqd.faults().stall(true);
    let few = start(&nsqd, |config| config.max_pending(2));
    let little = start(&nsqd, |config| {
        config
            .max_publish_size(10)
            .max_batch_size(10)
            .max_pending_bytes(10)
    });
    let of_topic = start(&nsqd, |config| config.max_pending_per_topic(2));
    let mut errors = Vec::new();
    for (producer, body) in [(few, "x"), (little, "1234567890"), (of_topic, "x")] {
        let held = [publish(&producer, body), publish(&producer, body)];
        let error = producer
            .send(Publish::new(topic("t"), body))
            .await
            .unwrap()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full);
        errors.push(error);
        drop(held);
    }
    errors
}

async fn timed_out() -> Vec<PublishError> {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let soon = |body: &'static str| Publish::new(topic("t"), body).expires_in(ms(60));
    nsqd.faults().freeze(true);
    let producer = start(&nsqd, |config| config);
    let connecting = producer.send(soon("a")).await.unwrap().unwrap_err();
    let soon_connected = WaitConnected { timeout: ms(60) };
    let not_connected = producer.send(soon_connected).await.unwrap().unwrap_err();
    let impatient: PublishError = producer
        .send(soon("b"))
        .timeout(ms(1))
        .await
        .unwrap_err()
        .into();
    nsqd.faults().freeze(false);
    nsqd.faults().refuse_connections(true);
    let away = start(&nsqd, |config| config);
    let unreachable = away
        .send(soon("c").expires_in(ms(500)))
        .await
        .unwrap()
        .unwrap_err();
    let not_again = away.send(soon_connected).await.unwrap().unwrap_err();
    nsqd.faults().clear();
    let stalled = start(&nsqd, |config| config);
    let connected = WaitConnected { timeout: s(10) };
    stalled.send(connected).await.unwrap().unwrap();
    nsqd.faults().stall(true);
    let sent = stalled
        .send(Publish::new(topic("t"), "d").expires_in(ms(500)))
        .await
        .unwrap()
        .unwrap_err();
    let not_connected = [not_connected, not_again].map(PublishError::from);
    let mut errors = vec![connecting, impatient, unreachable, sent];
    errors.extend(not_connected);
    assert!(
        errors
            .iter()
            .all(|error| error.kind() == ErrorKind::Timeout),
        "{errors:?}"
    );
    errors
}

async fn not_waited() -> Vec<PublishError> {
    let nsqd = EmbeddedNsqd::start().unwrap();
    nsqd.faults().refuse_connections(true);
    let never = WaitForConnection::Never;
    let away = start(&nsqd, |config| config.wait_for_connection(never));
    let publish = || away.send(Publish::new(topic("t"), "a"));
    let connecting = publish().await.unwrap().unwrap_err();
    let refused = WaitConnected { timeout: ms(100) };
    away.send(refused).await.unwrap().unwrap_err();
    let errors = vec![connecting, publish().await.unwrap().unwrap_err()];
    let kinds = errors.iter().map(PublishError::kind);
    assert!(kinds.eq([ErrorKind::NotConnected; 2]));
    errors
}

async fn stopped() -> Vec<PublishError> {
    let nsqd = EmbeddedNsqd::start().unwrap();
    nsqd.faults().close_after_commands(2); // IDENTIFY, PUB
    let producer = start(&nsqd, |config| config);
    let lost = producer
        .send(Publish::new(topic("t"), "x"))
        .await
        .unwrap()
        .unwrap_err();
    producer
        .send(Drain {
            timeout: Duration::ZERO,
        })
        .await
        .unwrap();
    let drained = producer
        .send(Publish::new(topic("t"), "x"))
        .await
        .unwrap()
        .unwrap_err();
    let arbiter = actix::Arbiter::new();
    let config = ProducerConfig::new(nsqd.address().to_string()).unwrap();
    let producer = Producer::start_in_arbiter(&arbiter.handle(), config);
    arbiter.stop();
    arbiter.join().unwrap();
    let closed = producer
        .send(Publish::new(topic("t"), "x"))
        .await
        .unwrap_err()
        .into();
    vec![lost, drained, closed]
}

/// Asserts that a section has exactly these texts, except for numbers and times.
#[track_caller]
fn prints(heading: &str, printed: impl IntoIterator<Item = String>) {
    let printed: BTreeSet<_> = printed.into_iter().map(|text| plain(&text)).collect();
    let page = texts(heading);
    let missing: Vec<_> = printed.difference(&page).collect();
    let stale: Vec<_> = page.difference(&printed).collect();
    assert!(
        missing.is_empty() && stale.is_empty(),
        "{PAGE}, {heading}: missing {missing:#?}, not printed by the crate {stale:#?}"
    );
}

/// The texts in the tables of a section: the code in the second column.
fn texts(heading: &str) -> BTreeSet<String> {
    let section = section(&read(PAGE), heading);
    let rows = section.lines().filter(|line| line.starts_with('|'));
    let cells = rows.filter_map(|row| row.split(" | ").nth(1));
    cells
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(plain)
        .collect()
}

/// A text with `#` for each number or address (`127.0.0.1:4150`, `1.5s`), without the list of
/// options.
fn plain(text: &str) -> String {
    let text = text
        .split_once("known are: ")
        .map_or(text.to_owned(), |(head, _)| format!("{head}known are: ..."));
    let characters: Vec<char> = text.chars().collect();
    let digit = |at: usize| characters.get(at).is_some_and(char::is_ascii_digit);
    let letter = |at: usize| characters.get(at).is_some_and(|c| c.is_alphanumeric());
    let (mut plain, mut at) = (String::new(), 0);
    while let Some(character) = characters.get(at) {
        if !digit(at) {
            plain.push(*character);
            at += 1;
            continue;
        }
        while digit(at)
            || (".:".contains(characters.get(at).copied().unwrap_or(' ')) && digit(at + 1))
        {
            at += 1;
        }
        for unit in ["ms", "s"] {
            let end = at + unit.len();
            if characters
                .get(at..end)
                .is_some_and(|c| c.iter().collect::<String>() == unit)
                && !letter(end)
            {
                at = end;
                break;
            }
        }
        plain.push('#');
    }
    plain
}
