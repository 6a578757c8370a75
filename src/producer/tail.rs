//! What runs at the end of each of the producer's polls, when its mailbox is empty.

use std::{
    pin::{Pin, pin},
    task::{Context as Waker, Poll},
};

use actix::{ActorContext, ActorFuture, Context};
use tokio::{task::yield_now, time::Instant};

use super::Producer;
use crate::conn::LazyTimer;

/// The producer's one permanent item: it takes the turn that ends a burst, keeps the one timer, and sees when the
/// producer is no longer wanted.
#[derive(Default)]
pub(super) struct Tail {
    timer: Option<LazyTimer>,
    /// How many messages were handled when nobody was left to send one.
    unused: Option<u64>,
}

impl ActorFuture<Producer> for Tail {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        producer: &mut Producer,
        ctx: &mut Context<Producer>,
        cx: &mut Waker<'_>,
    ) -> Poll<()> {
        loop {
            producer.turn(ctx);
            if self.wait(producer, cx).is_pending() {
                break;
            }
        }
        self.end_unused(producer, ctx, cx);
        Poll::Pending
    }
}

impl Tail {
    /// Ready when the next turn is due at once. The timer is moved only when it is too late or has fired, so that a
    /// publish costs no timer.
    fn wait(&mut self, producer: &Producer, cx: &mut Waker<'_>) -> Poll<()> {
        let Some(due) = producer.due() else {
            self.timer = None;
            return Poll::Pending;
        };
        let due = Instant::from_std(due);
        let timer = self.timer.get_or_insert_with(|| LazyTimer::new(due));
        if timer.due() > due || timer.has_fired() {
            timer.set(due);
        }
        timer.poll(cx)
    }

    /// Ends the producer when no address is left and nobody waits. One look is not enough: the last message may have
    /// come in after the mailbox was emptied, and its sender be gone by now.
    fn end_unused(
        &mut self,
        producer: &mut Producer,
        ctx: &mut Context<Producer>,
        cx: &mut Waker<'_>,
    ) {
        if ctx.connected() || producer.is_busy() {
            self.unused = None;
        } else if self.unused == Some(producer.handled) {
            producer.unwanted = true;
            ctx.stop();
        } else {
            self.unused = Some(producer.handled);
            cx.waker().wake_by_ref();
        }
    }
}

/// Gives the arbiter's other tasks, its sockets and its timers their turn.
#[derive(Debug, Default)]
pub(super) struct YieldOnce {
    yielded: bool,
}

impl ActorFuture<Producer> for YieldOnce {
    type Output = ();

    fn poll(
        mut self: Pin<&mut Self>,
        producer: &mut Producer,
        _: &mut Context<Producer>,
        cx: &mut Waker<'_>,
    ) -> Poll<()> {
        // However long the others took, the next burst begins now.
        producer.now = None;
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        // It comes back only after sockets and timers were looked at, as a waker of our own would not.
        let _ = pin!(yield_now()).poll(cx);
        Poll::Pending
    }
}
