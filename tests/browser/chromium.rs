//! Chromium, driven by its command line.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{env, fs, io};

use crate::support::tool::Tool;
use crate::support::wait;

/// The names under which Debian and others install it. The first one has no window system.
const NAMES: [&str; 5] = [
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
];

/// Longest run: above the longest time for which the proxy holds the page.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The color scheme that the system asks for.
#[derive(Clone, Copy, Debug)]
pub enum Scheme {
    Light,
    Dark,
}

/// A window.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub width: u32,
    pub height: u32,
    pub scheme: Scheme,
}

/// Whether a missing browser is a failure: `BROWSER_REQUIRED=1`.
pub fn is_required() -> bool {
    env::var_os("BROWSER_REQUIRED").is_some_and(|value| !value.is_empty() && value != "0")
}

/// Finds Chromium: the program that `CHROMIUM_BIN` names, or one in `PATH`.
pub fn find() -> Result<PathBuf, String> {
    if let Some(named) = env::var_os("CHROMIUM_BIN").filter(|value| !value.is_empty()) {
        return Ok(named.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).collect();
    NAMES
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
        .ok_or_else(|| format!("no Chromium in CHROMIUM_BIN or PATH: {}", NAMES.join(", ")))
}

/// Loads a page, and returns its document when the load event was fired.
pub fn dump_dom(program: &Path, window: Window, url: &str) -> io::Result<String> {
    run(program, window, &["--dump-dom".into(), url.into()])
}

/// Loads a page, and writes a picture of it when the load event was fired.
pub fn screenshot(program: &Path, window: Window, url: &str, file: &Path) -> io::Result<()> {
    let mut option = OsString::from("--screenshot=");
    option.push(file);
    run(program, window, &[option, url.into()])?;
    match fs::metadata(file) {
        Ok(_) => Ok(()),
        Err(error) => Err(io::Error::other(format!("no screenshot: {error}"))),
    }
}

fn run(program: &Path, window: Window, arguments: &[OsString]) -> io::Result<String> {
    let profile = tempfile::tempdir()?;
    let mut data = OsString::from("--user-data-dir=");
    data.push(profile.path());
    let Window {
        width,
        height,
        scheme,
    } = window;
    let scheme = match scheme {
        Scheme::Dark => 0,
        Scheme::Light => 1,
    };
    let mut command = Command::new(program);
    command
        // The sandbox does not work for root, or in many containers.
        .args(["--headless", "--no-sandbox", "--disable-gpu"])
        .args(["--hide-scrollbars", "--no-first-run", "--disable-lcd-text"])
        .arg(format!("--window-size={width},{height}"))
        .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
        .arg(data)
        .args(arguments);
    let mut chromium = Tool::run(command)?;
    let ended = wait::poll(TIMEOUT, || (!chromium.is_running()).then_some(()));
    match ended {
        Some(()) => Ok(chromium.stdout()),
        None => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("Chromium does not exit:\n{}", chromium.stderr()),
        )),
    }
}
