//! Where a session is cut, and what can be said beforehand of what comes of it.

use actix_nsq::bytes::Bytes;

use crate::support::chaos::{Direction, End, Faults, Recorded};
use crate::support::record::Id;
use crate::support::spoken::Command;

/// The first connection ends after so many bytes of one direction; the next ones live.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub direction: Direction,
    pub at: usize,
    pub end: End,
}

impl Case {
    pub fn faults(&self) -> Faults {
        Faults::cut_once(self.direction, self.at, self.end)
    }
}

/// A session without a cut, on its first connection. Its parts are found by their contents: how publishes are made into
/// commands is the producer's affair.
#[derive(Debug)]
pub struct Whole {
    up: usize,
    down: usize,
    /// Where IDENTIFY ends, and its answer.
    handshake: (usize, usize),
    /// Where each answer `OK` to a command ends.
    oks: Vec<usize>,
    /// Where the last body of each publish ends and which command carries it, if it is sent on the first connection; and
    /// where every body begins and ends.
    publishes: Vec<Option<(usize, usize)>>,
    edges: Vec<usize>,
}

impl Whole {
    pub fn new(recorded: &Recorded, bodies: Vec<Vec<Bytes>>) -> Self {
        let (up, down) = (&recorded.up.said, &recorded.down.said);
        assert!(up.starts_with(b"  V2IDENTIFY\n"));
        let identify = 13 + 4 + size_at(up, 13);
        let frames = frames(down);
        let oks = frames[1..]
            .iter()
            .filter(|(_, payload)| *payload == b"OK")
            .map(|(end, _)| *end);
        let place = |body: &Bytes| {
            let mut places = up.windows(body.len());
            let start = places.position(|part| part == body)?;
            Some((start, start + body.len()))
        };
        let places: Vec<Vec<_>> = bodies
            .iter()
            .map(|bodies| bodies.iter().map(place).collect())
            .collect();
        let commands = command_ends(up, identify);
        let edges = places.iter().flatten();
        let publishes = places.iter().map(|places| {
            let (_, end) = places[places.len() - 1]?;
            Some((end, commands.iter().position(|other| end <= *other)?))
        });
        Self {
            up: up.len(),
            down: down.len(),
            handshake: (identify, frames[0].0),
            oks: oks.collect(),
            publishes: publishes.collect(),
            edges: edges
                .flatten()
                .flat_map(|(start, end)| [*start, *end])
                .collect(),
        }
    }

    fn length(&self, direction: Direction) -> usize {
        match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
        }
    }

    /// Whether the connection ends before the producer has been answered its IDENTIFY, and so before any publish.
    pub fn is_before_publishes(&self, case: Case) -> bool {
        match case.direction {
            Direction::Up => case.at <= self.handshake.0,
            Direction::Down => case.at < self.handshake.1,
        }
    }

    /// How many publishes are certainly answered `Ok` before the cut.
    pub fn ok_before(&self, case: Case) -> usize {
        let answered = self.publishes.iter().flatten();
        answered
            .filter(|(_, command)| *command < self.oks_before(case))
            .count()
    }

    /// How many answers `OK` to commands certainly come through before the cut.
    fn oks_before(&self, case: Case) -> usize {
        match case.direction {
            Direction::Up => 0,
            Direction::Down => self.oks.iter().filter(|end| **end <= case.at).count(),
        }
    }

    /// How many commands carry more than one publish.
    pub fn folded(&self) -> usize {
        let mut carriers: Vec<_> = self.publishes.iter().flatten().collect();
        carriers.sort_unstable();
        let twice = carriers.chunk_by(|(_, one), (_, next)| one == next);
        twice.filter(|publishes| publishes.len() > 1).count()
    }

    /// Which messages the broker may hold from the connection that was cut, with no answer to them come through.
    pub fn may_be_stored_at(&self, case: Case, ids: &[Vec<Id>]) -> Vec<Id> {
        let may_be = ids.iter().zip(&self.publishes).filter(|(_, sent)| {
            sent.is_some_and(|(end, command)| match case.direction {
                Direction::Up => end <= case.at,
                Direction::Down => {
                    !self.is_before_publishes(case) && command >= self.oks_before(case)
                }
            })
        });
        may_be.flat_map(|(ids, _)| ids.clone()).collect()
    }
}

/// The cuts that are made of a session.
pub struct Cases;

impl Cases {
    /// At each so many bytes in both directions, with both ends.
    pub fn at_every(step: usize, whole: &Whole) -> Vec<Case> {
        let both = [Direction::Up, Direction::Down].into_iter();
        both.flat_map(|direction| {
            let places = (0..=whole.length(direction)).step_by(step);
            places.flat_map(move |at| with_both_ends(direction, at))
        })
        .collect()
    }

    /// Once hands are shaken: near the beginnings and ends of bodies, elsewhere here and there, and at the answers.
    pub fn around_bodies(step: usize, whole: &Whole) -> Vec<Case> {
        let near = |at: usize| whole.edges.iter().any(|edge| edge.abs_diff(at) <= 12);
        let (identify, answer) = whole.handshake;
        let up = (identify..=whole.up)
            .step_by(step)
            .filter(|at| near(*at) || at.is_multiple_of(997))
            .flat_map(|at| with_both_ends(Direction::Up, at));
        let down = (answer..=whole.down)
            .step_by(step)
            .flat_map(|at| with_both_ends(Direction::Down, at));
        up.chain(down).collect()
    }
}

fn with_both_ends(direction: Direction, at: usize) -> [Case; 2] {
    [End::Fin, End::Rst].map(|end| Case { direction, at, end })
}

/// Where each command ends that begins there or later, and is whole.
fn command_ends(up: &[u8], first: usize) -> Vec<usize> {
    let (mut ends, mut at) = (Vec::new(), first);
    while let Some((_, length)) = Command::parse(&up[at..]).expect("commands") {
        at += length;
        ends.push(at);
    }
    ends
}

/// Each frame's end, and what is in it.
fn frames(bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let (mut frames, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let end = at + 4 + size_at(bytes, at);
        frames.push((end, &bytes[at + 8..end]));
        at = end;
    }
    frames
}

fn size_at(bytes: &[u8], at: usize) -> usize {
    let size = bytes[at..at + 4].try_into().expect("four bytes");
    u32::from_be_bytes(size) as usize
}
