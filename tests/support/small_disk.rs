//! A disk of its own for a program: small, to be filled and freed again.
//!
//! It is a tmpfs that nobody but the program sees, and that goes with it: nothing is left to be unmounted, whatever happens.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Why no such disk can be had here; `None` where it can.
pub fn problem() -> Option<String> {
    unshare().err()
}

/// What makes a mount namespace here: as root, or else with a user namespace around it.
fn unshare() -> Result<&'static str, String> {
    static FLAGS: OnceLock<Result<&str, String>> = OnceLock::new();
    let look = || {
        let mut problem = String::new();
        for flags in ["-m", "-rm"] {
            let tried = Command::new("unshare")
                .args([flags, "sh", "-c", "mount -t tmpfs -o size=1m disk /tmp"])
                .stdin(Stdio::null())
                .output();
            match tried {
                Ok(tried) if tried.status.success() => return Ok(flags),
                Ok(tried) => problem = String::from_utf8_lossy(&tried.stderr).trim().to_owned(),
                Err(e) => problem = format!("unshare: {e}"),
            }
        }
        Err(format!("no disk can be mounted: {problem}"))
    };
    FLAGS.get_or_init(look).clone()
}

/// A command that runs `program`, for whom `folder` is an empty disk of so many bytes. It keeps the process that it starts:
/// a signal to the child is one to the program.
pub fn command(program: &Path, folder: &Path, bytes: u64) -> io::Result<Command> {
    let flags = unshare().map_err(io::Error::other)?;
    let script = r#"mount -t tmpfs -o "size=$1" disk "$2" && shift 2 && exec "$@""#;
    let mut command = Command::new("unshare");
    command
        .args([flags, "sh", "-c", script, "sh"])
        .arg(bytes.to_string())
        .arg(folder)
        .arg(program);
    Ok(command)
}

/// The folder as the process sees it.
fn seen_by(pid: u32, folder: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    root.join(folder.strip_prefix("/").unwrap_or(folder))
}

fn filler(pid: u32, folder: &Path) -> PathBuf {
    seen_by(pid, folder).join("filler")
}

/// Takes all that is free of the process's disk. What is begun of a file's last page stays its own.
pub fn fill(pid: u32, folder: &Path) -> io::Result<()> {
    let mut filler = File::create(filler(pid, folder))?;
    loop {
        match filler.write(&[0; 4096]) {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::StorageFull => return Ok(()),
            Err(e) => return Err(e),
        }
    }
}

/// Gives it back.
pub fn free(pid: u32, folder: &Path) -> io::Result<()> {
    fs::remove_file(filler(pid, folder))
}
