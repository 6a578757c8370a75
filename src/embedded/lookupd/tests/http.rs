//! The HTTP server and the formats of its answers.

use super::*;

const NODE: &str = "\"remote_address\":\"127.0.0.1:50000\",\"hostname\":\"localhost\",\
                    \"broadcast_address\":\"nsqd-1\",\"tcp_port\":4150,\"http_port\":4151,\
                    \"version\":\"1.3.0\"";

fn with_one_node() -> EmbeddedLookupd {
    let lookupd = start();
    lookupd.register_channel("orders", "billing", LookupdNode::new("nsqd-1", 4150));
    lookupd
}

#[test]
fn registration_by_hand_is_in_every_answer() {
    let lookupd = with_one_node();
    lookupd.create_topic("empty");
    let listed = format!("{{\"channels\":[\"billing\"],\"producers\":[{{{NODE}}}]}}");
    assert_eq!(get(&lookupd, "/lookup?topic=orders"), (200, listed));
    let empty = r#"{"channels":[],"producers":[]}"#.to_owned();
    assert_eq!(get(&lookupd, "/lookup?topic=empty"), (200, empty));
    let not_found = r#"{"message":"TOPIC_NOT_FOUND"}"#.to_owned();
    assert_eq!(get(&lookupd, "/lookup?topic=none"), (404, not_found));
    let nodes =
        format!("{{\"producers\":[{{{NODE},\"tombstones\":[false],\"topics\":[\"orders\"]}}]}}");
    assert_eq!(get(&lookupd, "/nodes"), (200, nodes));
    let topics = r#"{"topics":["empty","orders"]}"#.to_owned();
    assert_eq!(get(&lookupd, "/topics"), (200, topics));
    let channels = r#"{"channels":["billing"]}"#.to_owned();
    assert_eq!(get(&lookupd, "/channels?topic=orders"), (200, channels));
}

#[test]
fn old_formats_are_wrapped_unless_plain_is_accepted() {
    let lookupd = with_one_node();
    let plain = format!("{{\"channels\":[\"billing\"],\"producers\":[{{{NODE}}}]}}");
    let wrapped = format!(r#"{{"status_code":200,"status_txt":"OK","data":{plain}}}"#);
    let failed = |text: &str| format!(r#"{{"status_code":500,"status_txt":"{text}","data":null}}"#);
    let orders = "/lookup?topic=orders";
    let none = "/lookup?topic=none";

    lookupd.set_format(LookupdFormat::Negotiated);
    assert_eq!(get(&lookupd, orders), (200, wrapped.clone()));
    assert_eq!(get(&lookupd, none), (500, failed("TOPIC_NOT_FOUND")));
    let accept = "Accept: application/vnd.nsq; version=1.0";
    let response = ask(
        &lookupd,
        &format!("GET {orders} HTTP/1.0\r\n{accept}\r\n\r\n"),
    );
    assert!(response.contains("\r\nX-Nsq-Content-Type: nsq; version=1.0\r\n"));
    assert!(response.ends_with(&format!("\r\n\r\n{plain}")));

    lookupd.set_format(LookupdFormat::Wrapped);
    let response = ask(
        &lookupd,
        &format!("GET {orders} HTTP/1.0\r\n{accept}\r\n\r\n"),
    );
    assert!(response.ends_with(&wrapped) && !response.contains("X-Nsq"));
    assert_eq!(get(&lookupd, none), (500, failed("INVALID_ARG_TOPIC")));

    lookupd.set_format(LookupdFormat::WrappedWithAddress);
    let (_, body) = get(&lookupd, orders);
    assert!(body.contains(r#""address":"nsqd-1","hostname""#), "{body}");
}

#[test]
fn connection_serves_several_requests_and_is_recorded() {
    let lookupd = start();
    let mut client = connect(lookupd.http_address());
    for path in ["/lookup?topic=a", "/nodes", "/lookup?topic=b"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nX-Test: yes\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
    }
    wait(lookupd.wait_for_queries("/lookup", 2, TIMEOUT));
    let queries = lookupd.queries();
    let seen: Vec<_> = queries.iter().map(|query| query.target.as_str()).collect();
    assert_eq!(seen, ["/lookup?topic=a", "/nodes", "/lookup?topic=b"]);
    assert!(queries.iter().all(|query| query.connection == 1));
    assert_eq!(queries[0].header("x-test"), Some("yes"));
    assert_eq!(lookupd.query_count("/nodes"), 1);
    assert_eq!(lookupd.http_connection_count(), 1);
    drop(client);
    wait(lookupd.wait_until(TIMEOUT, |lookupd| lookupd.open_http_connections() == 0));
}
