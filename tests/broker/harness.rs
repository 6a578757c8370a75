//! Runs every scenario against every kind of nsqd: each on a thread and an actix System of its own, under a watchdog.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::mpsc;
use std::time::Duration;

use libtest_mimic::{Completion, Failed, Trial};

use crate::support::broker::{Broker, Kind, Settings};
use crate::support::nsqd_program::{self, Found};

/// A scenario that takes longer has hung, unless it says otherwise.
const LONGEST: Duration = Duration::from_secs(60);

/// Something that must hold whichever nsqd is there.
#[derive(Clone)]
pub struct Scenario {
    name: &'static str,
    run: fn(Broker) -> Pin<Box<dyn Future<Output = ()>>>,
    settings: Settings,
    kinds: &'static [Kind],
    longest: Duration,
}

impl Scenario {
    /// For the macro [`scenarios`].
    pub fn new(name: &'static str, run: fn(Broker) -> Pin<Box<dyn Future<Output = ()>>>) -> Self {
        Self {
            name,
            run,
            settings: Settings::default(),
            kinds: &[Kind::Embedded, Kind::Real],
            longest: LONGEST,
        }
    }

    /// The same with a broker set up otherwise.
    pub fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// The same for these kinds only, because others have nothing of the sort.
    pub fn only(self, kinds: &'static [Kind]) -> Self {
        Self { kinds, ..self }
    }

    /// The same with more time before it counts as hanging.
    pub fn within(self, longest: Duration) -> Self {
        Self { longest, ..self }
    }

    /// One trial per kind of nsqd.
    pub fn trials(&self) -> impl Iterator<Item = Trial> {
        self.kinds.iter().map(|kind| {
            let (scenario, kind) = (self.clone(), *kind);
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
        if let (Kind::Real, Found::Missing(reason)) = (kind, nsqd_program::find()) {
            return match nsqd_program::is_required() {
                true => {
                    Err(format!("NSQD_REQUIRED is set, and there is no real nsqd: {reason}").into())
                }
                false => Ok(Completion::ignored_with(reason)),
            };
        }
        let longest = self.longest;
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
        match outcome.recv_timeout(longest) {
            Ok(Ok(())) => Ok(Completion::Completed),
            Ok(Err(panic)) => Err(words_of(&*panic).into()),
            Err(_) => Err(format!("{name} hangs: it has not ended within {longest:?}").into()),
        }
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
        .to_owned()
}

/// The table of a module's scenarios: names of `async fn(Broker)`, with what is special about one behind it, such as
/// `.with(Settings { .. })` or `.only(&[Kind::Real])`.
macro_rules! scenarios {
    ($($scenario:ident $(.$change:ident($($argument:expr)*))*),* $(,)?) => {
        vec![$(
            $crate::harness::Scenario::new(
                concat!(module_path!(), "::", stringify!($scenario)),
                |broker| Box::pin($scenario(broker)),
            )
            $(.$change($($argument)*))*
        ),*]
    };
}
pub(crate) use scenarios;
