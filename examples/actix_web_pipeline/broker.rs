//! The nsqd of the pipeline: inside this process, or a real one.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use actix_nsq::embedded::EmbeddedNsqd;
use serde::Serialize;

use super::order::{ORDERS, RESULTS};

/// Time for which a killed nsqd is down: long enough to see what happens meanwhile, and shorter
/// than the timeout of a publish.
const DOWNTIME: Duration = Duration::from_secs(2);

/// The nsqd of the pipeline.
#[derive(Debug)]
pub(crate) struct Broker {
    address: String,
    embedded: Option<EmbeddedNsqd>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    is_down: bool,
    restarts: u64,
    restart_error: Option<String>,
}

/// What the page shows of nsqd.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BrokerInfo {
    pub(crate) address: String,
    pub(crate) is_embedded: bool,
    /// Always false for a real nsqd: the connections show its state.
    pub(crate) is_down: bool,
    pub(crate) restarts: u64,
    pub(crate) restart_error: Option<String>,
    /// Why it cannot be killed now.
    pub(crate) kill_problem: Option<String>,
}

/// Why nsqd was not killed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KillError {
    #[error("nsqd at {0} does not run inside this process; stop it where it runs")]
    External(String),
    #[error("nsqd is down already; it is being restarted")]
    IsDown,
    #[error("no thread for the restart: {0}")]
    Thread(#[from] io::Error),
}

impl Broker {
    /// Starts an nsqd inside this process. It keeps every message in memory, for inspection: that
    /// suits a demonstration.
    pub(crate) fn embedded() -> io::Result<Arc<Self>> {
        let nsqd = EmbeddedNsqd::start()?;
        Ok(Arc::new(Self {
            address: nsqd.address().to_string(),
            embedded: Some(nsqd),
            state: Mutex::default(),
        }))
    }

    pub(crate) fn external(address: String) -> Arc<Self> {
        Arc::new(Self {
            address,
            embedded: None,
            state: Mutex::default(),
        })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The embedded nsqd.
    #[cfg(test)]
    pub(crate) fn nsqd(&self) -> Option<&EmbeddedNsqd> {
        self.embedded.as_ref()
    }

    pub(crate) fn is_embedded(&self) -> bool {
        self.embedded.is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn info(&self) -> BrokerInfo {
        let state = self.state();
        let kill_problem = match (&self.embedded, state.is_down) {
            (None, _) => Some(KillError::External(self.address.clone())),
            (Some(_), true) => Some(KillError::IsDown),
            (Some(_), false) => None,
        };
        BrokerInfo {
            address: self.address.clone(),
            is_embedded: self.is_embedded(),
            is_down: state.is_down,
            restarts: state.restarts,
            restart_error: state.restart_error.clone(),
            kill_problem: kill_problem.map(|problem| problem.to_string()),
        }
    }

    /// Number of messages that nsqd holds for the two consumers: queued, deferred, or in flight.
    /// `None` for a real nsqd.
    pub(crate) fn held(&self) -> Option<u64> {
        let nsqd = self.embedded.as_ref()?;
        let of_topic = |(topic, _): (&str, &str)| {
            let Some(topic) = nsqd.topic(topic) else {
                return 0;
            };
            let channels = topic.channels.iter();
            let in_channels = channels
                .map(|channel| channel.depth + channel.in_flight_count + channel.deferred_count);
            topic.depth + in_channels.sum::<usize>()
        };
        u64::try_from(of_topic(ORDERS) + of_topic(RESULTS)).ok()
    }

    /// Closes all connections of the embedded nsqd and its port, and opens it again after a time.
    /// Messages in flight return to their queues, as in a real nsqd with its queues on disk.
    pub(crate) fn kill(self: &Arc<Self>) -> Result<(), KillError> {
        if self.embedded.is_none() {
            return Err(KillError::External(self.address.clone()));
        }
        if std::mem::replace(&mut self.state().is_down, true) {
            return Err(KillError::IsDown);
        }
        let broker = Arc::clone(self);
        // `stop` and `restart` block. The workers of the server may end before the restart.
        let started = thread::Builder::new()
            .name("nsqd-restart".to_owned())
            .spawn(move || broker.stop_and_restart());
        started.map(drop).map_err(|error| {
            self.state().is_down = false;
            error.into()
        })
    }

    fn stop_and_restart(&self) {
        let Some(nsqd) = &self.embedded else {
            return;
        };
        nsqd.stop();
        thread::sleep(DOWNTIME);
        while let Err(error) = nsqd.restart() {
            self.state().restart_error = Some(error.to_string());
            thread::sleep(DOWNTIME);
        }
        let mut state = self.state();
        state.is_down = false;
        state.restarts += 1;
        state.restart_error = None;
    }
}
