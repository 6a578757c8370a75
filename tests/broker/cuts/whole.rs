//! A session without a cut, as the proxy recorded it: where to cut it, and what must hold then.

use std::collections::BTreeSet;

use actix_nsq::bytes::Bytes;

use crate::support::chaos::{Direction, End, Faults, Recorded};
use crate::support::record::Id;
use crate::support::spoken::Command;
use crate::support::{full, scaled};

/// By default, one of this number of bytes is a place, besides those at bounds.
const SAMPLE: usize = 67;

/// Ends the first connection after this number of bytes of one direction.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    pub direction: Direction,
    pub at: usize,
    pub end: End,
}

impl Cut {
    pub fn faults(&self) -> Faults {
        Faults::cut_once(self.direction, self.at, self.end)
    }
}

/// In both directions, by FIN and RST in turns; with `FULL=1`, by both at every place.
pub fn cuts_at(places: impl Fn(Direction) -> Vec<usize>) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for direction in [Direction::Up, Direction::Down] {
        for (number, at) in places(direction).into_iter().enumerate() {
            let ends = [End::Fin, End::Rst].into_iter().cycle().skip(number % 2);
            let ends = ends.take(scaled(1, 2));
            cuts.extend(ends.map(|end| Cut { direction, at, end }));
        }
    }
    cuts
}

/// The first connection of a session without a cut.
#[derive(Debug)]
pub struct Whole {
    up: usize,
    down: usize,
    /// The ends of IDENTIFY and of its response.
    handshake: (usize, usize),
    /// The ends of commands, and of frames.
    commands: Vec<usize>,
    frames: Vec<usize>,
    /// The ends of the `OK` responses to publishes.
    oks: Vec<usize>,
    /// For each publish on this connection: the end of its last body, and its command's number.
    publishes: Vec<Option<(usize, usize)>>,
    /// The beginnings and ends of bodies.
    bodies: Vec<usize>,
}

impl Whole {
    /// Publishes are found by their bodies: the producer decides about commands.
    pub fn new(recorded: &Recorded, bodies: Vec<Vec<Bytes>>) -> Self {
        let (up, down) = (&recorded.up.sent, &recorded.down.sent);
        assert!(up.starts_with(b"  V2IDENTIFY\n"));
        let identify = 13 + 4 + size_at(up, 13);
        let commands = command_ends(up, identify);
        let frames = frames(down);
        let oks = frames
            .iter()
            .skip(1)
            .filter(|(_, payload)| *payload == b"OK");
        let place = |body: &Bytes| {
            let start = up.windows(body.len()).position(|part| part == body)?;
            Some((start, start + body.len()))
        };
        let places: Vec<Vec<_>> = bodies
            .iter()
            .map(|bodies| bodies.iter().map(place).collect())
            .collect();
        let publishes = places.iter().map(|places| {
            let (_, end) = places[places.len() - 1]?;
            Some((end, commands.iter().position(|other| end <= *other)?))
        });
        let bounds = places.iter().flatten().flatten();
        Self {
            up: up.len(),
            down: down.len(),
            handshake: (identify, frames[0].0),
            oks: oks.map(|(end, _)| *end).collect(),
            publishes: publishes.collect(),
            bodies: bounds.flat_map(|(start, end)| [*start, *end]).collect(),
            frames: frames.iter().map(|(end, _)| *end).collect(),
            commands,
        }
    }

    fn length(&self, direction: Direction) -> usize {
        match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
        }
    }

    /// Places to cut at: every `step`-th byte with `FULL=1`, else a sample.
    pub fn places(&self, direction: Direction, step: usize, seed: u64) -> Vec<usize> {
        let length = self.length(direction);
        if full() {
            return (0..=length).step_by(step).collect();
        }
        let step = SAMPLE * step;
        let sample = (seed as usize % step..=length).step_by(step);
        let bounds = match direction {
            Direction::Up => [&self.commands, &self.bodies],
            Direction::Down => [&self.frames, &self.oks],
        };
        let bounds = bounds.into_iter().flatten();
        // The byte before a bound tells apart "last byte missing" and "whole".
        let bounds = bounds.flat_map(|bound| [bound - 1, *bound]);
        let places = sample.chain(bounds).chain([0, self.handshake.0, length]);
        BTreeSet::from_iter(places.filter(|at| *at <= length))
            .into_iter()
            .collect()
    }

    /// After the handshake: around the bounds of bodies, and all of nsqd's responses.
    pub fn places_around_bodies(&self, direction: Direction, step: usize) -> Vec<usize> {
        let step = if full() { step } else { step * 5 };
        let (identify, response) = self.handshake;
        let near = |at: &usize| self.bodies.iter().any(|bound| bound.abs_diff(*at) <= 12);
        match direction {
            Direction::Up => {
                let places = (identify..=self.up).step_by(step);
                places
                    .filter(|at| near(at) || at.is_multiple_of(997))
                    .collect()
            }
            Direction::Down => (response..=self.down).step_by(step).collect(),
        }
    }

    /// Whether the connection ends before the handshake is done.
    pub fn is_before_publishes(&self, cut: Cut) -> bool {
        match cut.direction {
            Direction::Up => cut.at <= self.handshake.0,
            Direction::Down => cut.at < self.handshake.1,
        }
    }

    /// Number of publishes whose `OK` arrives before the cut.
    pub fn ok_before(&self, cut: Cut) -> usize {
        let oks = self.oks_before(cut);
        let publishes = self.publishes.iter().flatten();
        publishes.filter(|(_, command)| *command < oks).count()
    }

    fn oks_before(&self, cut: Cut) -> usize {
        match cut.direction {
            Direction::Up => 0,
            Direction::Down => self.oks.iter().filter(|end| **end <= cut.at).count(),
        }
    }

    /// Number of commands that contain several publishes.
    pub fn batches(&self) -> usize {
        let mut commands: Vec<_> = self.publishes.iter().flatten().map(|it| it.1).collect();
        commands.sort_unstable();
        let same = commands.chunk_by(|one, next| one == next);
        same.filter(|publishes| publishes.len() > 1).count()
    }

    /// Messages that nsqd may have received on the first connection, without a response that
    /// reached the producer.
    pub fn may_be_stored_at(&self, cut: Cut, ids: &[Vec<Id>]) -> Vec<Id> {
        let received = |publish: &Option<(usize, usize)>| {
            publish.is_some_and(|(end, command)| match cut.direction {
                Direction::Up => end <= cut.at,
                Direction::Down => {
                    !self.is_before_publishes(cut) && command >= self.oks_before(cut)
                }
            })
        };
        let publishes = ids.iter().zip(&self.publishes);
        let publishes = publishes.filter(|(_, publish)| received(publish));
        publishes.flat_map(|(ids, _)| ids.clone()).collect()
    }
}

/// The ends of the complete commands from this byte on.
fn command_ends(up: &[u8], first: usize) -> Vec<usize> {
    let (mut ends, mut at) = (Vec::new(), first);
    while let Some((_, length)) = Command::parse(&up[at..]).expect("commands") {
        at += length;
        ends.push(at);
    }
    ends
}

/// The end and the payload of each frame.
fn frames(bytes: &[u8]) -> Vec<(usize, &[u8])> {
    let (mut frames, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let end = at + 4 + size_at(bytes, at);
        frames.push((end, &bytes[at + 8..end]));
        at = end;
    }
    frames
}

/// A u32 in network byte order.
pub fn size_at(bytes: &[u8], at: usize) -> usize {
    let size = bytes[at..at + 4].try_into().expect("four bytes");
    u32::from_be_bytes(size) as usize
}
