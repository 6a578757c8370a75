//! What is read.

use super::*;

/// One read into so much room, and whether the task was woken during it.
fn read(stream: &mut Compressed<Told>, room: usize) -> (Poll<io::Result<Vec<u8>>>, bool) {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut out = vec![0; room];
    let mut out = ReadBuf::new(&mut out);
    let read = Pin::new(stream).poll_read(&mut Context::from_waker(&waker), &mut out);
    let read = read.map_ok(|()| out.filled().to_vec());
    (read, woken.0.load(Ordering::Relaxed))
}

#[track_caller]
fn assert_reads(stream: &mut Compressed<Told>, room: usize, expected: &[u8]) {
    match read(stream, room).0 {
        Poll::Ready(Ok(came)) => assert!(came == expected, "{} bytes came", came.len()),
        other => panic!("{other:?}"),
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn what_has_come_is_read_before_the_stream_is_asked_for_more() {
    for method in METHODS {
        let burst = &b"a message"[..];
        let mut stream = Compressed::new(Told::coming(encoded(method, [burst])), method);
        assert_reads(&mut stream, 1, b"a");
        let reads = stream.stream.reads;
        assert_reads(&mut stream, 4, b" mes");
        assert_reads(&mut stream, 100, b"sage");
        assert_eq!(stream.stream.reads, reads);
        let (read, woken) = read(&mut stream, 100);
        assert!(read.is_pending() && !woken, "the stream wakes");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_read_without_room_reads_nothing() {
    for method in METHODS {
        let mut stream =
            Compressed::new(Told::coming(encoded(method, [&b"a message"[..]])), method);
        assert_reads(&mut stream, 0, b"");
        assert_eq!(stream.stream.reads, 0);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn the_end_of_the_stream_is_the_end_after_what_came_before_it() {
    for method in METHODS {
        let mut stream =
            Compressed::new(Told::coming(encoded(method, [&b"a message"[..]])), method);
        stream.stream.ends = true;
        assert_reads(&mut stream, 5, b"a mes");
        assert_reads(&mut stream, 5, b"sage");
        assert_reads(&mut stream, 5, b"");
        assert_reads(&mut stream, 5, b"");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn what_was_cut_short_is_the_end_and_not_half_a_chunk() {
    let wire = encoded(
        Method::Snappy,
        [&b"a first message"[..], b"and a second one"],
    )
    .concat();
    for cut in 10..wire.len() {
        let mut stream = Compressed::new(Told::coming([wire[..cut].to_vec()]), Method::Snappy);
        stream.stream.ends = true;
        let mut came = Vec::new();
        while let Poll::Ready(Ok(some)) = read(&mut stream, 100).0 {
            if some.is_empty() {
                break;
            }
            came.extend(some);
        }
        assert!(
            [&b""[..], b"a first message"].contains(&&came[..]),
            "{came:?}"
        );
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn an_error_of_the_stream_is_passed_on_after_what_came_before_it() {
    for method in METHODS {
        let mut stream =
            Compressed::new(Told::coming(encoded(method, [&b"a message"[..]])), method);
        assert_reads(&mut stream, 5, b"a mes");
        stream.stream.fails = Some(io::ErrorKind::ConnectionReset);
        assert_reads(&mut stream, 5, b"sage");
        let Poll::Ready(Err(error)) = read(&mut stream, 5).0 else {
            panic!("nothing was to come")
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn what_is_broken_is_an_error_and_stays_one() {
    for method in METHODS {
        let garbage = b"\x07\xff\xff\xff garbage".to_vec();
        let mut stream = Compressed::new(Told::coming([garbage.clone(), garbage]), method);
        for _ in 0..3 {
            let Poll::Ready(Err(error)) = read(&mut stream, 100).0 else {
                panic!("garbage was read by {method:?}")
            };
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().starts_with("broken "), "{error}");
        }
    }
}

/// Blocks with nothing in them, and chunks that are to be skipped.
/// checklist: 96, 97, 98, 99
#[test]
fn a_peer_that_says_nothing_without_an_end_leaves_others_their_turn() {
    let nothing = [
        (Method::Deflate(6), &b""[..], &b"\x00\x00\x00\xff\xff"[..]),
        (Method::Snappy, b"\xff\x06\0\0sNaPpY", b"\xfe\0\0\0"),
    ];
    for (method, beginning, nothing) in nothing {
        let comes = std::iter::repeat_n(nothing.repeat(1000), 100);
        let comes = std::iter::once(beginning.to_vec())
            .filter(|some| !some.is_empty())
            .chain(comes);
        let mut stream = Compressed::new(Told::coming(comes), method);
        let mut turns = 0;
        while !stream.stream.comes.is_empty() {
            let before = stream.stream.reads;
            let (read, woken) = read(&mut stream, 100);
            let reads = stream.stream.reads - before;
            assert!(read.is_pending() && reads <= 17, "{reads} reads");
            assert_eq!(woken, !stream.stream.comes.is_empty() || reads == 16);
            assert!(stream.coming.capacity() <= 64 << 10);
            turns += 1;
        }
        assert!(turns >= 6, "{turns} turns");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_thousandfold_bomb_is_read_in_steps() {
    let zeros = vec![0; 8 << 20];
    let bomb = encoded(Method::Deflate(6), [&zeros[..]]).concat();
    let mut stream = Compressed::new(Told::coming([bomb]), Method::Deflate(6));
    let (mut came, mut steps) = (0, 0);
    while let (Poll::Ready(some), _) = read(&mut stream, 1 << 20) {
        let some = some.unwrap();
        assert!(
            (1..=16 << 10).contains(&some.len()),
            "{} at once",
            some.len()
        );
        came += some.len();
        steps += 1;
        assert!(stream.coming.capacity() <= 64 << 10);
    }
    assert_eq!(came, zeros.len());
    assert!(steps >= 512);
}

/// checklist: 96, 97, 98, 99
#[test]
fn what_waits_to_be_decoded_is_at_most_a_chunk_and_a_read() {
    let body = noise(1 << 20);
    for method in METHODS {
        let wire = encoded(method, [&body[..]]).concat();
        let mut stream = Compressed::new(Told::coming([wire]), method);
        let mut came = Vec::new();
        while let (Poll::Ready(some), _) = read(&mut stream, 4096) {
            came.extend(some.unwrap());
            let (length, capacity) = (stream.coming.len(), stream.coming.capacity());
            assert!(length <= 76_494 + (16 << 10), "{length}");
            assert!(capacity <= 64 << 12, "{capacity}");
        }
        assert!(came == body, "{method:?}");
    }
}
