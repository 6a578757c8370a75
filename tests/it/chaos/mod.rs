//! Tests of the chaos proxy: each fault in front of an echo server.

mod echo;
mod grammar;
mod program;

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use self::echo::{Echo, Received, client, random_bytes, until_eof};
use crate::support::{
    chaos::{ChaosProxy, Counts, Faults, Recording},
    wait::{PATIENCE, poll},
};

fn proxy(echo: &Echo, faults: &str) -> ChaosProxy {
    proxy_with_seed(echo, faults, 1)
}

fn proxy_with_seed(echo: &Echo, faults: &str, seed: u64) -> ChaosProxy {
    let faults = faults.parse().unwrap_or_else(|error| panic!("{error}"));
    ChaosProxy::start(echo.address(), faults, seed).unwrap()
}

/// Sends bytes, and reads until as many have come back, or EOF.
fn exchange(client: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    let mut writer = client.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(bytes));
        let mut received = Vec::new();
        let _ = client.take(bytes.len() as u64).read_to_end(&mut received);
        received
    })
}

/// Whether nothing arrives for 50 ms.
fn is_silent(client: &mut TcpStream) -> bool {
    let timeout = client.read_timeout().unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let read = client.read(&mut [0]);
    client.set_read_timeout(timeout).unwrap();
    read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[test]
fn proxy_without_faults_passes_all_bytes_and_eof() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "none");
    let bytes = random_bytes(3_000_000);
    let mut client = client(&proxy);
    assert!(exchange(&mut client, &bytes) == bytes);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(until_eof(&mut client), Received::eof(b""));
    assert!(echo.received() == Received::eof(&bytes));
    let closed = || (proxy.counts().open == 0).then_some(());
    poll(PATIENCE, closed).expect("the connection is closed");
    let passed = bytes.len() as u64;
    let counts = Counts {
        connections: 1,
        open: 0,
        up: passed,
        down: passed,
    };
    assert_eq!(proxy.counts(), counts);
}

#[test]
fn connection_is_cut_after_a_number_of_bytes() {
    let echo = Echo::start();
    let bytes = random_bytes(20_000);
    for cut in [0, 1, 99, 19_999, 20_000] {
        let up = proxy(&echo, &format!("cut-up={cut}"));
        let mut client_up = client(&up);
        let _ = client_up.write_all(&bytes);
        assert!(!until_eof(&mut client_up).reset, "{cut}");
        assert_eq!(echo.received(), Received::eof(&bytes[..cut]), "{cut}");
        assert_eq!(up.counts().up, cut as u64);

        let down = proxy(&echo, &format!("cut-down={cut}"));
        let mut client_down = client(&down);
        let _ = client_down.write_all(&bytes);
        let received = until_eof(&mut client_down);
        assert_eq!(received, Received::eof(&bytes[..cut]), "{cut}");
        assert!(!echo.received().reset, "{cut}");
        assert_eq!(down.counts().down, cut as u64);
    }
}

#[test]
fn connection_may_be_cut_by_a_reset() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "cut-up=10,end=rst");
    let mut client = client(&proxy);
    let _ = client.write_all(b"0123456789more");
    assert!(until_eof(&mut client).reset);
    let received = echo.received();
    assert!(received.reset);
    assert!(
        b"0123456789".starts_with(&received.bytes[..]),
        "{received:?}"
    );
}

#[test]
fn stalled_connection_continues_when_the_fault_is_removed() {
    let echo = Echo::start();
    let bytes = random_bytes(20_000);
    for (faults, passed) in [("stall-up=5000", 5_000), ("stall-down=1", 1)] {
        let proxy = proxy(&echo, faults);
        let mut client = client(&proxy);
        let mut writer = client.try_clone().unwrap();
        let all = bytes.clone();
        let writing = thread::spawn(move || writer.write_all(&all));
        let mut received = vec![0; passed];
        client.read_exact(&mut received).unwrap();
        assert!(is_silent(&mut client), "{faults}");
        proxy.set(Faults::default());
        let mut rest = vec![0; bytes.len() - passed];
        client.read_exact(&mut rest).unwrap();
        assert!([received, rest].concat() == bytes, "{faults}");
        writing.join().unwrap().unwrap();
    }
}

