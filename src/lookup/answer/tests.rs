//! Tests of answers: shapes, statuses, invalid nodes.

use super::*;

fn topic() -> Query {
    Query::Topic(Topic::from_static("t"))
}

/// The headers of nsqlookupd 1.x.
fn head(status: u16) -> Head {
    Head {
        status,
        has_nsq_type: true,
        location: None,
    }
}

/// The headers of nsqlookupd before 1.0, which was not asked for the new shape.
fn old(status: u16) -> Head {
    Head {
        has_nsq_type: false,
        ..head(status)
    }
}

/// The answer of an nsqlookupd 1.x with these producers.
fn answer(producers: &str) -> Answer {
    let body = format!(r#"{{"channels":["c"],"producers":[{producers}]}}"#);
    nodes(&topic(), &head(200), body.as_bytes()).unwrap()
}

fn producer(host: &str, port: &str) -> String {
    format!(
        r#"{{"remote_address":"10.0.0.9:51000","hostname":"h","broadcast_address":{host},
            "tcp_port":{port},"http_port":4151,"version":"1.3.0","topology_zone":"z"}}"#
    )
}

fn addresses(answer: &Answer) -> Vec<&str> {
    answer.nodes.iter().map(|node| &*node.address).collect()
}

fn error(head: &Head, body: &str) -> String {
    let error = nodes(&topic(), head, body.as_bytes()).unwrap_err();
    error.to_string()
}

/// checklist: 81
#[test]
fn node_has_the_announced_values() {
    let answer = answer(&producer("\"nsqd-1.example.org\"", "4150"));
    let node = &answer.nodes[0];
    assert_eq!(&*node.address, "nsqd-1.example.org:4150");
    assert_eq!(node.broadcast_address, "nsqd-1.example.org");
    assert_eq!((node.tcp_port, node.http_port), (4150, 4151));
    assert_eq!((&*node.hostname, &*node.version), ("h", "1.3.0"));
    assert_eq!(node.remote_address, "10.0.0.9:51000");
    assert_eq!((answer.skipped.len(), answer.omitted), (0, 0));
}

/// checklist: 81
#[test]
fn addresses_are_compared_by_value() {
    let hosts = ["NSQD", "nsqd", "::1", "[::1]", "0:0::1", "127.0.0.1"];
    let producers = hosts.map(|host| producer(&format!("\"{host}\""), "4150"));
    let answer = answer(&producers.join(","));
    assert_eq!(
        addresses(&answer),
        ["nsqd:4150", "[::1]:4150", "127.0.0.1:4150"]
    );
}

/// fault: C9
#[test]
fn invalid_node_is_skipped_by_name_and_others_are_used() {
    for (host, port, name, problem) in [
        ("\"a\"", "70000", "a:70000", "invalid tcp_port"),
        ("\"a\"", "-1", "a:-1", "invalid tcp_port"),
        ("\"a\"", "0", "a:0", "invalid tcp_port"),
        ("\"a\"", "4150.5", "a:?", "invalid tcp_port"),
        ("\"a\"", "\"4150\"", "a:4150", "invalid tcp_port"),
        ("\"a\"", "null", "a:?", "invalid tcp_port"),
        ("\"\"", "1", ":1", "no broadcast_address"),
        ("7", "1", "7:1", "no broadcast_address"),
        ("{}", "1", "?:1", "no broadcast_address"),
        ("\"a b\\n<x>\"", "1", "a b\\n<x>:1", "invalid host name"),
        ("\"nsqd:9999\"", "1", "nsqd:9999:1", "invalid host name"),
        ("\"[[::1]]\"", "1", "[[::1]]:1", "invalid host name"),
        ("\"unix:/run/a\"", "1", "unix:/run/a:1", "invalid host name"),
    ] {
        let answer = answer(&format!(
            "{},{}",
            producer(host, port),
            producer("\"ok\"", "1")
        ));
        assert_eq!(addresses(&answer), ["ok:1"], "{name}");
        let skipped = &answer.skipped[0];
        assert_eq!((&*skipped.node, skipped.problem), (name, problem));
    }
    let long = format!("\"{}\"", "x".repeat(100_000));
    let answer = answer(&producer(&long, "1"));
    assert_eq!(answer.skipped[0].problem, "the address is too long");
    assert!(answer.skipped[0].node.len() <= 80);
}

/// fault: C9
#[test]
fn entry_that_is_no_node_is_skipped() {
    let answer = answer(&format!("null,7,[],\"x\",{{}},{}", producer("\"ok\"", "1")));
    assert_eq!(addresses(&answer), ["ok:1"]);
    assert_eq!(answer.skipped.len(), 5);
}

/// fault: C9
#[test]
fn nodes_beyond_the_limit_are_counted() {
    let many = (0..MAX_NODES + 7).map(|n| producer(&format!("\"n{n}\""), "1"));
    let many = answer(&many.collect::<Vec<_>>().join(","));
    assert_eq!((many.nodes.len(), many.omitted), (MAX_NODES, 7));
    let invalid = vec!["7"; MAX_NAMED + 3].join(",");
    let invalid = answer(&invalid);
    assert_eq!((invalid.skipped.len(), invalid.omitted), (MAX_NAMED, 3));
}

