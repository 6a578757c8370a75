//! Shared by the binaries with their own test harness.

use std::any::Any;
use std::env;
use std::process::{Command, Stdio};

use libtest_mimic::{Completion, Failed};

use super::broker::Kind;
use super::nsqd_program::{self, Found};

/// Set for a process that runs one trial.
const OWN_PROCESS: &str = "TRIAL_PROCESS";

/// Whether this process was started by [`run_process`].
pub fn is_own_process() -> bool {
    env::var_os(OWN_PROCESS).is_some()
}

/// Runs one trial in a new process of this program.
pub fn run_process(name: &str) -> Result<Completion, Failed> {
    let ran = Command::new(env::current_exe()?)
        .args([name, "--exact"])
        .env(OWN_PROCESS, "1")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if ran.status.success() {
        Ok(Completion::Completed)
    } else {
        Err(String::from_utf8_lossy(&ran.stdout).into_owned().into())
    }
}

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
