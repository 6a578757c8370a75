//! Finds the programs of NSQ: nsqd in `NSQD_BIN` or `PATH`, or built from `tests/nsqd/<version>`;
//! nsqlookupd in the same way with `NSQLOOKUPD_BIN`; the others beside nsqd, in `PATH`, or built.

use std::env::consts::EXE_SUFFIX;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::{env, fs, io};

use super::nsqd_version::Version;

/// The programs that are built.
const PROGRAMS: &[&str] = &[
    "nsqd",
    "nsqlookupd",
    "nsq_stat",
    "nsq_tail",
    "nsq_to_file",
    "nsq_to_nsq",
    "to_nsq",
];

#[derive(Clone, Debug)]
pub enum Found {
    At(Nsqd),
    /// With the reason.
    Missing(String),
}

/// A program of NSQ: nsqd, or nsqlookupd.
#[derive(Clone, Debug)]
pub struct Nsqd {
    pub program: PathBuf,
    pub version: Version,
}

impl Nsqd {
    /// Asks a program for its version: `nsqd --version` prints `nsqd v1.3.0 (built w/go1.26.8)`.
    pub fn at(program: PathBuf) -> Result<Self, String> {
        let shown = program.display();
        let output = Command::new(&program)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|e| format!("cannot run {shown}: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.split_whitespace().nth(1).and_then(Version::parse) {
            Some(version) => Ok(Self { program, version }),
            None => Err(format!("{shown} --version printed no version: {text:?}")),
        }
    }
}

/// Finds nsqd, once per process.
pub fn find() -> &'static Found {
    static FOUND: OnceLock<Found> = OnceLock::new();
    FOUND.get_or_init(|| look_for("nsqd", "NSQD_BIN").map_or_else(Found::Missing, Found::At))
}

/// Finds nsqlookupd, once per process.
pub fn find_lookupd() -> &'static Found {
    static FOUND: OnceLock<Found> = OnceLock::new();
    FOUND.get_or_init(|| {
        look_for("nsqlookupd", "NSQLOOKUPD_BIN").map_or_else(Found::Missing, Found::At)
    })
}

/// Finds another program of NSQ. It has the version of nsqd, unless it is one in `PATH`.
pub fn find_other(name: &str) -> Result<PathBuf, String> {
    let nsqd = match find() {
        Found::At(nsqd) => nsqd,
        Found::Missing(reason) => return Err(reason.clone()),
    };
    let file = format!("{name}{EXE_SUFFIX}");
    let beside = nsqd.program.with_file_name(&file);
    if beside.is_file() {
        return Ok(beside);
    }
    match in_path(&file) {
        Some(program) => Ok(program),
        None => Ok(build(nsqd.version.module())?.join(file)),
    }
}

/// Whether tests fail instead of being ignored without a real nsqd: `NSQD_REQUIRED=1`.
pub fn is_required() -> bool {
    variable("NSQD_REQUIRED").is_some_and(|value| value != "0")
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Looks for a program, which a variable of the environment may name.
fn look_for(name: &str, variable_name: &str) -> Result<Nsqd, String> {
    let wanted = match variable("NSQD_VERSION") {
        None => None,
        Some(text) => Some(Version::buildable(&text.to_string_lossy())?),
    };
    if let Some(named) = variable(variable_name) {
        let nsqd = Nsqd::at(named.into()).map_err(|e| format!("{variable_name}: {e}"))?;
        return match wanted {
            Some(wanted) if wanted != nsqd.version => Err(format!(
                "{variable_name} is {name} {}, but NSQD_VERSION is {wanted}: unset one of them",
                nsqd.version
            )),
            _ => Ok(nsqd),
        };
    }
    // One in `PATH` that does not run, or that has another version than the one that is asked for,
    // does not prevent a build.
    let is_wanted = |nsqd: &Nsqd| wanted.is_none_or(|wanted| wanted == nsqd.version);
    if let Some(nsqd) = in_path(&format!("{name}{EXE_SUFFIX}"))
        .and_then(|program| Nsqd::at(program).ok())
        .filter(is_wanted)
    {
        return Ok(nsqd);
    }
    let version = wanted.unwrap_or(Version::LATEST);
    Ok(Nsqd {
        program: build(version)?.join(format!("{name}{EXE_SUFFIX}")),
        version,
    })
}

fn in_path(file: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(file))
        .find(|file| file.is_file())
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
    let program = env::current_exe().map_err(|e| format!("no path of this program: {e}"))?;
    let mut above = program.ancestors().skip(1);
    let is_examples = |folder: &Path| folder.file_name().is_some_and(|name| name == "examples");
    match (above.next(), above.nth(1)) {
        (Some(folder), Some(target)) if is_examples(folder) => Ok(target.to_owned()),
        _ => Err("no nsqd in NSQD_BIN or PATH, and no target folder to build one in".to_owned()),
    }
}

/// Builds NSQ's programs into `<target>/nsqd/<version>/`, unless they were built from the same
/// module, and returns the folder.
///
/// Several processes may build at once: each builds in its own folder and moves the programs.
fn build(version: Version) -> Result<PathBuf, String> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/nsqd/{version}"));
    let target = &target_folder()?;
    let folder = target.join(format!("nsqd/{version}"));
    let stamp = folder.join("go.sum");
    let files: Vec<_> = PROGRAMS
        .iter()
        .map(|program| format!("{program}{EXE_SUFFIX}"))
        .collect();

    let go_sum =
        fs::read(module.join("go.sum")).map_err(|e| format!("{}/go.sum: {e}", module.display()))?;
    let is_complete = files.iter().all(|file| folder.join(file).is_file());
    if is_complete && fs::read(&stamp).is_ok_and(|built_from| built_from == go_sum) {
        return Ok(folder);
    }

    eprintln!("building nsqd {version} in {} (once)", folder.display());
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
                format!("no nsqd {version} in NSQD_BIN or PATH, and no Go to build one with")
            }
            _ => format!("go could not be run: {e}"),
        })?;
    if !built.status.success() {
        let stderr = String::from_utf8_lossy(&built.stderr);
        return Err(format!(
            "go build of nsqd {version} failed ({}):\n{stderr}",
            built.status
        ));
    }

    let put_in_place = || -> io::Result<()> {
        fs::create_dir_all(&folder)?;
        for file in &files {
            fs::rename(workshop.path().join(file), folder.join(file))?;
        }
        // Last, because it marks the build as complete.
        let sum = workshop.path().join("go.sum");
        fs::write(&sum, &go_sum)?;
        fs::rename(sum, &stamp)
    };
    put_in_place()
        .map_err(|e| format!("built nsqd could not be put into {}: {e}", folder.display()))?;
    Ok(folder)
}
