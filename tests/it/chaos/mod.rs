//! The chaos proxy does what it is told, and no more: each fault before a peer that says everything back.

mod echo;
mod grammar;
mod program;

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use self::echo::{Echo, Heard, bytes, client, ends};
use crate::support::{
    chaos::{ChaosProxy, Counts, End, Faults, Recording},
    wait::{PATIENCE, poll},
};

fn faults(list: &str) -> Faults {
    list.parse().unwrap_or_else(|why| panic!("{why}"))
}

fn proxy(echo: &Echo, list: &str) -> ChaosProxy {
    proxy_of(echo, list, 1)
}

fn proxy_of(echo: &Echo, list: &str, seed: u64) -> ChaosProxy {
    ChaosProxy::start(echo.address(), faults(list), seed).unwrap()
}

/// Says it, and reads what comes back until that is as much, or the end.
fn exchange(client: &mut TcpStream, said: &[u8]) -> Vec<u8> {
    let mut writer = client.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || writer.write_all(said));
        let mut came = Vec::new();
        let _ = client.take(said.len() as u64).read_to_end(&mut came);
        came
    })
}

#[test]
fn without_faults_everything_passes_and_the_end_of_each_way() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "none");
    let said = bytes(3_000_000);
    let mut client = client(&proxy);
    assert!(exchange(&mut client, &said) == said);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(ends(&mut client), Heard::end(b""));
    assert!(echo.heard() == Heard::end(&said));
    let over = || (proxy.counts().open == 0).then_some(());
    poll(PATIENCE, over).expect("the connection is over");
    let passed = said.len() as u64;
    let counts = Counts {
        connections: 1,
        open: 0,
        up: passed,
        down: passed,
    };
    assert_eq!(proxy.counts(), counts);
}

#[test]
fn a_reset_is_passed_on_as_one() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "none");
    let mut client = client(&proxy);
    assert_eq!(exchange(&mut client, b"said"), b"said");
    let socket = socket2::Socket::from(client);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
    assert_eq!(echo.heard(), Heard::reset(b"said"));
}

#[test]
fn a_connection_is_cut_after_so_many_bytes_of_the_client() {
    let echo = Echo::start();
    let said = bytes(20_000);
    for cut in [0, 1, 99, 100, 19_999, 20_000] {
        let proxy = proxy(&echo, &format!("cut-up={cut}"));
        let mut client = client(&proxy);
        let _ = client.write_all(&said);
        let came = ends(&mut client);
        assert!(!came.reset, "{cut}");
        assert_eq!(echo.heard(), Heard::end(&said[..cut]), "{cut}");
        assert_eq!(proxy.counts().up, cut as u64);
    }
}

#[test]
fn a_connection_is_cut_after_so_many_bytes_to_the_client() {
    let echo = Echo::start();
    let said = bytes(20_000);
    for cut in [0, 1, 99, 100, 19_999, 20_000] {
        let proxy = proxy(&echo, &format!("cut-down={cut}"));
        let mut client = client(&proxy);
        let _ = client.write_all(&said);
        assert_eq!(ends(&mut client), Heard::end(&said[..cut]), "{cut}");
        assert!(!echo.heard().reset, "{cut}");
        assert_eq!(proxy.counts().down, cut as u64);
    }
}

#[test]
fn a_connection_may_end_in_a_reset_on_both_sides() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "cut-up=10,end=rst");
    let mut client = client(&proxy);
    let _ = client.write_all(b"0123456789more");
    assert!(ends(&mut client).reset);
    let heard = echo.heard();
    assert!(heard.reset);
    assert!(b"0123456789".starts_with(&heard.bytes[..]), "{heard:?}");
}

