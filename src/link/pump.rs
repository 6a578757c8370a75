//! What runs at the end of each poll of an actor, when its mailbox is empty: it hands over what the
//! burst of messages has produced, keeps the one timer, and stops an actor that is not used any
//! more.

use std::{
    pin::Pin,
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use actix::{Actor, ActorFuture, AsyncContext, Context};
use tokio::time::{Sleep, sleep};

use super::clock::now;
use crate::conn::{LazyTimer, ReadsSent, wake_deferred};

/// Messages handled before other tasks of the arbiter run. actix empties a mailbox without
/// yielding, however fast it is filled; its feature `mailbox_assert` panics at 256 messages, of
/// which a few come from the connection.
pub(crate) const BURST: usize = 192;

/// How often an actor without addresses looks for cancelled requests.
const RECHECK: Duration = Duration::from_millis(100);

/// An actor whose work is done at the end of each poll.
pub(crate) trait Pumped: Actor<Context = Context<Self>> {
    fn burst(&mut self) -> &mut Burst;

    /// Ends a burst: hands over what has become ready at `now`, and does what is due.
    ///
    /// Deadlines after `due` are not judged yet, and none without `due`: what would keep them may
    /// have arrived already.
    fn flush(&mut self, now: Instant, due: Option<Instant>, ctx: &mut Context<Self>);

    /// When the next flush is due at the latest.
    fn next_deadline(&self) -> Option<Instant>;

    /// Whether callers still have to be answered.
    fn is_busy(&self) -> bool;

    /// Passes events on to subscribers. The actor is polled again when they have handled some.
    fn poll_subscribers(&mut self, cx: &mut TaskContext<'_>);

    /// Removes requests whose callers have cancelled them: no address is left.
    fn remove_cancelled(&mut self);

    /// The budget of another poll is available. Returns whether something was left undone in the
    /// last one, for which the actor is to be polled again.
    fn renew_budget(&mut self) -> bool {
        false
    }

    /// The last address is dropped and nothing is outstanding: stops for good.
    fn stop_unused(&mut self, ctx: &mut Context<Self>);

    /// Counts a message and returns the time of its burst.
    fn on_message(&mut self, ctx: &mut Context<Self>) -> Instant {
        self.burst().messages += 1;
        if self.burst().messages >= BURST {
            flush(self, ctx);
            ctx.wait(Work {
                step: |_: &mut Self, _: &mut Context<Self>| true,
                has_yielded: false,
            });
        }
        self.burst().on_connection_message()
    }
}

/// The messages that are handled in one poll.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    /// Messages since other tasks of the arbiter last ran.
    messages: usize,
    /// All messages of the actor, by which the pump sees whether the mailbox is at rest.
    messages_seen: u64,
    /// The time of this burst: the clock is read once.
    now: Option<Instant>,
    timer: Option<LazyTimer>,
    /// The deadline for which the timer has fired in this poll.
    fired: Option<Instant>,
    /// Deadlines until then are judged by the next flush after this number of reads was handled.
    due: Option<(Instant, u64)>,
    /// Reads of all connections whose frames are on the way or handled.
    pub(super) reads_sent: ReadsSent,
    reads_handled: u64,
}

impl Burst {
    /// Counts a message that a connection sent, and returns the time of its burst. It does not
    /// count towards [`BURST`]: a connection sends one per read.
    pub(crate) fn on_connection_message(&mut self) -> Instant {
        self.messages_seen += 1;
        self.now()
    }

    /// Counts the frames of a read.
    pub(crate) fn on_frames(&mut self) -> Instant {
        self.reads_handled += 1;
        self.on_connection_message()
    }

    /// Counts messages that came as one.
    pub(crate) fn count(&mut self, messages: usize) {
        self.messages += messages;
    }

    /// The time of this burst.
    pub(crate) fn now(&mut self) -> Instant {
        *self.now.get_or_insert_with(now)
    }

    /// The other tasks of the arbiter have run since the last poll.
    fn on_other_tasks_run(&mut self) {
        let fired = self.fired.take();
        let reads = self.reads_sent.get();
        self.due = self.due.or_else(|| fired.map(|due| (due, reads)));
    }

    /// Until when deadlines are to be judged now.
    fn take_due(&mut self) -> Option<Instant> {
        let handled = self.reads_handled;
        let due = self.due.take_if(|(_, reads)| *reads <= handled);
        due.map(|(due, _)| due)
    }
}

/// Ends a burst.
pub(crate) fn flush<A: Pumped>(actor: &mut A, ctx: &mut Context<A>) {
    let burst = actor.burst();
    burst.messages = 0;
    let due = burst.take_due();
    // A burst is short: what is ready at its begin is handed over at its end.
    let now = burst.now.take().unwrap_or_else(now);
    actor.flush(now, due, ctx);
}

/// Notes whether the next flush is due. The timer is moved only if it is late or has fired, so that
/// a message costs no timer.
///
/// If the arbiter was blocked, a deadline may have passed although what would keep it is in the
/// socket. tokio checks the sockets before it fires a timer, and the reader then runs before any
/// task that is woken later. So a deadline is judged one poll after its timer has fired, and after
/// the frames that the reader has sent until then.
fn poll_timer<A: Pumped>(actor: &mut A, cx: &mut TaskContext<'_>) -> Poll<()> {
    let next = actor.next_deadline();
    let Burst { timer, fired, .. } = actor.burst();
    let Some(next) = next.map(tokio::time::Instant::from_std) else {
        *timer = None;
        return Poll::Pending;
    };
    let timer = timer.get_or_insert_with(|| LazyTimer::new(next));
    if timer.due() > next || timer.has_fired() {
        timer.set(next);
    }
    let polled = timer.poll(cx);
    if polled.is_ready() {
        *fired = Some(timer.due().into_std());
    }
    polled
}

/// The actor's one permanent future.
#[derive(Default)]
pub(crate) struct Pump {
    /// How many messages were seen when no address was left.
    unused_since: Option<u64>,
    /// When an actor without addresses looks for cancelled requests again.
    recheck: Option<Pin<Box<Sleep>>>,
}

impl<A: Pumped> ActorFuture<A> for Pump {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut Context<A>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        actor.burst().on_other_tasks_run();
        flush(actor, ctx);
        if poll_timer(actor, cx).is_ready() {
            wake_deferred(cx);
        }
        actor.poll_subscribers(cx);
        self.stop_unused(actor, ctx, cx);
        if actor.renew_budget() {
            wake_deferred(cx);
        }
        Poll::Pending
    }
}

