//! The signals that terminate a program: SIGTERM and Ctrl-C.

use std::{io, thread};

use tokio::{runtime::Builder, sync::oneshot};

/// Installs the signal handlers, and returns a future that ends with the first signal.
///
/// A signal for which nothing waits, because another one came before or the future was dropped,
/// calls `exit`. A thread of its own receives the signals, because the program may block.
pub(crate) fn terminated(exit: fn() -> !) -> io::Result<impl Future<Output = ()>> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::new()?
    };
    let (first, is_first) = oneshot::channel();
    let receive = async move {
        signals.next().await;
        if first.send(()).is_ok() {
            signals.next().await;
        }
    };
    thread::Builder::new().spawn(move || {
        runtime.block_on(receive);
        exit()
    })?;
    Ok(async {
        // An error means that the program exits.
        let _ = is_first.await;
    })
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals(tokio::signal::windows::CtrlC);

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        tokio::signal::windows::ctrl_c().map(Self)
    }

    async fn next(&mut self) {
        self.0.recv().await;
    }
}
