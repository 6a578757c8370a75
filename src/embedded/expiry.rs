//! The task that expires message timeouts and delays.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    select,
    time::{Instant as TokioInstant, sleep_until},
};

use super::state::Shared;

/// nsqd's `--queue-scan-interval`.
const SCAN_INTERVAL: Duration = Duration::from_millis(100);

/// Requeues messages when they time out and delivers deferred ones when they are due. (nsqd checks
/// every 100 ms, and may not check a new channel for up to five seconds.)
pub(super) async fn run(shared: Arc<Shared>) {
    let started = Instant::now();
    let due_earlier = Arc::clone(&shared.state().due_earlier);
    let mut fault_changes = shared.fault_changes.subscribe();
    loop {
        let (expired, next) = {
            let mut state = shared.state();
            // Time stands still during `freeze`; messages expire when it ends.
            if state.faults.persistent.freeze {
                (false, None)
            } else {
                (state.expire(Instant::now()), state.next_due)
            }
        };
        if expired {
            shared.changes.send_replace(());
        }
        let next = next.map(|due| {
            if shared.options.realistic_timing {
                next_scan(started, due)
            } else {
                due
            }
        });
        let wake = next.map_or_else(TokioInstant::now, TokioInstant::from_std);
        select! {
            () = due_earlier.notified() => {}
            _ = fault_changes.changed() => {}
            () = sleep_until(wake), if next.is_some() => {}
        }
    }
}

/// The first check of nsqd that finds what is due at `due`.
fn next_scan(started: Instant, due: Instant) -> Instant {
    let scans = due.saturating_duration_since(started).as_millis() / SCAN_INTERVAL.as_millis() + 1;
    let wait = SCAN_INTERVAL.saturating_mul(u32::try_from(scans).unwrap_or(u32::MAX));
    started.checked_add(wait).unwrap_or(due)
}
