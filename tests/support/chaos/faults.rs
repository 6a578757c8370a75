//! The faults of a proxy, and their notation.

use std::{fmt, str::FromStr, time::Duration};

/// Faults of each direction and of the connection. By default none.
///
/// They are written as a list: `latency=20ms,jitter=5ms,cut-up=1234,end=rst`. Those of a direction
/// concern both, or with `-up` only what the client sends, or with `-down` only what it receives:
///
/// | fault | effect | in toxiproxy |
/// |---|---|---|
/// | `latency=20ms` | delays all bytes | latency |
/// | `jitter=5ms` | varies the latency; the order is kept | jitter |
/// | `bandwidth=100kB/s` | limits the rate (B, kB, MB) | bandwidth |
/// | `slice=1..7` | passes pieces of this size | slicer |
/// | `stall=5000` | passes this number of bytes, then none; the connection stays open | timeout |
/// | `cut=1234` | passes this number of bytes, then ends the connection | limit_data |
/// | `corrupt=77` | changes the byte after this number of bytes | |
///
/// | fault | effect | in toxiproxy |
/// |---|---|---|
/// | `end=rst` | connections are ended by RST instead of FIN (`fin`) | reset_peer |
/// | `cut-every=5s` | ends a connection at this age | |
/// | `times=1` | stalls, cuts and corrupts only the first connections | |
/// | `black-hole` | connections open, and no byte is passed: `stall=0` | timeout=0 |
/// | `refuse` | resets new connections at once | down |
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub up: Way,
    pub down: Way,
    /// How the proxy ends connections.
    pub end: End,
    pub cut_every: Option<Duration>,
    pub times: Option<u64>,
    pub refuse: bool,
}

/// Faults of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Way {
    pub latency: Duration,
    pub jitter: Duration,
    /// Bytes per second.
    pub bandwidth: Option<u64>,
    /// Minimum and maximum size of a piece.
    pub slice: Option<(usize, usize)>,
    pub stall: Option<u64>,
    pub cut: Option<u64>,
    pub corrupt: Option<u64>,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// By FIN: both peers read everything that was passed, then EOF.
    #[default]
    Fin,
    /// By RST: bytes that were passed and not read may be lost.
    Rst,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client.
    Up,
    /// To the client.
    Down,
}

impl Faults {
    /// Ends the first connection after this number of bytes in one direction, and no other.
    pub fn cut_once(direction: Direction, at: usize, end: End) -> Self {
        let cut = Way {
            cut: Some(at as u64),
            ..Way::default()
        };
        let (up, down) = match direction {
            Direction::Up => (cut, Way::default()),
            Direction::Down => (Way::default(), cut),
        };
        Self {
            up,
            down,
            end,
            times: Some(1),
            ..Self::default()
        }
    }

    /// Connections open, and no byte is passed.
    pub fn black_hole() -> Self {
        let way = Way {
            stall: Some(0),
            ..Way::default()
        };
        Self {
            up: way,
            down: way,
            ..Self::default()
        }
    }

    pub fn way(&self, direction: Direction) -> &Way {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    fn set(&mut self, word: &str) -> Result<(), String> {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        match name {
            "none" | "black-hole" | "refuse" if word != name => {
                return Err("takes no value".to_owned());
            }
            "none" => {}
            "black-hole" => (self.up.stall, self.down.stall) = (Some(0), Some(0)),
            "refuse" => self.refuse = true,
            "end" => self.end = value.parse()?,
            "cut-every" => self.cut_every = Some(duration(value)?),
            "times" => self.times = Some(number(value)?),
            _ => {
                let (name, up, down) = directed(name);
                if up {
                    self.up.set(name, value)?;
                }
                if down {
                    self.down.set(name, value)?;
                }
            }
        }
        Ok(())
    }
}

/// The name, and whether it concerns the direction up, and down.
fn directed(name: &str) -> (&str, bool, bool) {
    match name.strip_suffix("-up") {
        Some(name) => (name, true, false),
        None => name
            .strip_suffix("-down")
            .map_or((name, true, true), |name| (name, false, true)),
    }
}

impl Way {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "latency" => self.latency = duration(value)?,
            "jitter" => self.jitter = duration(value)?,
            "bandwidth" => self.bandwidth = Some(bandwidth(value)?),
            "slice" => self.slice = Some(slice(value)?),
            "stall" => self.stall = Some(number(value)?),
            "cut" => self.cut = Some(number(value)?),
            "corrupt" => self.corrupt = Some(number(value)?),
            _ => return Err(format!("is none of: {WORDS}")),
        }
        Ok(())
    }

    /// The name of each fault, and its value if it is set.
    fn words(&self) -> [(&'static str, Option<String>); 7] {
        let time = |time: Duration| {
            (!time.is_zero()).then(|| humantime::format_duration(time).to_string())
        };
        let count = |count: Option<u64>| count.map(|count| count.to_string());
        [
            ("latency", time(self.latency)),
            ("jitter", time(self.jitter)),
            ("bandwidth", self.bandwidth.map(written)),
            (
                "slice",
                self.slice.map(|(least, most)| format!("{least}..{most}")),
            ),
            ("stall", count(self.stall)),
            ("cut", count(self.cut)),
            ("corrupt", count(self.corrupt)),
        ]
    }
}

