//! Finds a real nsqd: in `NSQD_BIN` or `PATH`, or built from `tests/nsqd`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{fs, io};

/// The programs that `tests/nsqd` builds.
const PROGRAMS: &[&str] = &["nsqd", "nsqlookupd", "nsq_tail", "nsq_stat", "to_nsq"];

#[derive(Clone, Debug)]
pub enum Found {
    At(PathBuf),
    /// With the reason.
    Missing(String),
}

/// Finds nsqd, once per process.
pub fn find() -> &'static Found {
    static FOUND: OnceLock<Found> = OnceLock::new();
    FOUND.get_or_init(|| look_for_nsqd().map_or_else(Found::Missing, Found::At))
}

/// Whether tests fail instead of being ignored without a real nsqd: `NSQD_REQUIRED=1`.
pub fn is_required() -> bool {
    std::env::var_os("NSQD_REQUIRED").is_some_and(|value| !value.is_empty() && value != "0")
}

fn look_for_nsqd() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os("NSQD_BIN").filter(|value| !value.is_empty()) {
        let named = PathBuf::from(named);
        if !named.is_file() {
            return Err(format!("NSQD_BIN: {} is not a file", named.display()));
        }
        return Ok(named);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path)
        .map(|folder| folder.join("nsqd"))
        .find(|file| file.is_file());
    in_path.map_or_else(build, Ok)
}

/// Cargo's target folder: from cargo for a test, else from an example's path,
/// `<target>/<profile>/examples/`.
fn target_folder() -> Result<PathBuf, String> {
    if let Some(folder) = option_env!("CARGO_TARGET_TMPDIR") {
        return Ok(Path::new(folder)
            .parent()
            .unwrap_or(Path::new("target"))
            .to_owned());
    }
    let program = std::env::current_exe().map_err(|e| format!("no path of this program: {e}"))?;
    let mut above = program.ancestors().skip(1);
    let is_examples = |folder: &Path| folder.file_name().is_some_and(|name| name == "examples");
    match (above.next(), above.nth(1)) {
        (Some(folder), Some(target)) if is_examples(folder) => Ok(target.to_owned()),
        _ => Err("no nsqd in NSQD_BIN or PATH, and no target folder to build one in".to_owned()),
    }
}

/// Builds NSQ's programs into `<target>/nsqd/`, unless they were built from the same module.
///
/// Several processes may build at once: each builds in its own folder and moves the programs.
fn build() -> Result<PathBuf, String> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/nsqd");
    let target = &target_folder()?;
    let folder = target.join("nsqd");
    let nsqd = folder.join("nsqd");
    let stamp = folder.join("go.sum");

    let go_sum = fs::read(module.join("go.sum")).map_err(|e| format!("tests/nsqd/go.sum: {e}"))?;
    if nsqd.is_file() && fs::read(&stamp).is_ok_and(|built_from| built_from == go_sum) {
        return Ok(nsqd);
    }

    eprintln!("building a real nsqd in {} (once)", folder.display());
    let workshop = tempfile::Builder::new()
        .prefix("nsqd-build-")
        .tempdir_in(target)
        .map_err(|e| format!("no folder to build nsqd in: {e}"))?;
    let built = Command::new("go")
        .current_dir(&module)
        // Independent of C compilers and of an outer workspace.
        .envs([("CGO_ENABLED", "0"), ("GOWORK", "off")])
        .args(["build", "-o"])
        .arg(workshop.path())
        .args(
            PROGRAMS
                .iter()
                .map(|program| format!("github.com/nsqio/nsq/apps/{program}")),
        )
        .stdin(Stdio::null())
        .output()
        .map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                "no nsqd in NSQD_BIN or PATH, and no Go to build one with".to_owned()
            }
            _ => format!("go could not be run: {e}"),
        })?;
    if !built.status.success() {
        let stderr = String::from_utf8_lossy(&built.stderr);
        return Err(format!(
            "go build of nsqd failed ({}):\n{stderr}",
            built.status
        ));
    }

    let put_in_place = || -> io::Result<()> {
        fs::create_dir_all(&folder)?;
        for program in PROGRAMS {
            fs::rename(workshop.path().join(program), folder.join(program))?;
        }
        // Last, because it marks the build as complete.
        let sum = workshop.path().join("go.sum");
        fs::write(&sum, &go_sum)?;
        fs::rename(sum, &stamp)
    };
    put_in_place()
        .map_err(|e| format!("built nsqd could not be put into {}: {e}", folder.display()))?;
    Ok(nsqd)
}
