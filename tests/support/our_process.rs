//! What this process holds and uses, as Linux tells it in `/proc`.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

/// How many files, sockets and the like are open.
pub fn descriptors() -> usize {
    // One of them is the folder itself.
    fs::read_dir("/proc/self/fd")
        .expect("Linux tells the open files")
        .count()
        - 1
}

/// How many connections of ours to this IPv4 address are open, as long as we hold their descriptor.
pub fn sockets_to(address: SocketAddr) -> usize {
    let SocketAddr::V4(address) = address else {
        panic!("an IPv4 address")
    };
    let remote = format!(
        "{:08X}:{:04X}",
        u32::from_ne_bytes(address.ip().octets()),
        address.port()
    );
    let ours: Vec<String> = fs::read_dir("/proc/self/fd")
        .expect("Linux tells the open files")
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    let table = fs::read_to_string("/proc/self/net/tcp").expect("Linux tells its sockets");
    let is_ours = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(2) == Some(&remote.as_str())
            && words
                .get(9)
                .is_some_and(|inode| ours.contains(&format!("socket:[{inode}]")))
    };
    table.lines().filter(is_ours).count()
}

/// The memory that is in use, in kB, without the pages of the program itself: those come when their code first runs.
pub fn allocated_kb() -> i64 {
    memory_kb("RssAnon:")
}

/// The memory that is in use, in kB.
pub fn resident_kb() -> i64 {
    memory_kb("VmRSS:")
}

/// The most memory that was in use, in kB, since the process began or [`forget_peak`] was called.
pub fn peak_kb() -> i64 {
    memory_kb("VmHWM:")
}

pub fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("Linux forgets our peak");
}

fn memory_kb(what: &str) -> i64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux tells our memory");
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .expect("it is in kB")
}

/// How long the calling thread has been running on a processor.
pub fn thread_cpu_time() -> Duration {
    let told = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells our time");
    let nanoseconds = told.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.expect("it is in nanoseconds"))
}
