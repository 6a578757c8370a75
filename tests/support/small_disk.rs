//! A small disk for one program: a tmpfs in a mount namespace, which ends with the program.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Why there can be no such disk here, if so.
pub fn problem() -> Option<String> {
    unshare().err()
}

/// The flags of `unshare` for a mount namespace: as root, or in a user namespace.
fn unshare() -> Result<&'static str, String> {
    static FLAGS: OnceLock<Result<&str, String>> = OnceLock::new();
    let find = || {
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
    FLAGS.get_or_init(find).clone()
}

/// A command that runs `program` with an empty disk of this size at `folder`. The program replaces
/// the started process, so that it receives signals.
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

/// The path of a folder in the namespace of a process.
fn seen_by(pid: u32, folder: &Path) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    root.join(folder.strip_prefix("/").unwrap_or(folder))
}

fn filler(pid: u32, folder: &Path) -> PathBuf {
    seen_by(pid, folder).join("filler")
}

/// Fills the disk of the process. Files may still grow within their last page.
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

/// Frees the disk again.
pub fn free(pid: u32, folder: &Path) -> io::Result<()> {
    fs::remove_file(filler(pid, folder))
}