#[test]
fn black_hole_holds_open_connections() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "none");
    let mut client = client(&proxy);
    assert_eq!(exchange(&mut client, b"before"), b"before");
    proxy.set(Faults::black_hole());
    client.write_all(b"inside").unwrap();
    assert!(is_silent(&mut client));
    assert_eq!(proxy.counts().open, 1);
    proxy.set(Faults::default());
    let mut received = [0; 6];
    client.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"inside");
}

#[test]
fn seed_decides_how_a_byte_is_corrupted() {
    let echo = Echo::start();
    let bytes = random_bytes(200);
    let corrupted = |faults: &str, seed| {
        let proxy = proxy_with_seed(&echo, faults, seed);
        let received = exchange(&mut client(&proxy), &bytes);
        let changed: Vec<_> = (0..200).filter(|at| received[*at] != bytes[*at]).collect();
        assert_eq!((changed, received.len()), (vec![77], 200));
        received[77]
    };
    for faults in ["corrupt-up=77", "corrupt-down=77", "corrupt-up=77,slice=10"] {
        let first: Vec<_> = (0..8).map(|seed| corrupted(faults, seed)).collect();
        let again: Vec<_> = (0..8).map(|seed| corrupted(faults, seed)).collect();
        assert_eq!(first, again, "{faults}");
        assert!(first.iter().any(|byte| *byte != first[0]), "{faults}");
    }
}

#[test]
fn seed_decides_where_bytes_are_sliced() {
    let echo = Echo::start();
    let bytes = random_bytes(3_000);
    let ends_of = |recording: &Recording| {
        assert!(recording.pieces.iter().all(|piece| (1..=7).contains(piece)));
        let mut at = 0;
        let ends = recording.pieces.iter().map(|piece| {
            at += piece;
            at
        });
        ends.collect::<Vec<_>>()
    };
    let slices = |seed| {
        let proxy = proxy_with_seed(&echo, "slice=3..7", seed);
        proxy.start_recording();
        assert_eq!(exchange(&mut client(&proxy), &bytes), bytes);
        let [record] = &proxy.record()[..] else {
            panic!("one recorded connection");
        };
        ends_of(&record.down);
        ends_of(&record.up)
    };
    let [first, again, other] = [1, 1, 2].map(slices);
    let shared = |ends: &[usize]| first.iter().filter(|end| ends.contains(end)).count();
    // Reads of the proxy end some slices early.
    assert!(shared(&again) >= first.len() - 3, "{first:?} and {again:?}");
    assert!(shared(&other) < first.len() / 2, "{first:?} and {other:?}");
}

#[test]
fn latency_delays_bytes_and_jitter_keeps_their_order() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "latency-up=30ms,latency-down=50ms,jitter=10ms");
    let mut client = client(&proxy);
    let began = Instant::now();
    assert_eq!(exchange(&mut client, b"bytes"), b"bytes");
    assert!(began.elapsed() >= Duration::from_millis(60));
    let bytes = random_bytes(2_000);
    let mut writer = client.try_clone().unwrap();
    let pieces = bytes.clone();
    let writing = thread::spawn(move || pieces.chunks(10).try_for_each(|p| writer.write_all(p)));
    let mut received = vec![0; bytes.len()];
    client.read_exact(&mut received).unwrap();
    assert_eq!(received, bytes);
    writing.join().unwrap().unwrap();
}

#[test]
fn bandwidth_is_limited() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "bandwidth-down=100kB/s");
    let bytes = random_bytes(30_000);
    let began = Instant::now();
    assert_eq!(exchange(&mut client(&proxy), &bytes), bytes);
    let took = began.elapsed();
    // 300 ms, with a burst of 50 ms.
    assert!(took >= Duration::from_millis(250), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}
