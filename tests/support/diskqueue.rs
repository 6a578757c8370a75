//! Whether a killed nsqd would recover all messages in its data folder.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::nsqd_version::Version;

/// Whether SIGKILL would now lose no message that was answered `OK`, with `--sync-every=1`.
///
/// nsqd answers `OK` when a message is in the file of its queue, and writes the metadata of the
/// queue a moment later. After a kill, it recovers messages beyond the end in the metadata, but
/// only in the file named there: it overwrites a newer file, such as the first after a restart. So
/// the metadata of every queue must name its newest file, and with an older version also the end of
/// that file. A topic that is not in `nsqd.dat` is not loaded.
pub fn is_recoverable(data: &Path, version: Version) -> bool {
    let Some(newest) = newest_files(data) else {
        return false;
    };
    let topics = fs::read_to_string(data.join("nsqd.dat")).unwrap_or_default();
    newest.iter().all(|(queue, newest)| {
        // The queue of a channel is named `topic:channel`.
        let is_known = queue
            .split(':')
            .all(|name| topics.contains(&format!("\"{name}\"")));
        let Some((named, end)) = end_in_metadata(data, queue) else {
            return false;
        };
        is_known
            && named >= *newest
            && (version.recovers_beyond_metadata() || end == size(data, queue, named))
    })
}

/// The highest number of a data file of each queue. `None` if the folder cannot be read.
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

/// The number of the written file and its end, from
/// `depth\nread file,position\nwrite file,position\n`.
fn end_in_metadata(data: &Path, queue: &str) -> Option<(u64, u64)> {
    let metadata = fs::read_to_string(data.join(format!("{queue}.diskqueue.meta.dat"))).ok()?;
    let (number, end) = metadata.lines().nth(2)?.split_once(',')?;
    Some((number.parse().ok()?, end.parse().ok()?))
}

/// The size of a data file, which is 0 before the first message is written.
fn size(data: &Path, queue: &str, number: u64) -> u64 {
    let file = data.join(format!("{queue}.diskqueue.{number:06}.dat"));
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}
