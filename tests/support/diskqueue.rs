//! Whether nsqd could recover what is in its data folder now: a look at its files, to blame nobody else for its losses.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// Whether a kill -9 at this moment would lose nothing that nsqd has answered OK, under `--sync-every=1`.
///
/// nsqd answers OK when a message is in its queue's file, and writes the queue's metadata a moment later. After a kill it
/// salvages what lies behind the end that the metadata tell of, but only in the file that they name: messages in a file
/// that was begun since (the first after a start or restart) are written over. So the metadata of every queue must name its
/// newest file. And a topic of which `nsqd.dat` knows nothing is not loaded.
pub fn is_recoverable(data: &Path) -> bool {
    let Some(newest) = newest_files(data) else {
        return false;
    };
    let topics = fs::read_to_string(data.join("nsqd.dat")).unwrap_or_default();
    newest.iter().all(|(queue, newest)| {
        // A channel's queue is called `topic:channel`.
        let is_known = queue
            .split(':')
            .all(|name| topics.contains(&format!("\"{name}\"")));
        is_known && file_in_metadata(data, queue).is_some_and(|named| named >= *newest)
    })
}

/// The highest number of a data file for each queue; `None` when the folder cannot be read.
fn newest_files(data: &Path) -> Option<HashMap<String, u64>> {
    let mut newest: HashMap<String, u64> = HashMap::new();
    for entry in fs::read_dir(data).ok()? {
        let name = entry.ok()?.file_name().into_string().ok()?;
        // `topic.diskqueue.000000.dat`
        let number = name
            .strip_suffix(".dat")
            .and_then(|name| name.split_once(".diskqueue."));
        if let Some((queue, Ok(number))) = number.map(|(queue, number)| (queue, number.parse())) {
            let highest = newest.entry(queue.to_owned()).or_insert(number);
            *highest = number.max(*highest);
        }
    }
    Some(newest)
}

/// The number of the file that is written to, from the metadata: `depth\nread file,position\nwrite file,position\n`.
fn file_in_metadata(data: &Path, queue: &str) -> Option<u64> {
    let metadata = fs::read_to_string(data.join(format!("{queue}.diskqueue.meta.dat"))).ok()?;
    metadata.lines().nth(2)?.split_once(',')?.0.parse().ok()
}
