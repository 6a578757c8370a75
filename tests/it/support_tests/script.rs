//! The scripted peer keeps its own promises, so that the tests that rely on it can be believed.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::support::conversation::Conversation;
use crate::support::script::ScriptedPeer;
use crate::support::spoken::{Command, error_frame, heartbeat_frame, identify_answer, ok_frame};

const IDENTIFY: &[u8] = b"IDENTIFY\n\x00\x00\x00\x11{\"client_id\":\"c\"}";
const PUB: &[u8] = b"PUB t\n\x00\x00\x00\x05hello";
const DPUB: &[u8] = b"DPUB t 1500\n\x00\x00\x00\x05later";
const MPUB: &[u8] = b"MPUB t\n\x00\x00\x00\x0f\x00\x00\x00\x02\x00\x00\x00\x01a\x00\x00\x00\x02bc";

fn connect(peer: &ScriptedPeer) -> TcpStream {
    let client = TcpStream::connect(peer.address()).unwrap();
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    client
}

fn read_exactly(client: &mut TcpStream, expected: &[u8]) {
    let mut came = vec![0; expected.len()];
    client.read_exact(&mut came).unwrap();
    assert_eq!(came, expected);
}

#[tokio::test]
async fn a_script_reads_like_a_transcript() {
    let peer = ScriptedPeer::play(|mut client| async move {
        let identify = client.greet().await;
        assert_eq!(identify["client_id"], "c");
        client.expect_pub("t", "hello").await;
        client.send(ok_frame()).await;
        client.expect_dpub("t", 1500, "later").await;
        client.expect_mpub("t", &["a", "bc"]).await;
        client.send(heartbeat_frame()).await;
        client.expect_nop().await;
        client.send(error_frame("E_BAD_TOPIC no")).await;
        client.fin().await;
        assert_eq!(client.wait_closed().await, b"");
    });
    let mut client = connect(&peer);
    let said = [b"  V2", IDENTIFY, PUB, DPUB, MPUB].concat();
    client.write_all(&said).unwrap();
    read_exactly(&mut client, &identify_answer());
    read_exactly(&mut client, b"\x00\x00\x00\x06\x00\x00\x00\x00OK");
    read_exactly(&mut client, b"\x00\x00\x00\x0f\x00\x00\x00\x00_heartbeat_");
    client.write_all(b"NOP\n").unwrap();
    read_exactly(
        &mut client,
        b"\x00\x00\x00\x12\x00\x00\x00\x01E_BAD_TOPIC no",
    );
    assert_eq!(
        client.read(&mut [0]).unwrap(),
        0,
        "the peer has ended its side"
    );
    drop(client);
    assert_eq!(peer.finish().await, [&said[..], b"NOP\n"].concat());
}