const WORDS: &str = "latency, jitter, bandwidth, slice, stall, cut, corrupt (each also with -up or -down), \
                     end, cut-every, times, black-hole, refuse, none";

fn duration(value: &str) -> Result<Duration, String> {
    humantime::parse_duration(value).map_err(|e| format!("is no duration such as 20ms: {e}"))
}

fn number(value: &str) -> Result<u64, String> {
    value
        .parse()
        .map_err(|_| "takes a number of 0 or more".to_owned())
}

fn slice(value: &str) -> Result<(usize, usize), String> {
    let (least, most) = value.split_once("..").unwrap_or((value, value));
    match (least.parse(), most.parse()) {
        (Ok(least), Ok(most)) if 1 <= least && least <= most => Ok((least, most)),
        _ => Err("takes a size of at least 1, or two such as 1..7".to_owned()),
    }
}

/// The units of a bandwidth, the largest first.
const UNITS: [(&str, u64); 3] = [("MB/s", 1_000_000), ("kB/s", 1_000), ("B/s", 1)];

fn bandwidth(value: &str) -> Result<u64, String> {
    let parsed = UNITS.iter().find_map(|(unit, size)| {
        let number: u64 = value.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(*size).filter(|bytes| *bytes > 0)
    });
    parsed.ok_or_else(|| "takes a number with B/s, kB/s or MB/s, and more than 0".to_owned())
}

fn written(bandwidth: u64) -> String {
    let whole = UNITS
        .iter()
        .find(|(_, size)| bandwidth.is_multiple_of(*size));
    let (unit, size) = whole.copied().unwrap_or(("B/s", 1));
    format!("{}{unit}", bandwidth / size)
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(list: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        let words = list.split(',').map(str::trim);
        for word in words.filter(|word| !word.is_empty()) {
            faults.set(word).map_err(|why| format!("{word} {why}"))?;
        }
        Ok(faults)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        for ((name, up), (_, down)) in self.up.words().into_iter().zip(self.down.words()) {
            let mut add = |direction: &str, value: Option<String>| {
                words.extend(value.map(|value| format!("{name}{direction}={value}")));
            };
            if up != down {
                add("-up", up);
                add("-down", down);
            } else if name == "stall" && up.as_deref() == Some("0") {
                words.push("black-hole".to_owned());
            } else {
                add("", up);
            }
        }
        if self.end != End::default() {
            words.push(format!("end={}", self.end));
        }
        let every = self.cut_every.map(humantime::format_duration);
        words.extend(every.map(|every| format!("cut-every={every}")));
        words.extend(self.times.map(|times| format!("times={times}")));
        words.extend(self.refuse.then(|| "refuse".to_owned()));
        if words.is_empty() {
            words.push("none".to_owned());
        }
        f.write_str(&words.join(","))
    }
}

impl FromStr for End {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "fin" => Ok(Self::Fin),
            "rst" => Ok(Self::Rst),
            _ => Err("takes fin or rst".to_owned()),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fin => "fin",
            Self::Rst => "rst",
        })
    }
}
