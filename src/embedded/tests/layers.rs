//! Connections inside layers: compression, alone and inside TLS.

use std::{cell::RefCell, io, rc::Rc};

use flate2::{Compression, Decompress, FlushDecompress, write::DeflateEncoder};
use snap::{read::FrameDecoder, write::FrameEncoder};

use super::{certificates::*, *};

/// A stream that is read from and written to by two.
struct Shared<S>(Rc<RefCell<S>>);

impl<S: Read> Read for Shared<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

impl<S: Write> Write for Shared<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

/// flate2's own reader asks for more input while there still is output.
struct Inflated<S> {
    stream: S,
    inflate: Decompress,
    input: Vec<u8>,
}

impl<S: Read> Read for Inflated<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let (taken, given) = (self.inflate.total_in(), self.inflate.total_out());
            self.inflate
                .decompress(&self.input, buffer, FlushDecompress::None)?;
            self.input
                .drain(..(self.inflate.total_in() - taken) as usize);
            let read = (self.inflate.total_out() - given) as usize;
            if read > 0 {
                return Ok(read);
            }
            let mut more = [0; 4096];
            let n = self.stream.read(&mut more)?;
            if n == 0 {
                return Ok(0);
            }
            self.input.extend_from_slice(&more[..n]);
        }
    }
}

/// A compressed stream, by the libraries' own blocking readers and writers. What is written is flushed.
pub(super) struct Squeezed {
    read: Box<dyn Read>,
    write: Box<dyn Write>,
}

impl Read for Squeezed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read.read(buffer)
    }
}

impl Write for Squeezed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write.write_all(bytes)?;
        self.write.flush()?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write.flush()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum How {
    Plain,
    Snappy,
    Deflate,
}

pub(super) const ALL: [(bool, How); 6] = [
    (false, How::Plain),
    (false, How::Snappy),
    (false, How::Deflate),
    (true, How::Plain),
    (true, How::Snappy),
    (true, How::Deflate),
];

impl How {
    pub(super) fn squeeze<S: Read + Write + 'static>(self, stream: S) -> Squeezed {
        let stream = Rc::new(RefCell::new(stream));
        let [read, write] = [Shared(Rc::clone(&stream)), Shared(stream)];
        match self {
            Self::Plain => Squeezed {
                read: Box::new(read),
                write: Box::new(write),
            },
            Self::Snappy => Squeezed {
                read: Box::new(FrameDecoder::new(read)),
                write: Box::new(FrameEncoder::new(write)),
            },
            Self::Deflate => Squeezed {
                read: Box::new(Inflated {
                    stream: read,
                    inflate: Decompress::new(false),
                    input: Vec::new(),
                }),
                write: Box::new(DeflateEncoder::new(write, Compression::new(6))),
            },
        }
    }
}

/// The IDENTIFY that asks for these layers, with more fields.
pub(super) fn asking(tls: bool, how: How, more: &str) -> String {
    let (snappy, deflate) = (how == How::Snappy, how == How::Deflate);
    format!(
        r#"{{"feature_negotiation":true,"tls_v1":{tls},"snappy":{snappy},"deflate":{deflate}{more}}}"#
    )
}

/// A connection inside these layers that was told OK in each.
#[track_caller]
pub(super) fn layered(
    nsqd: &EmbeddedNsqd,
    authority: &Authority,
    (tls, how): (bool, How),
    more: &str,
) -> Client<Squeezed> {
    let mut client = Client::connect(nsqd);
    let answer = client.identify(&asking(tls, how, more));
    let told = ["tls_v1", "snappy", "deflate"].map(|layer| answer[layer] == true);
    assert_eq!(told, [tls, how == How::Snappy, how == How::Deflate]);
    let mut client = if tls {
        let mut client = client.inside_tls(&authority.client(VERSIONS[1], None));
        client.expect(OK);
        Client(how.squeeze(client.0))
    } else {
        Client(how.squeeze(client.0))
    };
    if how != How::Plain {
        client.expect(OK);
    }
    client
}

#[test]
fn every_layer_carries_commands_answers_and_messages_byte_for_byte() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    for (number, layers) in ALL.into_iter().enumerate() {
        let topic = format!("t{number}");
        let mut client = layered(&nsqd, &authority, layers, "");
        let noise: Vec<u8> = std::iter::repeat_with({
            let mut state = 1_u32;
            move || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }
        })
        .take(1 << 20)
        .collect();
        let bodies = [noise, vec![0; 1 << 20], b"x".to_vec()];
        for body in &bodies {
            client.send(&publish(&topic, body));
            client.expect(OK);
        }
        client.send(&publish(&topic, b"small").repeat(1_000));
        client.expect(&OK.repeat(1_000));
        let stored = nsqd.messages(&topic);
        assert_eq!(stored.len(), 1_003);
        assert!(
            bodies
                .iter()
                .zip(&stored)
                .all(|(body, stored)| stored.body == body[..])
        );

        client.send(format!("SUB {topic} c\nRDY 3\n").as_bytes());
        client.expect(OK);
        for body in &bodies {
            let (kind, message) = client.frame();
            assert_eq!(kind, 2);
            assert!(message[26..] == body[..]);
        }

        let connection = nsqd.connections().pop().unwrap();
        let seen = (connection.tls, connection.snappy, connection.deflate);
        let (tls, how) = layers;
        assert_eq!(seen, (tls, how == How::Snappy, how == How::Deflate));
    }
}

