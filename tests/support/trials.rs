//! What the binaries with trials of their own share: when a trial is ignored, and what a panic says.

use std::any::Any;

use libtest_mimic::{Completion, Failed};

use super::broker::Kind;
use super::nsqd_program::{self, Found};

/// How a trial ends that needs a real nsqd where there is none: ignored, with the reason, or failed where one is required.
/// `None`: go on.
pub fn without_a_real_nsqd(kind: Kind) -> Option<Result<Completion, Failed>> {
    match (kind, nsqd_program::find()) {
        (Kind::Real, Found::Missing(reason)) => Some(missing("real nsqd", reason)),
        _ => None,
    }
}

/// How a trial ends that misses something, such as another program.
pub fn missing(what: &str, reason: &str) -> Result<Completion, Failed> {
    match nsqd_program::is_required() {
        true => Err(format!("NSQD_REQUIRED is set, and there is no {what}: {reason}").into()),
        false => Ok(Completion::ignored_with(reason)),
    }
}

/// What was said with a panic.
pub fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without words")
        .to_owned()
}
