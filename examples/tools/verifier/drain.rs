//! The end of a run: consumes all messages from nsqd with a client that shares no code with the
//! crate.

use std::{
    io,
    sync::{Mutex, PoisonError},
    thread,
};

use crate::support::{
    raw_client,
    real_nsqd::RealNsqd,
    record::{Audit, Record},
};

/// The number of messages is unknown: a topic is empty when no more messages arrive.
const UNKNOWN: usize = usize::MAX;

/// With the flags of the run, nsqd would write every message to disk again when it moves to a
/// channel. It is not killed any more.
const FLAGS: &[&str] = &[];

/// Consumes all topics at the same time, and compares.
pub(crate) fn drain(nsqd: &mut RealNsqd, record: Record) -> io::Result<Audit> {
    // Ends every connection, also commands that nsqd has received and not executed.
    nsqd.sigterm()?;
    nsqd.restart_with(FLAGS)?;
    let nsqd = &*nsqd;
    let topics = record.topics();
    let record = Mutex::new(record);
    let empty = &|topic: &String| {
        let left = || nsqd.unfinished(topic).ok();
        let access = raw_client::Access::default();
        raw_client::drain(&access, &nsqd.address(), topic, UNKNOWN, left, |_, body| {
            let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
            record.found(topic, &body);
        })
    };
    thread::scope(|scope| {
        let start = |topic| scope.spawn(move || empty(topic));
        let drains: Vec<_> = topics.iter().map(start).collect();
        for drain in drains {
            let drained = drain.join();
            drained.unwrap_or_else(|_| Err(io::Error::other("the consumer panicked")))?;
        }
        io::Result::Ok(())
    })?;
    let record = record.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(record.finish())
}
