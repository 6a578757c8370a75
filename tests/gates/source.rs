//! A peer that delivers messages by counts, not by speed, so that each run costs the same.
//!
//! nsqd sends the next message when one is answered, so that timing decides how many messages share
//! a read. The source fills RDY with one write, and sends the next messages when all of them are
//! finished.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};

use crate::peer::{self, Commands, OK};
use crate::support::command::{Verb, number};

const BODY: &[u8] = &[7; 200];

/// A source on a free port. It serves connections until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    pub address: SocketAddr,
}

impl Source {
    pub fn start() -> io::Result<Self> {
        let address = peer::start(serve)?;
        Ok(Self { address })
    }
}

fn serve(mut client: TcpStream) -> io::Result<()> {
    let mut commands = Commands::start(&mut client)?;
    let (mut ready, mut in_flight, mut sent) = (0, 0, 0);
    while let Some(commands) = commands.read(&mut client)? {
        for command in commands {
            match command.verb {
                Verb::Identify | Verb::Sub => client.write_all(OK)?,
                Verb::Rdy => ready = number(&command.words[0]).map_err(io::Error::other)?,
                Verb::Fin if in_flight > 0 => in_flight -= 1,
                // The consumer only finishes. The client fails with its connection.
                other => return Err(io::Error::other(format!("unexpected {}", other.name()))),
            }
        }
        if in_flight == 0 && ready > 0 {
            let messages: Vec<_> = (sent..sent + ready).flat_map(message).collect();
            client.write_all(&messages)?;
            in_flight = ready;
            sent += ready;
        }
    }
    Ok(())
}

/// The frame of a message with this number.
fn message(number: u64) -> Vec<u8> {
    let id = format!("{number:016x}");
    let data = [&[0; 8][..], &[0, 1], id.as_bytes(), BODY].concat();
    let size = u32::try_from(4 + data.len()).expect("a small frame");
    [&size.to_be_bytes()[..], &[0, 0, 0, 2], &data].concat()
}