#[test]
fn heartbeats_come_through_every_layer_and_are_answered_there() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    let every_second = r#","heartbeat_interval":1000"#;
    let mut clients = ALL.map(|layers| layered(&nsqd, &authority, layers, every_second));
    for round in 1..=3 {
        for client in &mut clients {
            client.expect(HEARTBEAT);
            client.send(b"NOP\n");
        }
        wait(nsqd.wait_for_command("NOP", 6 * round));
    }
    for client in &mut clients {
        client.send(&publish("t", b"x"));
    }
    wait(nsqd.wait_for_messages("t", 6));
}

#[test]
fn half_a_command_is_told_of_inside_the_layers() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    for layers in ALL {
        let mut client = Client::connect(&nsqd);
        let socket = client.0.try_clone().unwrap();
        client.identify(&asking(layers.0, layers.1, ""));
        let mut client = match layers {
            (true, how) => {
                let mut client = client.inside_tls(&authority.client(VERSIONS[0], None));
                client.expect(OK);
                Client(how.squeeze(client.0))
            }
            (false, how) => Client(how.squeeze(client.0)),
        };
        if layers.1 != How::Plain {
            client.expect(OK);
        }
        client.send(b"PUB t\n\0\0\0\x02x");
        socket.shutdown(Shutdown::Write).unwrap();
        client.expect(&error("E_BAD_MESSAGE PUB failed to read message body"));
    }
    assert_eq!(nsqd.message_count("t"), 0);
}

#[test]
fn a_closed_tls_is_the_end_of_the_input() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    let mut client = Client::encrypted(&nsqd, &authority);
    client.send(&publish("t", b"x"));
    client.0.conn.send_close_notify();
    client.0.flush().unwrap();
    client.expect(OK);
    wait(nsqd.wait_for_connections(0));
}

#[test]
fn a_broken_layer_ends_the_connection() {
    let authority = Authority::new();
    let nsqd = authority.nsqd().start().unwrap();
    for (tls, how) in ALL
        .into_iter()
        .filter(|layers| *layers != (false, How::Plain))
    {
        let mut client = Client::connect(&nsqd);
        client.identify(&asking(tls, how, ""));
        let mut socket = Client(client.0.try_clone().unwrap());
        if tls {
            let mut client = client.inside_tls(&authority.client(VERSIONS[1], None));
            client.expect(OK);
        }
        // Neither a record, nor a chunk, nor a block.
        socket.send(&[0xff; 64]);
        socket.rest();
        wait(nsqd.wait_for_connections(0));
    }
}

#[test]
fn the_level_of_deflate_is_cut_to_the_highest() {
    for (max, asked, told) in [
        (6, r#""deflate_level":9"#, 6),
        (9, r#""deflate_level":9"#, 9),
        (9, r#""deflate_level":99"#, 9),
        (9, r#""deflate_level":0"#, 6),
        (3, r#""deflate_level":-1"#, 3),
        (6, r#""deflate_level":1"#, 1),
    ] {
        let nsqd = EmbeddedNsqd::builder().max_deflate_level(max);
        let nsqd = nsqd.start().unwrap();
        let mut client = Client::connect(&nsqd);
        let answer = client.identify(&asking(false, How::Deflate, &format!(",{asked}")));
        let levels = (&answer["deflate_level"], &answer["max_deflate_level"]);
        assert_eq!(
            (levels.0.as_u64(), levels.1.as_u64()),
            (Some(told), Some(max.into()))
        );
        let mut client = Client(How::Deflate.squeeze(client.0));
        client.expect(OK);
        client.send(&publish("t", b"x"));
        client.expect(OK);
    }
}

#[test]
fn what_is_switched_off_is_declined() {
    let nsqd = EmbeddedNsqd::builder().snappy(false).deflate(false);
    let nsqd = nsqd.start().unwrap();
    let mut client = Client::connect(&nsqd);
    // Even both at once: nsqd refuses only what it would have to do.
    let both = r#"{"feature_negotiation":true,"tls_v1":true,"snappy":true,"deflate":true}"#;
    let answer = client.identify(both);
    let told = ["tls_v1", "snappy", "deflate"].map(|layer| answer[layer].clone());
    assert_eq!(told, [false, false, false]);
    client.send(&publish("t", b"x"));
    client.expect(OK);
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    client.send(&identify(both));
    client.expect(&error(
        "E_IDENTIFY_FAILED cannot enable both deflate and snappy compression",
    ));
}

#[test]
fn only_the_bytes_behind_the_identify_are_lost() {
    let nsqd = start();
    let mut client = Client::connect(&nsqd);
    let identify = identify(&asking(false, How::Snappy, ""));
    client.send(&[identify, publish("t", b"lost")].concat());
    assert_eq!(client.frame().0, 0);
    let mut client = Client(How::Snappy.squeeze(client.0));
    client.expect(OK);
    client.send(&publish("t", b"kept"));
    client.expect(OK);
    assert_eq!(nsqd.messages("t")[0].body, "kept");
}