#[test]
fn only_the_first_connections_are_cut_stalled_and_corrupted() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "cut-down=3,times=2");
    for came in [&b"sai"[..], b"sai", b"said", b"said"] {
        assert_eq!(exchange(&mut client(&proxy), b"said"), came);
    }
    proxy.set(faults("corrupt=0,times=1"));
    assert_ne!(exchange(&mut client(&proxy), b"said"), b"said");
    assert_eq!(exchange(&mut client(&proxy), b"said"), b"said");

    proxy.set(faults("black-hole,times=1"));
    let mut stalled = client(&proxy);
    assert_eq!(exchange(&mut client(&proxy), b"said"), b"said");
    stalled.write_all(b"said").unwrap();
    assert!(is_silent(&mut stalled));
}

/// Whether nothing comes for a while: a bound from one side only, so a slow machine makes no difference.
fn is_silent(client: &mut TcpStream) -> bool {
    let patience = client.read_timeout().unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let read = client.read(&mut [0]);
    client.set_read_timeout(patience).unwrap();
    read.is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
}

#[test]
fn a_connection_stalls_after_so_many_bytes_and_goes_on_when_it_may() {
    let echo = Echo::start();
    let said = bytes(20_000);
    for (list, passes) in [("stall-up=5000", 5_000), ("stall-down=1", 1)] {
        let proxy = proxy(&echo, list);
        let mut client = client(&proxy);
        let mut writer = client.try_clone().unwrap();
        let all = said.clone();
        let writing = thread::spawn(move || writer.write_all(&all));
        let mut came = vec![0; passes];
        client.read_exact(&mut came).unwrap();
        assert!(is_silent(&mut client), "{list}");
        proxy.set(Faults::default());
        let mut rest = vec![0; said.len() - passes];
        client.read_exact(&mut rest).unwrap();
        assert!([came, rest].concat() == said, "{list}");
        writing.join().unwrap().unwrap();
    }
}

#[test]
fn a_black_hole_swallows_living_connections_and_lets_them_go() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "none");
    let mut client = client(&proxy);
    assert_eq!(exchange(&mut client, b"before"), b"before");
    proxy.set(Faults::black_hole());
    client.write_all(b"inside").unwrap();
    assert!(is_silent(&mut client));
    assert_eq!(proxy.counts().open, 1);
    proxy.set(Faults::default());
    let mut came = [0; 6];
    client.read_exact(&mut came).unwrap();
    assert_eq!(&came, b"inside");
}

#[test]
fn one_byte_is_corrupted_the_same_one_with_the_same_seed() {
    let echo = Echo::start();
    let said = bytes(200);
    let corrupted = |list: &str, seed| {
        let proxy = proxy_of(&echo, list, seed);
        let came = exchange(&mut client(&proxy), &said);
        let differ: Vec<_> = (0..200).filter(|at| came[*at] != said[*at]).collect();
        assert_eq!((differ, came.len()), (vec![77], 200));
        came[77]
    };
    for list in ["corrupt-up=77", "corrupt-down=77", "corrupt-up=77,slice=10"] {
        let of_seeds: Vec<_> = (0..8).map(|seed| corrupted(list, seed)).collect();
        let again: Vec<_> = (0..8).map(|seed| corrupted(list, seed)).collect();
        assert_eq!(of_seeds, again, "{list}");
        assert!(of_seeds.iter().any(|byte| *byte != of_seeds[0]), "{list}");
    }
}

#[test]
fn slices_are_as_small_as_they_were_asked_for_and_depend_on_the_seed_alone() {
    let echo = Echo::start();
    let said = bytes(3_000);
    // Where the pieces ended that did not end where a read had.
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
        let proxy = proxy_of(&echo, "slice=3..7", seed);
        proxy.start_recording();
        assert_eq!(exchange(&mut client(&proxy), &said), said);
        let [record] = &proxy.record()[..] else {
            panic!("one connection was recorded");
        };
        assert_eq!((&record.up.said, &record.down.said), (&said, &said));
        (ends_of(&record.up), record.down.clone())
    };
    let (first, down) = slices(1);
    assert!(down.pieces.len() >= 3_000 / 7);
    // What the client said came in one piece, or in several by chance; its slices end at the same places.
    let (again, _) = slices(1);
    let (other, _) = slices(2);
    let shared = |ends: &[usize]| first.iter().filter(|end| ends.contains(end)).count();
    assert!(shared(&again) >= first.len() - 3, "{first:?} and {again:?}");
    assert!(shared(&other) < first.len() / 2, "{first:?} and {other:?}");
}

