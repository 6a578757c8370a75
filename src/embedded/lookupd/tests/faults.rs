//! Faults on demand.

use std::{io::ErrorKind, time::Instant};

use super::*;

const PING: &str = "GET /ping HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

fn with_a_topic() -> EmbeddedLookupd {
    let lookupd = start();
    lookupd.create_topic("t");
    lookupd
}

#[test]
fn answer_of_choice_replaces_that_of_one_path() {
    let lookupd = with_a_topic();
    lookupd.faults().of("/lookup").respond(503, "{}");
    assert_eq!(get(&lookupd, "/lookup?topic=t"), (503, "{}".to_owned()));
    assert_eq!(get(&lookupd, "/ping").0, 200);
    lookupd
        .faults()
        .of("/lookup")
        .redirect("http://other/lookup");
    let response = ask(&lookupd, "GET /lookup?topic=t HTTP/1.0\r\n\r\n");
    assert!(response.starts_with("HTTP/1.0 302 Found\r\nLocation: http://other/lookup\r\n"));
    lookupd.faults().of("/lookup").respond_raw(b"garbage");
    assert_eq!(ask(&lookupd, "GET /lookup HTTP/1.0\r\n\r\n"), "garbage");
    lookupd.faults().of("/lookup").close();
    assert_eq!(ask(&lookupd, "GET /lookup HTTP/1.0\r\n\r\n"), "");
    lookupd.faults().of("/lookup").clear();
    assert_eq!(get(&lookupd, "/lookup?topic=t").0, 200);
}

#[test]
fn body_is_padded_chunked_and_cut() {
    let lookupd = with_a_topic();
    lookupd.faults().pad(10_000_000);
    let (status, body) = get(&lookupd, "/topics");
    assert_eq!((status, body.len()), (200, 10_000_000 + 16));
    assert_eq!(body.trim_end(), r#"{"topics":["t"]}"#);
    lookupd.faults().clear();

    lookupd.faults().in_chunks_of(1);
    let response = ask(&lookupd, PING);
    assert!(response.ends_with("\r\n\r\n1\r\nO\r\n1\r\nK\r\n0\r\n\r\n"));
    lookupd.faults().clear();

    lookupd.faults().cut_body(1);
    assert!(ask(&lookupd, PING).ends_with("Content-Length: 2\r\n\r\nO"));
    lookupd.faults().clear();

    lookupd.faults().times(1).cut_response(8);
    assert_eq!(ask(&lookupd, PING), "HTTP/1.1");
    assert!(ask(&lookupd, PING).ends_with("OK"));
}

#[test]
fn delayed_answer_arrives_after_the_delay() {
    let lookupd = start();
    lookupd.faults().delay(Duration::from_millis(100));
    let start = Instant::now();
    assert_eq!(get(&lookupd, "/ping").0, 200);
    assert!(start.elapsed() >= Duration::from_millis(100));
}

#[test]
fn missing_answer_leaves_the_connection_open() {
    let lookupd = start();
    lookupd.faults().never_answer();
    let mut client = connect(lookupd.http_address());
    client.write_all(PING.as_bytes()).unwrap();
    wait(lookupd.wait_for_queries("/ping", 1, TIMEOUT));
    let short = Duration::from_millis(50);
    client.set_read_timeout(Some(short)).unwrap();
    let error = client.read(&mut [0]).unwrap_err();
    assert!(matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    drop(client);
    wait(lookupd.wait_until(TIMEOUT, |lookupd| lookupd.open_http_connections() == 0));
}

#[test]
fn frozen_lookupd_accepts_and_answers_when_it_thaws() {
    let lookupd = start();
    let mut nsqd = nsqd(&lookupd, 1);
    lookupd.faults().freeze(true);
    nsqd.write_all(b"PING\n").unwrap();
    let mut client = connect(lookupd.http_address());
    client.write_all(PING.as_bytes()).unwrap();
    wait(lookupd.wait_for_queries("/ping", 1, TIMEOUT));
    nsqd.set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    nsqd.read(&mut [0]).unwrap_err();
    lookupd.faults().freeze(false);
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert!(response.ends_with("OK"));
    nsqd.set_read_timeout(Some(TIMEOUT)).unwrap();
    nsqd.read_exact(&mut [0; 6]).unwrap();
}

#[test]
fn refused_and_closed_connections_end_registrations_of_nsqds() {
    let lookupd = start();
    lookupd.register("t", LookupdNode::new("127.0.0.1", 2));
    let first = nsqd(&lookupd, 1);
    assert_eq!(lookupd.nodes().len(), 2);
    lookupd.faults().close_connections();
    assert_eq!(lookupd.nodes().len(), 1);
    let second = nsqd(&lookupd, 1);
    lookupd.faults().refuse_connections(true);
    assert_eq!(lookupd.nodes().len(), 1);
    TcpStream::connect(lookupd.http_address()).unwrap_err();
    lookupd.faults().clear();
    assert_eq!(get(&lookupd, "/ping").0, 200);
    drop((first, second));
}