/// checklist: 83
#[test]
fn unknown_topic_is_an_answer_without_nodes() {
    for (head, body) in [
        (head(404), r#"{"message":"TOPIC_NOT_FOUND"}"#),
        (
            old(500),
            r#"{"status_code":500,"status_txt":"TOPIC_NOT_FOUND","data":null}"#,
        ),
        (
            old(500),
            r#"{"status_code":500,"status_txt":"INVALID_ARG_TOPIC","data":null}"#,
        ),
        (
            old(200),
            r#"{"status_code":500,"status_txt":"TOPIC_NOT_FOUND","data":null}"#,
        ),
    ] {
        let answer = nodes(&topic(), &head, body.as_bytes()).unwrap();
        assert!(answer.is_unknown_topic, "{body}");
        assert_eq!(answer.nodes, []);
        let all = nodes(&Query::Nodes, &head, body.as_bytes()).unwrap_err();
        assert!(matches!(all, LookupError::NotFound));
    }
    let known = answer("");
    assert!(!known.is_unknown_topic);
    assert_eq!(known.nodes, []);
    let null = nodes(&topic(), &head(200), br#"{"producers":null}"#).unwrap();
    assert_eq!(null, known);
}

/// checklist: 84
#[test]
fn old_wrapped_answer_is_understood() {
    let producer =
        r#"{"address":"old","broadcast_address":"new","tcp_port":4150,"http_port":4151}"#;
    let body = format!(
        r#"{{"status_code":200,"status_txt":"OK","data":{{"channels":[],"producers":[{producer}]}}}}"#
    );
    let wrapped = nodes(&topic(), &old(200), body.as_bytes()).unwrap();
    assert_eq!(addresses(&wrapped), ["new:4150"]);
    // The oldest have only `address`.
    let body = body.replace(r#""broadcast_address":"new","#, "");
    let oldest = nodes(&topic(), &old(200), body.as_bytes()).unwrap();
    assert_eq!(addresses(&oldest), ["old:4150"]);
    // With the header of new versions nothing is unwrapped.
    assert!(nodes(&topic(), &head(200), body.as_bytes()).is_err());
    // Behind a proxy that removes the header, the new shape is still one.
    let new = nodes(&topic(), &old(200), br#"{"producers":[]}"#).unwrap();
    assert_eq!(new.nodes, []);
}

#[test]
fn topics_and_tombstones_of_all_nodes_are_read() {
    let body = br#"{"producers":[{"broadcast_address":"a","tcp_port":1,
        "tombstones":[false,true],"topics":["u","t"]},
        {"broadcast_address":"b","tcp_port":1,"tombstones":[],"topics":["not valid","t"]},
        {"broadcast_address":"c","tcp_port":1,"tombstones":null,"topics":null}]}"#;
    let answer = nodes(&Query::Nodes, &head(200), body).unwrap();
    let topics = |index: usize| -> Vec<_> {
        let topics = answer.nodes[index].topics.iter();
        topics
            .map(|it| (it.topic.as_str(), it.is_tombstoned))
            .collect()
    };
    assert_eq!(topics(0), [("t", true), ("u", false)]);
    assert_eq!(topics(1), [("t", false)]);
    assert_eq!(topics(2), []);
    let all = super::topics(
        &head(200),
        br#"{"topics":["t","not valid","u#ephemeral",7]}"#,
    );
    let all: Vec<_> = all.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(all, ["t", "u#ephemeral"]);
}

/// fault: C9
#[test]
fn error_names_the_wrong_server_or_status() {
    let not_found = error(&head(404), r#"{"message":"NOT_FOUND"}"#);
    assert!(not_found.contains("nsqd's HTTP port"), "{not_found}");
    let text = error(&old(404), "404 page not found");
    assert_eq!(text, not_found);
    let missing = error(&head(400), r#"{"message":"MISSING_ARG_TOPIC"}"#);
    assert_eq!(missing, "HTTP status 400 (MISSING_ARG_TOPIC)");
    // The text of another server may repeat a token.
    for body in ["no token=hunter2", r#"{"message":"no token=hunter2"}"#] {
        assert_eq!(error(&head(401), body), "HTTP status 401");
    }
    let redirect = Head {
        location: Some("https://lookupd/nsq/lookup/?token=hunter2&topic=t".into()),
        ..head(301)
    };
    let text = "redirected (301) to https://lookupd/nsq/lookup/?***: use that address";
    assert_eq!(error(&redirect, ""), text);
}

/// fault: C9
#[test]
fn body_that_is_no_answer_is_an_error() {
    for (body, problem) in [
        ("", "invalid JSON at line 1, column 0"),
        ("<html>", "invalid JSON at line 1, column 1"),
        ("{}", "it has no `producers`"),
        ("[]", "it has no `producers`"),
        (r#"{"message":"hunter2"}"#, "it has no `producers`"),
        (r#"{"producers":"hunter2"}"#, "invalid JSON at line 1"),
        (r#"{"producers":[]}x"#, "invalid JSON at line 1"),
    ] {
        let text = error(&head(200), body);
        assert!(text.contains(problem), "{body}: {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

/// fault: C9
#[test]
fn body_cut_at_any_byte_is_an_error() {
    let producer = producer("\"nsqd\"", "4150");
    let new = format!(r#"{{"channels":["c"],"producers":[{producer}]}}"#);
    let wrapped = format!(r#"{{"status_code":200,"status_txt":"OK","data":{new}}}"#);
    for (head, body) in [(head(200), new), (old(200), wrapped)] {
        assert!(nodes(&topic(), &head, body.as_bytes()).is_ok());
        for cut in 0..body.len() {
            let cut = &body.as_bytes()[..cut];
            assert!(nodes(&topic(), &head, cut).is_err(), "{cut:?}");
        }
    }
}
