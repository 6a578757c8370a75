//! What is written.

use super::*;

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

fn write(stream: &mut Compressed<Told>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    Pin::new(stream).poll_write(&mut context(), bytes)
}

fn flush(stream: &mut Compressed<Told>) -> Poll<io::Result<()>> {
    Pin::new(stream).poll_flush(&mut context())
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_burst_leaves_with_its_flush_in_one_write() {
    for method in METHODS {
        let mut stream = Compressed::new(Told::with_room(usize::MAX), method);
        for text in ["a first message", "and a second one"] {
            assert!(
                matches!(write(&mut stream, text.as_bytes()), Poll::Ready(Ok(length)) if length == text.len())
            );
        }
        assert_eq!(stream.stream.went, b"");
        assert!(matches!(flush(&mut stream), Poll::Ready(Ok(()))));
        let below = &stream.stream;
        assert_eq!((below.writes, below.flushes), (1, 1));
        assert_eq!(
            decoded(method, &below.went),
            b"a first messageand a second one"
        );
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_flush_with_nothing_new_writes_nothing_and_is_passed_on() {
    for method in METHODS {
        let mut stream = Compressed::new(Told::with_room(usize::MAX), method);
        assert!(flush(&mut stream).is_ready());
        assert_eq!(stream.stream.went, b"");
        let _ = write(&mut stream, b"a message");
        assert!(flush(&mut stream).is_ready());
        let length = stream.stream.went.len();
        assert!(matches!(write(&mut stream, b""), Poll::Ready(Ok(0))));
        assert!(flush(&mut stream).is_ready());
        assert_eq!(stream.stream.went.len(), length);
        assert_eq!(stream.stream.flushes, 3);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_flush_goes_on_where_the_stream_has_halted_it() {
    let body = noise(3000);
    for method in METHODS {
        let mut whole = Compressed::new(Told::with_room(usize::MAX), method);
        let _ = write(&mut whole, &body);
        assert!(flush(&mut whole).is_ready());

        let mut stream = Compressed::new(Told::default(), method);
        let _ = write(&mut stream, &body);
        while flush(&mut stream).is_pending() {
            assert_eq!(stream.stream.flushes, 0);
            stream.stream.room = 100;
        }
        assert_eq!(stream.stream.went, whole.stream.went);
        assert_eq!(stream.stream.flushes, 1);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn what_is_written_while_a_flush_halts_follows_it() {
    for method in METHODS {
        let mut stream = Compressed::new(Told::with_room(5), method);
        let _ = write(&mut stream, b"a first message");
        assert!(flush(&mut stream).is_pending());
        let _ = write(&mut stream, b"and a second one");
        stream.stream.room = usize::MAX;
        assert!(flush(&mut stream).is_ready());
        assert_eq!(
            decoded(method, &stream.stream.went),
            b"a first messageand a second one"
        );
    }
}

/// Twice: also what it has once taken is not held for good.
/// checklist: 96, 97, 98, 99
#[test]
fn a_stream_that_takes_nothing_makes_writes_wait_before_much_is_held() {
    let body = noise(4 << 20);
    for method in METHODS {
        let mut stream = Compressed::new(Told::default(), method);
        for _ in 0..2 {
            let (mut taken, mut writes) = (0, 0);
            while let Poll::Ready(written) = write(&mut stream, &body[taken..]) {
                let written = written.unwrap();
                assert!((1..=64 << 10).contains(&written), "{written} at once");
                taken += written;
                writes += 1;
                assert!(stream.going.len() < 64 << 11, "{}", stream.going.len());
            }
            assert!((64 << 10..=64 << 12).contains(&taken), "{taken} taken");
            assert!(writes <= 4);
            assert!(
                stream.going.capacity() <= 64 << 12,
                "{}",
                stream.going.capacity()
            );
            stream.stream.room = usize::MAX;
            assert!(flush(&mut stream).is_ready());
            assert!(stream.going.is_empty());
            stream.stream.room = 0;
        }
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn writes_go_on_once_the_stream_has_taken_some() {
    let body = noise(1 << 20);
    for method in METHODS {
        let mut stream = Compressed::new(Told::default(), method);
        stream.stream.at_a_time = Some(1000);
        let mut taken = 0;
        while taken < body.len() {
            match write(&mut stream, &body[taken..]) {
                Poll::Ready(written) => taken += written.unwrap(),
                Poll::Pending => {
                    let is_a_turn = stream.turn == 0;
                    assert!(is_a_turn || stream.stream.room == 0, "waits for nothing");
                    stream.stream.room = 10_000;
                }
            }
        }
        stream.stream.room = usize::MAX;
        assert!(flush(&mut stream).is_ready());
        assert!(decoded(method, &stream.stream.went) == body, "{method:?}");
    }
}

/// What becomes small is never held up by the stream below.
/// checklist: 96, 97, 98, 99
#[test]
fn others_have_their_turn_while_much_is_compressed() {
    let zeros = vec![0; 4 << 20];
    for method in METHODS {
        let mut stream = Compressed::new(Told::with_room(usize::MAX), method);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let (mut taken, mut since, mut turns) = (0, 0, 0);
        while taken < zeros.len() {
            let context = &mut Context::from_waker(&waker);
            match Pin::new(&mut stream).poll_write(context, &zeros[taken..]) {
                Poll::Ready(written) => {
                    let written = written.unwrap();
                    (taken, since) = (taken + written, since + written);
                    assert!(since <= 256 << 10, "{since} bytes in a row");
                }
                Poll::Pending => {
                    assert!(woken.0.swap(false, Ordering::Relaxed), "waits for nothing");
                    (since, turns) = (0, turns + 1);
                }
            }
        }
        assert!(flush(&mut stream).is_ready());
        assert_eq!(turns, 15);
        assert!(decoded(method, &stream.stream.went) == zeros, "{method:?}");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn many_pieces_are_taken_at_once_and_in_order() {
    let pieces: Vec<_> = (0..64_u8)
        .map(|i| vec![i; 100 * usize::from(i % 8)])
        .collect();
    for method in METHODS {
        let mut stream = Compressed::new(Told::with_room(usize::MAX), method);
        assert!(stream.is_write_vectored());
        let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let written = Pin::new(&mut stream).poll_write_vectored(&mut context(), &slices);
        let whole = pieces.concat();
        assert!(matches!(written, Poll::Ready(Ok(length)) if length == whole.len()));
        assert!(flush(&mut stream).is_ready());
        assert_eq!(decoded(method, &stream.stream.went), whole);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn of_pieces_that_are_too_much_at_once_the_first_bytes_are_taken() {
    let pieces = [noise(40_000), noise(40_000), noise(40_000)];
    for method in METHODS {
        let mut stream = Compressed::new(Told::with_room(usize::MAX), method);
        let slices: Vec<_> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
        let written = Pin::new(&mut stream).poll_write_vectored(&mut context(), &slices);
        assert!(matches!(written, Poll::Ready(Ok(65_536))), "{written:?}");
        assert!(flush(&mut stream).is_ready());
        assert!(decoded(method, &stream.stream.went) == pieces.concat()[..65_536]);
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_shutdown_writes_what_is_held_and_shuts_the_stream() {
    for method in METHODS {
        let mut stream = Compressed::new(Told::with_room(3), method);
        let _ = write(&mut stream, b"a last message");
        assert!(
            Pin::new(&mut stream)
                .poll_shutdown(&mut context())
                .is_pending()
        );
        assert!(!stream.stream.is_shut);
        stream.stream.room = usize::MAX;
        assert!(
            Pin::new(&mut stream)
                .poll_shutdown(&mut context())
                .is_ready()
        );
        assert!(stream.stream.is_shut);
        assert_eq!(decoded(method, &stream.stream.went), b"a last message");
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn an_error_of_the_stream_is_passed_on() {
    for method in METHODS {
        let mut stream = Compressed::new(Told::default(), method);
        stream.stream.fails = Some(io::ErrorKind::BrokenPipe);
        let is_passed_on = |error: io::Error| assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        let body = noise(64 << 10);
        let write = || loop {
            if let Poll::Ready(Err(error)) = write(&mut stream, &body) {
                return (error, stream);
            }
        };
        let (error, mut stream) = write();
        is_passed_on(error);
        for _ in 0..2 {
            let Poll::Ready(Err(error)) = flush(&mut stream) else {
                panic!("a flush of nothing")
            };
            is_passed_on(error);
            let shut = Pin::new(&mut stream).poll_shutdown(&mut context());
            let Poll::Ready(Err(error)) = shut else {
                panic!("a shutdown of nothing")
            };
            is_passed_on(error);
        }
    }
}

/// checklist: 96, 97, 98, 99
#[test]
fn a_stream_that_takes_0_bytes_is_an_error_and_no_loop() {
    for method in METHODS {
        let mut stream = Compressed::new(Told::with_room(usize::MAX), method);
        stream.stream.at_a_time = Some(0);
        let _ = write(&mut stream, b"a message");
        let Poll::Ready(Err(error)) = flush(&mut stream) else {
            panic!("nothing was taken")
        };
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }
}
