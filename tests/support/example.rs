//! An example of this crate as a program: brought up to date by cargo, since an old one would prove nothing.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Lets cargo build the example as this test was built; the program.
pub fn build(name: &str) -> io::Result<PathBuf> {
    // `<target>/<profile>/deps/broker-0123456789abcdef`
    let test = std::env::current_exe()?;
    let folder = test.ancestors().nth(2).unwrap_or(Path::new(""));
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
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
    match program.is_file() {
        true => Ok(program),
        false => Err(io::Error::other(format!(
            "{} is missing",
            program.display()
        ))),
    }
}
