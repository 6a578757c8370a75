//! nsqds that register over TCP, and what ends their registrations.

use super::*;

fn ports(lookupd: &EmbeddedLookupd, topic: &str) -> Option<Vec<i64>> {
    let nodes = lookupd.producers(topic)?;
    Some(nodes.iter().map(|node| node.tcp_port).collect())
}

#[test]
fn nsqd_is_listed_until_its_connection_ends() {
    let lookupd = start();
    let mut nsqd = nsqd(&lookupd, 1);
    command(&mut nsqd, "REGISTER orders billing");
    command(&mut nsqd, "PING");
    assert_eq!(ports(&lookupd, "orders"), Some(vec![1]));
    assert_eq!(lookupd.channels("orders"), ["billing"]);
    let node = lookupd.nodes().remove(0);
    assert_eq!(node.remote_address, nsqd.local_addr().unwrap().to_string());
    assert_eq!(lookupd.command_count("PING"), 1);
    drop(nsqd);
    wait(lookupd.wait_for_nodes(0, TIMEOUT));
    assert_eq!(ports(&lookupd, "orders"), Some(vec![]));
}

#[test]
fn node_with_another_remote_address_is_listed_twice() {
    let lookupd = start();
    let node = LookupdNode::new("127.0.0.1", 1);
    lookupd.register("orders", &node);
    lookupd.register("orders", node.clone().version("1.2.0"));
    assert_eq!(ports(&lookupd, "orders"), Some(vec![1]));
    assert_eq!(lookupd.nodes()[0].version, "1.2.0");
    lookupd.register("orders", node.clone().remote_address("127.0.0.1:50001"));
    assert_eq!(ports(&lookupd, "orders"), Some(vec![1, 1]));
    lookupd.unregister("orders", &node);
    assert_eq!(ports(&lookupd, "orders"), Some(vec![]));
    lookupd.forget(&node);
    assert!(lookupd.nodes().is_empty());
}

#[test]
fn forgotten_node_is_disconnected() {
    let lookupd = start();
    let mut connected = nsqd(&lookupd, 1);
    command(&mut connected, "REGISTER orders");
    let other = nsqd(&lookupd, 2);
    lookupd.register("orders", LookupdNode::new("127.0.0.1", 1));
    assert_eq!(ports(&lookupd, "orders"), Some(vec![1, 1]));
    lookupd.forget(LookupdNode::new("127.0.0.1", 1));
    assert_eq!(ports(&lookupd, "orders"), Some(vec![]));
    assert_eq!(connected.read(&mut [0]).unwrap(), 0);
    assert_eq!(lookupd.open_tcp_connections(), 1);
    drop(other);
}

#[test]
fn restart_forgets_everything_and_keeps_the_addresses() {
    let lookupd = start();
    let addresses = [lookupd.http_address(), lookupd.tcp_address()];
    let mut connected = nsqd(&lookupd, 1);
    command(&mut connected, "REGISTER orders");
    lookupd.register("orders", LookupdNode::new("127.0.0.1", 2));
    lookupd.restart().unwrap();
    assert_eq!(connected.read(&mut [0]).unwrap(), 0);
    assert_eq!(get(&lookupd, "/lookup?topic=orders").0, 404);
    assert_eq!([lookupd.http_address(), lookupd.tcp_address()], addresses);
    lookupd.stop();
    TcpStream::connect(addresses[0]).unwrap_err();
    TcpStream::connect(addresses[1]).unwrap_err();
}

#[test]
fn tombstone_ends_after_its_lifetime() {
    let builder = EmbeddedLookupd::builder();
    let lookupd = builder.tombstone_lifetime(Duration::ZERO).start().unwrap();
    lookupd.register("orders", LookupdNode::new("::1", 1).http_port(9));
    assert!(!lookupd.tombstone("orders", "[::1]:9"));
    assert!(lookupd.tombstone("orders", "::1:9"));
    assert_eq!(ports(&lookupd, "orders"), Some(vec![1]));
    let lookupd = start();
    lookupd.register("orders", LookupdNode::new("::1", 1).http_port(9));
    assert!(lookupd.tombstone("orders", "::1:9"));
    assert_eq!(ports(&lookupd, "orders"), Some(vec![]));
    assert!(get(&lookupd, "/nodes").1.contains("\"tombstones\":[true]"));
}

#[test]
fn silent_nsqd_is_not_listed_after_the_inactive_timeout() {
    let builder = EmbeddedLookupd::builder();
    let builder = builder.inactive_producer_timeout(Duration::ZERO);
    let lookupd = builder.start().unwrap();
    let mut connected = nsqd(&lookupd, 1);
    command(&mut connected, "REGISTER orders");
    lookupd.register("orders", LookupdNode::new("127.0.0.1", 2));
    assert_eq!(ports(&lookupd, "orders"), Some(vec![2]));
    assert_eq!(lookupd.nodes().len(), 1);
}
