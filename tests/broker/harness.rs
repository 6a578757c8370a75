//! Runs every scenario against every kind of nsqd: each on a thread and an actix System of its own, and under a watchdog.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use libtest_mimic::{Completion, Failed, Trial};

use crate::support::broker::{Broker, Kind, Settings};
use crate::support::trials;

/// Set for a process that was started to run one scenario alone.
const ALONE: &str = "BROKER_SCENARIO_ALONE";

/// A scenario that takes longer has hung, unless it says otherwise.
const LONGEST: Duration = Duration::from_secs(60);

/// Something that must hold whichever nsqd is there.
#[derive(Clone)]
pub struct Scenario {
    name: &'static str,
    run: fn(Broker) -> Pin<Box<dyn Future<Output = ()>>>,
    settings: Settings,
    only: Option<(Kind, &'static str)>,
    missing: fn() -> Option<String>,
    alone: bool,
    longest: Duration,
}

impl Scenario {
    /// For the macro [`scenarios`].
    pub fn new(name: &'static str, run: fn(Broker) -> Pin<Box<dyn Future<Output = ()>>>) -> Self {
        Self {
            name,
            run,
            settings: Settings::default(),
            only: None,
            missing: || None,
            alone: false,
            longest: LONGEST,
        }
    }

    /// The same with a broker set up otherwise.
    pub fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// The same for one kind only, and why: the other is reported as ignored for this reason.
    pub fn only(self, kind: Kind, reason: &'static str) -> Self {
        Self {
            only: Some((kind, reason)),
            ..self
        }
    }

    /// The same for a real nsqd where something else is to be had, too; else it is reported as ignored for this reason, or
    /// fails where a real nsqd is required.
    pub fn unless(self, missing: fn() -> Option<String>) -> Self {
        Self { missing, ..self }
    }

    /// The same in a process of its own, because it measures what belongs to the whole process.
    pub fn alone(self) -> Self {
        Self {
            alone: true,
            ..self
        }
    }

    /// The same with more time before it counts as hanging.
    pub fn within(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// One trial per kind of nsqd.
    pub fn trials(&self) -> impl Iterator<Item = Trial> {
        [Kind::Embedded, Kind::Real].into_iter().map(|kind| {
            let scenario = self.clone();
            // `broker::publish::a_thing_holds` is told as `real::publish::a_thing_holds`.
            let name = scenario
                .name
                .split_once("::")
                .map_or(scenario.name, |(_, name)| name);
            let name = format!("{kind}::{name}");
            Trial::ignorable_test(name.clone(), move || scenario.run(&name, kind))
        })
    }

    fn run(self, name: &str, kind: Kind) -> Result<Completion, Failed> {
        if let Some((only, reason)) = self.only
            && only != kind
        {
            return Ok(Completion::ignored_with(format!("{only} only: {reason}")));
        }
        if let Some(instead) = trials::without_a_real_nsqd(kind) {
            return instead;
        }
        if kind == Kind::Real
            && let Some(reason) = (self.missing)()
        {
            return trials::missing("what the scenario needs", &reason);
        }
        if self.alone && std::env::var_os(ALONE).is_none() {
            return run_alone(name);
        }
        let (done, outcome) = mpsc::channel();
        let play = move || {
            actix_rt::System::new().block_on(async {
                let broker = Broker::start(kind, self.settings).await;
                (self.run)(broker).await;
            });
        };
        let thread = std::thread::Builder::new().name(name.to_owned());
        // A scenario that hangs keeps its thread: there is no way to end one. The process ends all the same.
        thread.spawn(move || done.send(catch_unwind(AssertUnwindSafe(play))))?;
        let longest = self.longest;
        match outcome.recv_timeout(longest) {
            Ok(Ok(())) => Ok(Completion::Completed),
            Ok(Err(panic)) => Err(trials::words_of(&*panic).into()),
            Err(_) => Err(format!("{name} hangs: it has not ended within {longest:?}").into()),
        }
    }
}

/// Runs one trial in a process of its own: this very program, told to run nothing else.
fn run_alone(name: &str) -> Result<Completion, Failed> {
    let program = std::env::current_exe()?;
    let ran = Command::new(program)
        .args([name, "--exact"])
        .env(ALONE, "1")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    match ran.status.success() {
        true => Ok(Completion::Completed),
        false => Err(String::from_utf8_lossy(&ran.stdout).into_owned().into()),
    }
}

/// The table of a module's scenarios: names of `async fn(Broker)`, each with what is special about it
/// (`name.with(settings)`, `name.only(kind, reason)`, `name.alone()`).
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