impl Pump {
    /// Removes cancelled requests, now and every 100 ms: that a caller drops its request does not
    /// wake the actor.
    fn remove_cancelled<A: Pumped>(&mut self, actor: &mut A, cx: &mut TaskContext<'_>) {
        loop {
            let recheck = self.recheck.get_or_insert_with(|| Box::pin(sleep(RECHECK)));
            if recheck.as_mut().poll(cx).is_pending() {
                return;
            }
            self.recheck = None;
            actor.remove_cancelled();
        }
    }

    /// Stops the actor when no address is left and no caller waits. It looks twice: the last
    /// message may arrive after the mailbox was emptied, and its sender drop the last address right
    /// after.
    fn stop_unused<A: Pumped>(
        &mut self,
        actor: &mut A,
        ctx: &mut Context<A>,
        cx: &mut TaskContext<'_>,
    ) {
        let messages_seen = actor.burst().messages_seen;
        if !ctx.connected() && actor.is_busy() {
            self.remove_cancelled(actor, cx);
        }
        if ctx.connected() || actor.is_busy() {
            self.unused_since = None;
        } else if self.unused_since == Some(messages_seen) {
            actor.stop_unused(ctx);
        } else {
            self.unused_since = Some(messages_seen);
            cx.waker().wake_by_ref();
        }
    }
}

/// Does work that may take several polls: `step` goes on with it as far as one poll may, and
/// returns whether it is complete. Until then the actor handles no message.
pub(crate) fn work<A: Pumped>(
    actor: &mut A,
    ctx: &mut Context<A>,
    mut step: impl FnMut(&mut A, &mut Context<A>) -> bool + Unpin + 'static,
) {
    if !step(actor, ctx) {
        ctx.wait(Work {
            step,
            has_yielded: false,
        });
    }
}

/// Lets the other tasks of the arbiter run, and its I/O and timer drivers, before each step.
struct Work<F> {
    step: F,
    has_yielded: bool,
}

impl<A, F> ActorFuture<A> for Work<F>
where
    A: Pumped,
    F: FnMut(&mut A, &mut Context<A>) -> bool + Unpin,
{
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        actor: &mut A,
        ctx: &mut Context<A>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<()> {
        // However long the other tasks took, the next burst begins now.
        actor.burst().now = None;
        if self.has_yielded {
            actor.burst().on_other_tasks_run();
            if (self.step)(actor, ctx) {
                return Poll::Ready(());
            }
        }
        self.has_yielded = true;
        actor.renew_budget();
        // The pump is not polled meanwhile.
        let _ = poll_timer(actor, cx);
        wake_deferred(cx);
        Poll::Pending
    }
}
