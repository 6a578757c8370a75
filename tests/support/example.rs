//! Builds examples and other programs, which tests start.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// The path of an example: from a variable such as `TO_NSQ_BIN`, or built with the test's profile.
pub fn program(name: &str) -> io::Result<PathBuf> {
    build_once(name, || {
        // `<target>/<profile>/deps/broker-0123456789abcdef`
        let test = std::env::current_exe()?;
        let folder = test.ancestors().nth(2).unwrap_or(Path::new(""));
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        build(&["--example", name, "--profile", profile])?;
        Ok(folder.join("examples").join(name))
    })
}

/// The path of a program of `tests/no_features`, built for release.
pub fn featureless_program(name: &str) -> io::Result<PathBuf> {
    build_once(name, || {
        let test = std::env::current_exe()?;
        let target = test.ancestors().nth(3).unwrap_or(Path::new(""));
        let target = target.join("no_features");
        build(&[
            "--release",
            "--manifest-path=tests/no_features/Cargo.toml",
            &format!("--target-dir={}", target.display()),
            "--bin",
            name,
        ])?;
        Ok(target.join("release").join(name))
    })
}

/// The program that a variable names, or that is built now or was before.
fn build_once(name: &str, build: impl FnOnce() -> io::Result<PathBuf>) -> io::Result<PathBuf> {
    static PROGRAMS: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let variable = format!("{}_BIN", name.to_uppercase());
    if let Some(named) = std::env::var_os(&variable) {
        return Ok(named.into());
    }
    // Held while cargo builds, so that it builds each program once.
    let mut programs = PROGRAMS.lock().unwrap_or_else(PoisonError::into_inner);
    let programs = programs.get_or_insert_default();
    if let Some(program) = programs.get(name) {
        return Ok(program.clone());
    }
    let program = build()
        .map_err(|e| io::Error::other(format!("{name} cannot be built: {e}")))?
        .with_extension(std::env::consts::EXE_EXTENSION);
    if !program.is_file() {
        let path = program.display();
        return Err(io::Error::other(format!(
            "{path} is missing; {variable} may name another one"
        )));
    }
    programs.insert(name.to_owned(), program.clone());
    Ok(program)
}

/// Runs `cargo build`.
fn build(arguments: &[&str]) -> io::Result<()> {
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
        .args(["build", "--quiet", "--locked"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()?;
    if built.status.success() {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&built.stderr).into_owned(),
    ))
}
