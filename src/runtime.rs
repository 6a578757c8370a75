//! Whether actors can be started here.

use std::panic::catch_unwind;

use tokio::{runtime::Handle, task::spawn_local};

/// # Panics
///
/// Outside of an actix `System` and a tokio `LocalSet`, with the location of the caller.
#[track_caller]
pub(crate) fn assert_can_spawn(what: &str) {
    // tokio does not say whether a `LocalSet` is entered; it panics if none is.
    let can_spawn = Handle::try_current().is_ok() && catch_unwind(|| spawn_local(async {})).is_ok();
    assert!(
        can_spawn,
        "{what} was started outside of an actix System and a tokio LocalSet: use #[actix::main], \
         System::new().block_on(..) or LocalSet::run_until(..), or ProducerHandle::start_in_thread(..) \
         for a program without either"
    );
}