#[tokio::test]
async fn a_failed_expectation_fails_the_test_with_the_transcript() {
    let peer = ScriptedPeer::play(|mut client| async move {
        client.expect_magic().await;
        client.send(ok_frame()).await;
        client.expect_pub("t", "hello").await;
    });
    let mut client = connect(&peer);
    client.write_all(b"  V2NOP\n").unwrap();
    let failure = tokio::spawn(async move { peer.finish().await })
        .await
        .unwrap_err()
        .into_panic();
    let text = failure
        .downcast_ref::<String>()
        .expect("a panic with a text");
    for part in [
        "script.rs:",
        r#"expected PUB t "hello""#,
        "NOP came",
        r#"client: "  V2""#,
        "peer:   ",
    ] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_too_early_fails_the_script() {
    let peer = ScriptedPeer::play(|mut client| async move { client.expect("  V2").await });
    connect(&peer).write_all(b"  V").unwrap();
    let failure = tokio::spawn(async move { peer.finish().await })
        .await
        .unwrap_err()
        .into_panic();
    let text = failure
        .downcast_ref::<String>()
        .expect("a panic with a text");
    assert!(
        text.contains("closed the connection") && text.contains(r#""  V""#),
        "{text}"
    );
}

#[tokio::test]
async fn a_peer_that_is_dropped_unfinished_fails_the_test() {
    let peer = ScriptedPeer::play(|mut client| async move { client.expect_magic().await });
    connect(&peer).write_all(b"  V2").unwrap();
    let dropped = catch_unwind(AssertUnwindSafe(move || drop(peer)));
    assert!(dropped.is_err());
}

#[tokio::test]
async fn a_reset_loses_what_the_client_has_not_read() {
    let peer = ScriptedPeer::play(|mut client| async move {
        client.expect_magic().await;
        client.rst();
    });
    let mut client = connect(&peer);
    client.write_all(b"  V2").unwrap();
    assert_eq!(
        client.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::ConnectionReset
    );
    peer.finish().await;
}

#[tokio::test]
async fn a_stall_lasts_until_it_is_released_and_reads_nothing_meanwhile() {
    let peer = ScriptedPeer::play(|mut client| async move {
        client.expect_magic().await;
        client.stall().await;
        client.expect_pub("t", "hello").await;
        client.send(ok_frame()).await;
    });
    let mut client = connect(&peer);
    client.write_all(b"  V2").unwrap();
    client.write_all(PUB).unwrap();
    client
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    assert_eq!(
        client.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock,
        "nothing is answered"
    );
    client
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    peer.release();
    read_exactly(&mut client, &ok_frame());
    peer.finish().await;
}

#[tokio::test]
async fn a_second_connection_is_played_after_the_first() {
    let peer = ScriptedPeer::play_door(|mut door| async move {
        let mut first = door.accept().await;
        first.expect_magic().await;
        drop(first);
        let mut second = door.accept().await;
        second.expect_magic().await;
        second.expect_nop().await;
    });
    let mut client = connect(&peer);
    client.write_all(b"  V2").unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let mut client = connect(&peer);
    client.write_all(b"  V2NOP\n").unwrap();
    assert_eq!(peer.finish().await, b"  V2  V2NOP\n");
}

/// fault: A7
#[tokio::test(start_paused = true)]
async fn a_conversation_runs_in_memory_and_in_virtual_time() {
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
    let talk = async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut pieces = Vec::new();
        for _ in 0..heartbeat_frame().len() {
            let mut piece = [0; 64];
            let length = client.read(&mut piece).await.unwrap();
            pieces.push(piece[..length].to_vec());
        }
        assert!(
            pieces.iter().all(|piece| piece.len() == 1),
            "sent byte by byte: {pieces:?}"
        );
        assert_eq!(pieces.concat(), heartbeat_frame());
        tokio::time::sleep(hour).await;
        client.write_all(b"NOP\nand more").await.unwrap();
    };
    let (last, ()) = tokio::join!(script, talk);
    assert_eq!(last, b"and more");
}

#[test]
fn a_command_is_read_at_its_last_byte_and_not_before() {
    let all = [
        IDENTIFY,
        PUB,
        DPUB,
        MPUB,
        b"NOP\n",
        b"FIN 0123456789abcdef\n",
        b"RDY 5\n",
    ];
    for command in all {
        for length in 0..command.len() {
            assert_eq!(
                Command::parse(&command[..length]),
                Ok(None),
                "{length} bytes of {command:?}"
            );
        }
        let twice = [command, command].concat();
        let (_, length) = Command::parse(&twice).unwrap().expect("a whole command");
        assert_eq!(length, command.len());
    }
}

#[test]
fn a_command_that_nsqd_would_refuse_is_no_command() {
    for bad in [
        &b"pub t\n"[..],
        b"PUB t \n\x00\x00\x00\x01a",
        b"DPUB t -1\n\x00\x00\x00\x01a",
        b"MPUB t\n\x00\x00\x00\x06\x00\x00\x00\x01\x00\x00",
        b"MPUB t\n\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x00\x01ab",
        b"\n",
    ] {
        assert!(Command::parse(bad).is_err(), "{}", bad.escape_ascii());
    }
}
