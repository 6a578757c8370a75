//! Starting, stopping, restarting and dropping, and the port.

use std::{
    io::ErrorKind,
    net::{TcpListener, TcpStream},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::*;

fn connect_error(nsqd: &EmbeddedNsqd) -> ErrorKind {
    TcpStream::connect(nsqd.address()).unwrap_err().kind()
}

#[test]
fn nsqd_serves_while_the_clock_of_the_caller_is_paused() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&publish("t", b"x"));
    let messages = runtime.block_on(nsqd.wait_for_messages("t", 1, TIMEOUT));
    assert_eq!(messages.unwrap().len(), 1);
}

#[test]
fn restarted_nsqd_keeps_its_port_and_messages() {
    let nsqd = start();
    for round in 1..=20 {
        let mut client = Client::connect(&nsqd);
        client.send(&publish("t", b"x"));
        client.expect(OK);
        nsqd.stop();
        client.expect_end(End::Eof);
        assert_eq!(connect_error(&nsqd), ErrorKind::ConnectionRefused);
        assert!(nsqd.connections().iter().all(|connection| !connection.open));
        assert_eq!(nsqd.message_count("t"), round);
        nsqd.restart().unwrap();
    }
    // Repeated calls have no effect.
    nsqd.restart().unwrap();
    nsqd.stop();
    nsqd.stop();
}

/// A child process holds copies of all sockets for a moment while it is spawned.
#[test]
#[cfg(target_os = "linux")]
fn nsqd_restarts_while_its_process_spawns_others() {
    let nsqd = start();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                Command::new("true").status().unwrap();
            }
        });
        let restarted = (0..500).try_for_each(|_| {
            nsqd.stop();
            nsqd.restart()
        });
        done.store(true, Ordering::Relaxed);
        restarted.unwrap();
    });
}

#[test]
#[cfg(target_os = "linux")]
fn port_is_reserved_while_nsqd_is_stopped() {
    let nsqd = start();
    nsqd.stop();
    // Held, so that they have different ports.
    let others: Vec<_> = (0..1_000)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    for other in &others {
        assert_ne!(other.local_addr().unwrap(), nsqd.address());
    }
    nsqd.restart().unwrap();
    Client::connect(&nsqd);
}

#[test]
fn drop_closes_all_sockets_and_frees_the_port() {
    let nsqd = start();
    let address = nsqd.address();
    let mut client = Client::connect(&nsqd);
    nsqd.faults().freeze(true);
    let mut frozen = Client::without_magic(address);
    wait(nsqd.wait_until(TIMEOUT, |nsqd| nsqd.connections().len() == 2));
    drop(nsqd);
    client.expect_end(End::Eof);
    frozen.expect_end(End::Eof);
    let again = EmbeddedNsqd::builder().address(address).start().unwrap();
    assert_eq!(again.address(), address);
}

#[test]
fn builder_sets_address_port_and_version() {
    let free = start().address().port();
    let nsqd = EmbeddedNsqd::builder()
        .address("localhost:1")
        .port(free)
        .version("9.9")
        .start()
        .unwrap();
    assert_eq!(nsqd.address().port(), free);
    let mut client = Client::connect(&nsqd);
    let response = client.identify(r#"{"feature_negotiation":true}"#);
    assert_eq!(response["version"], "9.9");
    let taken = EmbeddedNsqd::builder().address(nsqd.address()).start();
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);
}
