//! Runs every scenario against both kinds of nsqd or nsqlookupd, each on its own thread and actix
//! System, with a timeout.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use libtest_mimic::{Completion, Failed, Trial};

use crate::support::broker::{Broker, Kind, Settings};
use crate::support::lookupd::{Lookupd, LookupdSettings};
use crate::support::nsqd_version::Version;
use crate::support::{full, scaled, trials};

/// Timeout of a scenario: by default, and with `FULL=1`.
const TIMEOUTS: [Duration; 2] = [Duration::from_secs(120), Duration::from_secs(1200)];

type Running = Pin<Box<dyn Future<Output = ()>>>;

/// A test that runs against every kind of nsqd or nsqlookupd.
#[derive(Clone)]
pub struct Scenario {
    name: &'static str,
    play: Play,
    settings: Settings,
    only: Option<(Kind, &'static str)>,
    version: fn(Version) -> bool,
    problem: fn() -> Option<String>,
    in_own_process: bool,
    starts_a_real_nsqd: bool,
    is_long: bool,
}

/// What a scenario is given.
#[derive(Clone, Copy)]
enum Play {
    Broker(fn(Broker) -> Running),
    Lookupd(LookupdSettings, fn(Lookupd) -> Running),
}

impl Scenario {
    /// For the macro [`scenarios`].
    pub fn new(name: &'static str, run: fn(Broker) -> Running) -> Self {
        Self::playing(name, Play::Broker(run))
    }

    /// For the macro [`lookupd_scenarios`].
    pub fn with_each_lookupd(
        name: &'static str,
        settings: LookupdSettings,
        run: fn(Lookupd) -> Running,
    ) -> Self {
        Self::playing(name, Play::Lookupd(settings, run))
    }

    fn playing(name: &'static str, play: Play) -> Self {
        Self {
            name,
            play,
            settings: Settings::default(),
            only: None,
            version: |_| true,
            problem: || None,
            in_own_process: false,
            starts_a_real_nsqd: false,
            is_long: false,
        }
    }

    /// Starts the broker with these settings.
    pub fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// Runs against one kind; the other is ignored for this reason.
    pub fn only(self, kind: Kind, reason: &'static str) -> Self {
        Self {
            only: Some((kind, reason)),
            ..self
        }
    }

    /// Runs against versions of which this holds; with others it is ignored.
    pub fn with_versions(self, version: fn(Version) -> bool) -> Self {
        Self { version, ..self }
    }

    /// Runs against a real nsqd only where there is no problem. Otherwise it is ignored, or fails
    /// if a real nsqd is required.
    pub fn unless(self, problem: fn() -> Option<String>) -> Self {
        Self { problem, ..self }
    }

    /// Starts a real nsqd, whatever the kind of nsqlookupd.
    pub fn starting_a_real_nsqd(self) -> Self {
        Self {
            starts_a_real_nsqd: true,
            ..self
        }
    }

    /// Runs with the real programs in the exhaustive tests only, because it waits for their timers.
    pub fn taking_long(self) -> Self {
        Self {
            is_long: true,
            ..self
        }
    }

    /// Runs in its own process, because it measures or changes the process.
    pub fn in_own_process(self) -> Self {
        Self {
            in_own_process: true,
            ..self
        }
    }

    /// One trial per kind of nsqd.
    pub fn trials(&self) -> impl Iterator<Item = Trial> {
        [Kind::Embedded, Kind::Real].into_iter().map(|kind| {
            let scenario = self.clone();
            // `broker::drain::name` becomes `real::drain::name`.
            let path = scenario.name.split_once("::");
            let name = format!("{kind}::{}", path.map_or(scenario.name, |(_, path)| path));
            Trial::ignorable_test(name.clone(), move || {
                let began = Instant::now();
                let result = scenario.run(&name, kind);
                if std::env::var_os("TIMES").is_some() && !trials::is_own_process() {
                    eprintln!("{:7.2} s  {name}", began.elapsed().as_secs_f64());
                }
                result
            })
        })
    }

    fn run(self, name: &str, kind: Kind) -> Result<Completion, Failed> {
        if let Some((only, reason)) = self.only
            && only != kind
        {
            return Ok(Completion::ignored_with(format!("{only} only: {reason}")));
        }
        if kind == Kind::Real && self.is_long && !full() {
            return Ok(Completion::ignored_with("with FULL=1 only: it takes long"));
        }
        let needs = match self.play {
            Play::Lookupd(..) => trials::without_a_real_lookupd(kind),
            Play::Broker(_) => None,
        };
        let nsqd = if self.starts_a_real_nsqd {
            Kind::Real
        } else {
            kind
        };
        if let Some(instead) = needs.or_else(|| trials::without_a_real_nsqd(nsqd)) {
            return instead;
        }
        let version = kind.version();
        if !(self.version)(version) {
            return Ok(Completion::ignored_with(format!("not with nsqd {version}")));
        }
        if kind == Kind::Real
            && let Some(problem) = (self.problem)()
        {
            return trials::missing("what the scenario needs", &problem);
        }
        if self.in_own_process && !trials::is_own_process() {
            return trials::run_process(name);
        }
        let (done, outcome) = mpsc::channel();
        let play = move || {
            actix_rt::System::new().block_on(async {
                match self.play {
                    Play::Broker(run) => run(Broker::start(kind, self.settings).await).await,
                    Play::Lookupd(settings, run) => {
                        run(Lookupd::start(kind, settings).await).await;
                    }
                }
            });
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        // After a timeout, the thread stays until the process exits.
        thread.spawn(move || done.send(catch_unwind(AssertUnwindSafe(play))))?;
        let timeout = scaled(TIMEOUTS[0], TIMEOUTS[1]);
        match outcome.recv_timeout(timeout) {
            Ok(Ok(())) => Ok(Completion::Completed),
            Ok(Err(panic)) => Err(trials::words_of(&*panic).into()),
            Err(_) => Err(format!("{name} has not ended within {timeout:?}").into()),
        }
    }
}

/// The table of a module: names of `async fn(Broker)`, each with methods of [`Scenario`], such as
/// `name.with(settings).only(kind, reason)`.
macro_rules! scenarios {
    ($($scenario:ident $(.$how:ident($($what:expr),* $(,)?))*),* $(,)?) => {
        vec![$(
            $crate::harness::Scenario::new(
                concat!(module_path!(), "::", stringify!($scenario)),
                |broker| Box::pin($scenario(broker)),
            )$(.$how($($what),*))*
        ),*]
    };
}
pub(crate) use scenarios;

/// The table of a module: names of `async fn(Lookupd)` and their settings, each with methods of
/// [`Scenario`], such as `name(settings).only(kind, reason)`. They start their own nsqds.
macro_rules! lookupd_scenarios {
    ($($scenario:ident($settings:expr) $(.$how:ident($($what:expr),* $(,)?))*),* $(,)?) => {
        vec![$(
            $crate::harness::Scenario::with_each_lookupd(
                concat!(module_path!(), "::", stringify!($scenario)),
                $settings,
                |lookupd| Box::pin($scenario(lookupd)),
            )$(.$how($($what),*))*
        ),*]
    };
}
pub(crate) use lookupd_scenarios;
