//! Shared by the binaries with their own test harness.

use std::any::Any;

use libtest_mimic::{Completion, Failed};

use super::broker::Kind;
use super::nsqd_program::{self, Found};

/// The result of a trial that needs a real nsqd if there is none: ignored, or failed if one is
/// required.
pub fn without_a_real_nsqd(kind: Kind) -> Option<Result<Completion, Failed>> {
    match (kind, nsqd_program::find()) {
        (Kind::Real, Found::Missing(reason)) => Some(missing("real nsqd", reason)),
        _ => None,
    }
}

/// The same for a trial that needs a real nsqlookupd.
pub fn without_a_real_lookupd(kind: Kind) -> Option<Result<Completion, Failed>> {
    match (kind, nsqd_program::find_lookupd()) {
        (Kind::Real, Found::Missing(reason)) => Some(missing("real nsqlookupd", reason)),
        _ => None,
    }
}

/// The result of a trial if something is missing.
pub fn missing(what: &str, reason: &str) -> Result<Completion, Failed> {
    if nsqd_program::is_required() {
        return Err(format!("NSQD_REQUIRED is set, and there is no {what}: {reason}").into());
    }
    Ok(Completion::ignored_with(reason))
}

/// The message of a panic.
pub fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message")
        .to_owned()
}
