//! What has become of each order. It makes the handler idempotent, and counts for the page.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::Notify;

use super::{
    order::{Item, Order, OrderResult},
    pipeline::{MSG_TIMEOUT, PUBLISH_TIMEOUT},
};

/// Maximum number of orders without a result, so that memory is bounded.
pub(crate) const MAX_OPEN: usize = 100_000;

/// Age at which an order without a response and without a delivery is assumed not to be stored: the
/// longest time until its publish ends, and then until nsqd delivers it.
pub(crate) const ABANDONED_AFTER: Duration = PUBLISH_TIMEOUT.saturating_add(MSG_TIMEOUT);

/// Number of latencies of which percentiles are computed: enough for a p99.
const MAX_LATENCIES: usize = 1_000;

/// Number of results that `GET /results` returns.
const MAX_LATEST: usize = 20;

/// The orders of this process.
#[derive(Debug)]
pub(crate) struct Ledger {
    run: u64,
    state: Mutex<State>,
    /// Notified when an order has its result.
    completed: Notify,
}

#[derive(Debug)]
struct State {
    last_id: u64,
    /// Orders without a result.
    open: HashMap<u64, Open>,
    counts: Counts,
    latencies: VecDeque<Duration>,
    latest: VecDeque<Latest>,
    /// Time of the last publish or delivery, also of messages of other processes.
    quiet_since: Instant,
}

#[derive(Debug)]
struct Open {
    since: Instant,
    /// Its publish has no outcome yet.
    has_request: bool,
    /// nsqd has it.
    is_published: bool,
    progress: Progress,
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Waiting,
    Started,
    Handled,
}

/// Numbers of orders. Each order counts once, except in `retried` and `duplicates`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Counts {
    /// Requests in progress.
    pub(crate) requests: u64,
    /// Orders that nsqd has.
    pub(crate) published: u64,
    /// Orders whose result is published.
    pub(crate) handled: u64,
    /// Orders whose result has arrived.
    pub(crate) results: u64,
    /// Deliveries of orders after the first one.
    pub(crate) retried: u64,
    /// Requests that failed and whose order nsqd has not stored.
    pub(crate) rejected: u64,
    /// Deliveries of an order or a result that was complete before.
    pub(crate) duplicates: u64,
}

/// A result, and how long its order took.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Latest {
    order: u64,
    #[serde(flatten)]
    item: Item,
    attempts: u16,
    milliseconds: u64,
}

/// Times from request to result of the newest orders, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Percentiles {
    p50: Option<u64>,
    p99: Option<u64>,
}

