//! A peer whose responses depend on counts, not on speed, so that each run costs the same.
//!
//! nsqd responds to each command at once, so that timing decides how many publishes share a
//! command. The sink responds when the publishes of all callers have arrived, with one write: each
//! round is one write and one read on every machine and with every tool.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};

use crate::peer::{self, Commands, OK};
use crate::support::command::Verb;

/// A sink on a free port. It serves connections until the process ends.
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    pub address: SocketAddr,
}

impl Sink {
    /// Starts a sink that responds when `round` publishes have arrived.
    pub fn start(round: usize) -> io::Result<Self> {
        let address = peer::start(move |client| serve(client, round))?;
        Ok(Self { address })
    }
}

fn serve(mut client: TcpStream, round: usize) -> io::Result<()> {
    let mut commands = Commands::start(&mut client)?;
    let (mut publishes, mut answers) = (0, Vec::new());
    while let Some(commands) = commands.read(&mut client)? {
        for command in commands {
            if command.verb == Verb::Identify {
                client.write_all(OK)?;
                continue;
            }
            publishes += command.bodies.len();
            answers.extend(OK);
            if publishes >= round {
                client.write_all(&answers)?;
                (publishes, answers) = (0, Vec::new());
            }
        }
    }
    Ok(())
}
