//! Builds examples, which tests start as programs.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The path of an example: from a variable such as `TO_NSQ_BIN`, or built with the test's profile.
pub fn program(name: &str) -> io::Result<PathBuf> {
    program_in(name, None)
}

/// The path of an example built with this profile, such as `release`.
pub fn program_in(name: &str, profile: impl Into<Option<&'static str>>) -> io::Result<PathBuf> {
    type Programs = HashMap<(String, Option<&'static str>), PathBuf>;
    static PROGRAMS: Mutex<Option<Programs>> = Mutex::new(None);
    if let Some(named) = std::env::var_os(variable(name)) {
        return Ok(named.into());
    }
    // Held while cargo builds, so that it builds each example once.
    let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    let programs = programs.get_or_insert_default();
    let key = (name.to_owned(), profile.into());
    if let Some(program) = programs.get(&key) {
        return Ok(program.clone());
    }
    let program = build(name, key.1)
        .map_err(|e| io::Error::other(format!("the example {name} cannot be built: {e}")))?;
    programs.insert(key, program.clone());
    Ok(program)
}

fn variable(name: &str) -> String {
    format!("{}_BIN", name.to_uppercase())
}

fn build(name: &str, profile: Option<&str>) -> io::Result<PathBuf> {
    // `<target>/<profile>/deps/broker-0123456789abcdef`
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).unwrap_or(Path::new(""));
    let folder = profile.map_or_else(
        || folder.to_owned(),
        |profile| folder.with_file_name(profile),
    );
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo has set for the test would make it rebuild ring and everything above it.
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("CARGO_PKG_") || name_text.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    let built = cargo
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--quiet", "--example", name, "--profile", profile])
        .stdin(Stdio::null())
        .output()?;
    if !built.status.success() {
        return Err(io::Error::other(
            String::from_utf8_lossy(&built.stderr).into_owned(),
        ));
    }
    let program = folder
        .join("examples")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    if !program.is_file() {
        let (path, variable) = (program.display(), variable(name));
        return Err(io::Error::other(format!(
            "{path} is missing; {variable} may name another one"
        )));
    }
    Ok(program)
}