/// What a consumer should do with a delivered order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Handle,
    /// A delivery on an earlier connection is being handled.
    InProgress,
    /// It was handled before.
    Handled,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self {
            run: fastrand::u64(..),
            state: Mutex::new(State {
                last_id: 0,
                open: HashMap::new(),
                counts: Counts::default(),
                latencies: VecDeque::new(),
                latest: VecDeque::new(),
                quiet_since: Instant::now(),
            }),
            completed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins an order. Returns `None` if too many orders have no result yet. Orders that are
    /// probably not stored do not count: their client disconnected, or their outcome was ambiguous.
    pub(crate) fn begin(self: &Arc<Self>, item: Item) -> Option<Request> {
        let mut state = self.state();
        if state.open.len() >= MAX_OPEN {
            // If nsqd does deliver one of them later, it is not handled: no client was told that
            // it is stored.
            state.open.retain(|_, open| !open.is_abandoned());
        }
        if state.open.len() >= MAX_OPEN {
            return None;
        }
        state.last_id += 1;
        let id = state.last_id;
        let open = Open {
            since: Instant::now(),
            has_request: true,
            is_published: false,
            progress: Progress::Waiting,
        };
        state.open.insert(id, open);
        state.counts.requests += 1;
        drop(state);
        let run = self.run;
        Some(Request {
            ledger: Arc::clone(self),
            order: Order { run, id, item },
        })
    }

    /// A delivered order is about to be handled.
    pub(crate) fn claim(&self, order: &Order, attempts: u16) -> Claim {
        let mut state = self.state();
        // A backlog of an earlier process delays the orders of this one.
        state.quiet_since = Instant::now();
        if order.run != self.run {
            return Claim::Handle;
        }
        state.counts.retried += u64::from(attempts > 1);
        // The order may be delivered before nsqd's OK has reached the request.
        state.published(order.id);
        let claim = match state.open.get_mut(&order.id) {
            Some(open) if open.progress == Progress::Waiting => {
                open.progress = Progress::Started;
                Claim::Handle
            }
            Some(open) if open.progress == Progress::Started => Claim::InProgress,
            _ => Claim::Handled,
        };
        state.counts.duplicates += u64::from(claim == Claim::Handled);
        claim
    }

    /// The handler of a claimed order has failed: the next delivery is handled.
    pub(crate) fn release(&self, order: &Order) {
        self.set_progress(order, Progress::Waiting);
    }

    /// The result of a claimed order is published.
    pub(crate) fn handled(&self, order: &Order) {
        self.set_progress(order, Progress::Handled);
    }

    fn set_progress(&self, order: &Order, progress: Progress) {
        if order.run != self.run {
            return;
        }
        let mut state = self.state();
        let is_handled = progress == Progress::Handled;
        // Its result may have arrived already.
        if let Some(open) = state.open.get_mut(&order.id) {
            open.progress = progress;
        }
        state.counts.handled += u64::from(is_handled);
    }

    /// A result was delivered.
    pub(crate) fn complete(&self, result: OrderResult) {
        let OrderResult { order, attempts } = result;
        let mut state = self.state();
        state.quiet_since = Instant::now();
        if order.run != self.run {
            return;
        }
        let Some(open) = state.open.remove(&order.id) else {
            state.counts.duplicates += 1;
            return;
        };
        state.counts.results += 1;
        let latency = open.since.elapsed();
        state.latencies.push_front(latency);
        state.latencies.truncate(MAX_LATENCIES);
        state.latest.push_front(Latest {
            order: order.id,
            item: order.item,
            attempts,
            milliseconds: milliseconds(latency),
        });
        state.latest.truncate(MAX_LATEST);
        drop(state);
        self.completed.notify_waiters();
    }

    pub(crate) fn counts(&self) -> Counts {
        self.state().counts
    }

    /// The newest results, the newest first.
    pub(crate) fn latest(&self, count: usize) -> Vec<Latest> {
        self.state().latest.iter().take(count).cloned().collect()
    }

    pub(crate) fn latency(&self) -> Percentiles {
        let mut sorted: Vec<_> = self.state().latencies.iter().copied().collect();
        sorted.sort_unstable();
        let percentile = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).checked_sub(1)?;
            sorted.get(index).copied().map(milliseconds)
        };
        Percentiles {
            p50: percentile(50),
            p99: percentile(99),
        }
    }

    /// Time since the last publish or delivery.
    pub(crate) fn quiet_for(&self) -> Duration {
        self.state().quiet_since.elapsed()
    }

    /// Begins the time of [`quiet_for`](Self::quiet_for) again: nothing can be delivered now, or
    /// something else was delivered.
    pub(crate) fn restart_quiet_time(&self) {
        self.state().quiet_since = Instant::now();
    }

    /// Makes everything older, as if this time had passed.
    #[cfg(test)]
    pub(crate) fn pass(&self, time: Duration) {
        let mut state = self.state();
        let earlier = |instant: Instant| instant.checked_sub(time).unwrap_or(instant);
        state.quiet_since = earlier(state.quiet_since);
        for open in state.open.values_mut() {
            open.since = earlier(open.since);
        }
    }

    /// Waits until every published order has its result. Returns false after the timeout.
    pub(crate) async fn all_completed(&self, timeout: Duration) -> bool {
        let all = async {
            loop {
                let completed = self.completed.notified();
                let counts = self.counts();
                if counts.results >= counts.published {
                    break;
                }
                completed.await;
            }
        };
        tokio::time::timeout(timeout, all).await.is_ok()
    }
}

impl State {
    /// Counts an order as published, once.
    fn published(&mut self, id: u64) {
        if let Some(open) = self.open.get_mut(&id)
            && !std::mem::replace(&mut open.is_published, true)
        {
            self.counts.published += 1;
            self.quiet_since = Instant::now();
        }
    }
}

impl Open {
    fn is_abandoned(&self) -> bool {
        !self.has_request && !self.is_published && self.since.elapsed() > ABANDONED_AFTER
    }
}

/// An order whose publish has no outcome yet. If it is dropped, the order may be stored.
#[derive(Debug)]
pub(crate) struct Request {
    ledger: Arc<Ledger>,
    order: Order,
}

impl Request {
    pub(crate) fn order(&self) -> &Order {
        &self.order
    }

    /// nsqd's OK was read.
    pub(crate) fn published(self) {
        self.ledger.state().published(self.order.id);
    }

    /// nsqd has not stored the order and will not.
    pub(crate) fn not_stored(self) {
        let mut state = self.ledger.state();
        state.open.remove(&self.order.id);
        state.counts.rejected += 1;
        // Dropping `self` locks it again.
        drop(state);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.ledger.state();
        state.counts.requests -= 1;
        if let Some(open) = state.open.get_mut(&self.order.id) {
            open.has_request = false;
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            published,
            results,
            retried,
            rejected,
            ..
        } = self;
        write!(
            f,
            "{published} published, {results} results, {retried} retried, {rejected} rejected"
        )
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
