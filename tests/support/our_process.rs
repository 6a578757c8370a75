//! Resources of this process, from Linux's `/proc`.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Number of open file descriptors.
pub fn descriptors() -> usize {
    // Without that of the folder itself.
    fs::read_dir("/proc/self/fd")
        .expect("/proc/self/fd")
        .count()
        - 1
}

/// Number of threads.
pub fn threads() -> usize {
    let threads = fs::read_dir("/proc/self/task");
    threads.expect("/proc/self/task").count()
}

/// Number of connections to this IPv4 address whose descriptor is open.
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
        .expect("/proc/self/fd")
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .map(|target| target.to_string_lossy().into_owned())
        .collect();
    let table = fs::read_to_string("/proc/self/net/tcp").expect("/proc/self/net/tcp");
    let is_ours = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(2) == Some(&remote.as_str())
            && words
                .get(9)
                .is_some_and(|inode| ours.contains(&format!("socket:[{inode}]")))
    };
    table.lines().filter(is_ours).count()
}

/// Resident memory in kB, without pages of the program, which are loaded when they first run.
pub fn allocated_kb() -> i64 {
    memory_kb("RssAnon:")
}

/// Resident memory in kB.
pub fn resident_kb() -> i64 {
    memory_kb("VmRSS:")
}

/// Maximum of resident memory in kB, since the start or [`forget_peak`].
pub fn peak_kb() -> i64 {
    memory_kb("VmHWM:")
}

pub fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("/proc/self/clear_refs");
}

fn memory_kb(what: &str) -> i64 {
    let status = fs::read_to_string("/proc/self/status").expect("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .expect("it is in kB")
}

/// CPU time of this process, in user and system mode.
pub fn process_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.try_into().expect("it is not negative")
}

/// CPU time of the calling thread.
pub fn thread_cpu_time() -> Duration {
    let stat =
        fs::read_to_string("/proc/thread-self/schedstat").expect("/proc/thread-self/schedstat");
    let nanoseconds = stat.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.expect("it is in nanoseconds"))
}