#[test]
fn latency_and_jitter_delay_and_keep_the_order() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "latency-up=30ms,latency-down=50ms,jitter=10ms");
    let mut client = client(&proxy);
    for _ in 0..3 {
        let began = Instant::now();
        assert_eq!(exchange(&mut client, b"said"), b"said");
        assert!(began.elapsed() >= Duration::from_millis(60));
    }
    // Piece by piece, each with a delay of its own.
    let said = bytes(2_000);
    let mut writer = client.try_clone().unwrap();
    let pieces = said.clone();
    let writing = thread::spawn(move || pieces.chunks(10).try_for_each(|p| writer.write_all(p)));
    let mut came = vec![0; said.len()];
    client.read_exact(&mut came).unwrap();
    assert_eq!(came, said);
    writing.join().unwrap().unwrap();
}

#[test]
fn no_more_passes_than_the_bandwidth_and_no_less() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "bandwidth-down=100kB/s");
    let said = bytes(30_000);
    let began = Instant::now();
    assert_eq!(exchange(&mut client(&proxy), &said), said);
    let took = began.elapsed();
    // 300 ms, of which 50 may be made up for.
    assert!(took >= Duration::from_millis(250), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_connection_ends_when_it_is_old_enough() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "cut-every=100ms");
    for _ in 0..2 {
        let began = Instant::now();
        let mut client = client(&proxy);
        client.write_all(b"said").unwrap();
        let came = ends(&mut client);
        assert!(began.elapsed() >= Duration::from_millis(100));
        assert!(!came.reset && b"said".starts_with(&came.bytes), "{came:?}");
    }
}

#[test]
fn who_is_refused_and_who_finds_nobody_upstream_is_reset_and_the_proxy_lives_on() {
    let mut echo = Echo::start();
    let proxy = proxy(&echo, "refuse");
    assert_eq!(ends(&mut client(&proxy)), Heard::reset(b""));
    proxy.set(Faults::default());
    assert_eq!(exchange(&mut client(&proxy), b"said"), b"said");
    echo.close();
    assert_eq!(ends(&mut client(&proxy)), Heard::reset(b""));
    echo.open();
    assert_eq!(exchange(&mut client(&proxy), b"said"), b"said");
}

#[test]
fn all_living_connections_can_be_cut_at_once() {
    let echo = Echo::start();
    let proxy = proxy(&echo, "none");
    for how in [End::Fin, End::Rst] {
        let mut clients = [(); 3].map(|()| client(&proxy));
        for client in &mut clients {
            assert_eq!(exchange(client, b"said"), b"said");
        }
        proxy.cut(how);
        for client in &mut clients {
            let reset = how == End::Rst;
            assert_eq!(ends(client).reset, reset, "{how}");
            assert_eq!(echo.heard().reset, reset, "{how}");
        }
        assert_eq!(exchange(&mut client(&proxy), b"said"), b"said");
        echo.heard();
    }
    // With nobody there, it is done at once.
    poll(PATIENCE, || (proxy.counts().open == 0).then_some(())).unwrap();
    proxy.cut(End::Rst);
}

#[test]
fn it_can_be_cut_and_dropped_inside_of_a_runtime_and_takes_its_connections_along() {
    let echo = Echo::start();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        let proxy = proxy(&echo, "none");
        let mut first = client(&proxy);
        assert_eq!(exchange(&mut first, b"said"), b"said");
        proxy.cut(End::Fin);
        assert_eq!(ends(&mut first), Heard::end(b""));
        let mut second = client(&proxy);
        assert_eq!(exchange(&mut second, b"said"), b"said");
        let address = proxy.address();
        drop(proxy);
        ends(&mut second);
        assert!(TcpStream::connect(address).is_err());
    });
}
