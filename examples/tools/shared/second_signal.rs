//! The end of a program that does not end by itself after a signal.

use std::{io, process, thread};

use tokio::runtime::Builder;

use crate::signal::terminated;

/// Exits with this code on the next signal. It waits in a thread of its own, because the program
/// may block.
pub(crate) fn exit_on_next(code: i32) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let signal = {
        let _entered = runtime.enter();
        terminated()?
    };
    thread::spawn(move || {
        let _ = runtime.block_on(signal);
        process::exit(code);
    });
    Ok(())
}
