//! Tests of what other tests rely on: the scripted peer, the versions of nsqd.

use std::{
    io::Write,
    net::TcpStream,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    conversation::Conversation,
    nsqd_version::Version,
    script::ScriptedPeer,
    spoken::{Command, heartbeat_frame, ok_frame},
};

fn connect(peer: &ScriptedPeer) -> TcpStream {
    TcpStream::connect(peer.address()).unwrap()
}

/// The panic of a script.
async fn panic_of(peer: ScriptedPeer) -> String {
    let script = tokio::spawn(async move { peer.finish().await });
    let panic = script.await.unwrap_err().into_panic();
    *panic.downcast::<String>().expect("a panic with a text")
}

#[tokio::test]
async fn failed_expectation_reports_the_transcript() {
    let peer = ScriptedPeer::play(|mut client| async move {
        client.expect_magic().await;
        client.send(ok_frame()).await;
        client.expect_pub("t", "hello").await;
    });
    let mut client = connect(&peer);
    client.write_all(b"  V2NOP\n").unwrap();
    let text = panic_of(peer).await;
    for part in [
        "support_tests.rs:",
        r#"expected PUB t "hello""#,
        "NOP arrived",
        r#"client: "  V2""#,
        "peer:   ",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[tokio::test]
async fn client_that_closes_early_fails_the_script() {
    let peer = ScriptedPeer::play(|mut client| async move { client.expect("  V2").await });
    connect(&peer).write_all(b"  V").unwrap();
    let text = panic_of(peer).await;
    assert!(text.contains("closed the connection"), "{text}");
}

#[tokio::test]
async fn peer_that_is_dropped_unfinished_fails_the_test() {
    let peer = ScriptedPeer::play(|mut client| async move { client.expect_magic().await });
    connect(&peer).write_all(b"  V2").unwrap();
    let dropped = catch_unwind(AssertUnwindSafe(move || drop(peer)));
    assert!(dropped.is_err());
}

/// fault: A7
#[tokio::test(start_paused = true)]
async fn conversation_runs_in_memory_and_in_virtual_time() {
    let (mut client, peer) = tokio::io::duplex(1024);
    let hour = Duration::from_secs(3600);
    let mut peer = Conversation::over(peer).with_patience(2 * hour);
    let script = async {
        peer.chunk(1);
        peer.send(heartbeat_frame()).await;
        peer.expect_silence(hour / 2).await;
        peer.expect_nop().await;
        peer.wait_closed().await
    };
    let client = async move {
        // One byte at a time.
        for byte in heartbeat_frame() {
            let mut piece = [0; 64];
            let length = client.read(&mut piece).await.unwrap();
            assert_eq!(piece[..length], [byte]);
        }
        tokio::time::sleep(hour).await;
        client.write_all(b"NOP\nand more").await.unwrap();
    };
    let (last, ()) = tokio::join!(script, client);
    assert_eq!(last, b"and more");
}

#[test]
fn command_is_parsed_at_its_last_byte() {
    for command in [
        &b"IDENTIFY\n\0\0\0\x11{\"client_id\":\"c\"}"[..],
        b"PUB t\n\0\0\0\x05hello",
        b"DPUB t 1500\n\0\0\0\x05later",
        b"MPUB t\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc",
        b"NOP\n",
        b"FIN 0123456789abcdef\n",
        b"RDY 5\n",
    ] {
        for length in 0..command.len() {
            assert_eq!(Command::parse(&command[..length]), Ok(None));
        }
        let twice = [command, command].concat();
        let (_, length) = Command::parse(&twice).unwrap().expect("a complete command");
        assert_eq!(length, command.len());
    }
}

#[test]
fn command_that_nsqd_would_reject_is_not_parsed() {
    for invalid in [
        &b"pub t\n"[..],
        b"PUB t \n\0\0\0\x01a",
        b"DPUB t -1\n\0\0\0\x01a",
        b"MPUB t\n\0\0\0\x0a\0\0\0\x01\0\0\0\x01ab",
        b"\n",
    ] {
        assert!(
            Command::parse(invalid).is_err(),
            "{}",
            invalid.escape_ascii()
        );
    }
}

#[test]
fn version_of_nsqd_is_read_as_nsqd_prints_it() {
    for text in ["1.2.1", "v1.2.1", "1.2.1-alpha"] {
        assert_eq!(Version::parse(text), Some(Version::V1_2_1), "{text}");
    }
    for text in ["", "1.2", "1.2.1.0", "nsqd"] {
        assert_eq!(Version::parse(text), None, "{text}");
    }
    let error = Version::buildable("1.2.9").unwrap_err();
    let expected = r#"NSQD_VERSION is "1.2.9": must be 1.2.0, 1.2.1 or 1.3.0"#;
    assert_eq!(error, expected);
    let newer = Version::parse("1.4.0").unwrap();
    assert_eq!(newer.module(), Version::LATEST);
}

#[test]
fn each_version_of_nsqd_has_its_own_module() {
    for version in Version::BUILDABLE {
        let module = format!("tests/nsqd/{version}/go.mod");
        let module = std::fs::read_to_string(module).unwrap();
        let required = format!("require github.com/nsqio/nsq v{version}\n");
        assert!(module.contains(&required), "{version}: {module}");
    }
}
