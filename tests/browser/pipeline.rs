//! The example `actix_web_pipeline` as a person sees it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use libtest_mimic::{Completion, Failed, Trial};
use rustix::process::Signal;

use crate::chromium::{self, Scheme, Window};
use crate::dom;
use crate::proxy::Proxy;
use crate::support::broker::Kind;
use crate::support::real_nsqd::RealNsqd;
use crate::support::tool::Tool;
use crate::support::wait::{self, PATIENCE};
use crate::support::{full, trials as with_reasons};

/// As high as the part of the page that ends with its log.
const DESKTOP: Window = Window {
    width: 1200,
    height: 984,
    scheme: Scheme::Light,
};

const PHONE: Window = Window {
    width: 360,
    height: 2300,
    scheme: Scheme::Dark,
};

/// The picture of the guide, and its maximum number of bytes: every clone of the repository
/// downloads all its versions. The package does not contain it.
const PICTURE: &str = "docs/pipeline.png";
const MAX_PICTURE: u64 = 150 * 1024;

pub fn trials() -> Vec<Trial> {
    vec![
        trial("page_shows_a_restart_of_nsqd_and_loses_nothing", restart),
        trial("page_reports_its_own_lost_connection", reconnect),
        trial("page_fits_a_phone_in_the_dark_scheme", phone),
        trial("page_on_a_desktop_is_the_picture_of_the_guide", desktop),
        trial("page_of_a_real_nsqd_has_no_button_to_kill_it", external),
    ]
}

type Test = fn(&Path) -> Result<Completion, Failed>;

/// A trial that needs a browser, and takes seconds.
fn trial(name: &str, test: Test) -> Trial {
    Trial::ignorable_test(name, move || match chromium::find() {
        _ if !full() => Ok(Completion::ignored_with("FULL=1 runs it")),
        Ok(program) => test(&program),
        Err(reason) if chromium::is_required() => {
            Err(format!("BROWSER_REQUIRED is set: {reason}").into())
        }
        Err(reason) => Ok(Completion::ignored_with(reason)),
    })
}

fn restart(chromium: &Path) -> Result<Completion, Failed> {
    let mut pipeline = Pipeline::start(&[])?;
    let proxy = pipeline.page(&["recovery"])?;
    let page = chromium::dump_dom(chromium, DESKTOP, &proxy.url())?;
    assert_done(&page);
    for id in ["published", "results", "handled"] {
        assert_eq!(dom::text(&page, id), "100", "{id}:\n{page}");
    }
    assert_eq!(dom::text(&page, "lost"), "0");
    assert_eq!(dom::text(&page, "in-flight"), "0");
    assert_eq!(note(&page, "highest-lost"), "0");
    assert_eq!(note(&page, "kill-disabled"), "true");
    let while_down: u64 = note(&page, "results-while-down").parse()?;
    assert!((10..100).contains(&while_down), "{while_down}");
    let retried: u64 = dom::text(&page, "retried").parse()?;
    assert!(retried >= 20, "every fifth order fails once: {retried}");
    assert_in_order(
        &dom::text(&page, "log"),
        &[
            "Publishing 100 orders.",
            "nsqd is down.",
            "Connection lost: ",
            "nsqd is up again.",
            "All connections are up again.",
            "All 100 orders have a result. Lost: 0.",
        ],
    );
    let connections = dom::text(&page, "connections");
    assert!(connections.contains("last error: "), "{connections}");
    pipeline.stop()
}

fn reconnect(chromium: &Path) -> Result<Completion, Failed> {
    let mut pipeline = Pipeline::start(&[])?;
    let proxy = pipeline.page(&["reconnect"])?;
    let page = chromium::dump_dom(chromium, DESKTOP, &proxy.url())?;
    assert_done(&page);
    let text = note(&page, "lost-text");
    assert!(text.contains("lost its connection to the server"), "{text}");
    assert_eq!(dom::text(&page, "page-state"), "Live");
    assert_in_order(
        &dom::text(&page, "log"),
        &[
            "This page has lost its connection to the server.",
            "This page is connected to the server again.",
        ],
    );
    drop(proxy);
    let proxy = pipeline.page(&["recovery", "cut"])?;
    let window = Window {
        scheme: Scheme::Dark,
        ..DESKTOP
    };
    let picture = picture("desktop-dark")?;
    chromium::screenshot(chromium, window, &proxy.url(), &picture)?;
    eprintln!("{}", picture.display());
    pipeline.stop()
}

fn phone(chromium: &Path) -> Result<Completion, Failed> {
    let mut pipeline = Pipeline::start(&[])?;
    let proxy = pipeline.page(&["recovery"])?;
    let page = chromium::dump_dom(chromium, PHONE, &proxy.url())?;
    assert_done(&page);
    assert_eq!(note(&page, "overflow"), "0", "it scrolls sideways");
    drop(proxy);
    let proxy = pipeline.page(&["outage"])?;
    let picture = picture("phone-dark")?;
    chromium::screenshot(chromium, PHONE, &proxy.url(), &picture)?;
    eprintln!("{}", picture.display());
    pipeline.stop()
}

fn desktop(chromium: &Path) -> Result<Completion, Failed> {
    let mut pipeline = Pipeline::start(&[])?;
    let proxy = pipeline.page(&["recovery", "again"])?;
    let picture = picture("desktop-light")?;
    chromium::screenshot(chromium, DESKTOP, &proxy.url(), &picture)?;
    eprintln!("{}", picture.display());
    let in_guide = Path::new(env!("CARGO_MANIFEST_DIR")).join(PICTURE);
    if env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        fs::copy(&picture, &in_guide)?;
    }
    let bytes = fs::metadata(&in_guide)?.len();
    assert!(bytes <= MAX_PICTURE, "{PICTURE} has {bytes} bytes");
    pipeline.stop()
}

fn external(chromium: &Path) -> Result<Completion, Failed> {
    if let Some(instead) = with_reasons::without_a_real_nsqd(Kind::Real) {
        return instead;
    }
    let nsqd = RealNsqd::start::<&str>(&[])?;
    let address = nsqd.address();
    let mut pipeline = Pipeline::start(&["--nsqd-tcp-address", &address])?;
    let proxy = pipeline.page(&["external"])?;
    let page = chromium::dump_dom(chromium, DESKTOP, &proxy.url())?;
    assert_done(&page);
    assert_eq!(dom::text(&page, "published"), "100");
    let disabled = dom::attribute(&page, "kill", "aria-disabled");
    assert_eq!(disabled.as_deref(), Some("true"));
    let note = dom::text(&page, "kill-note");
    let expected = format!("Not available: nsqd at {address} does not run inside this process");
    assert!(note.starts_with(&expected), "{note}");
    assert!(!dom::text(&page, "log").contains("nsqd is down"), "{page}");
    pipeline.stop()
}

/// The example as a child process.
struct Pipeline {
    tool: Option<Tool>,
    address: SocketAddr,
}

impl Pipeline {
    fn start(options: &[&str]) -> io::Result<Self> {
        let options = ["--listen", "127.0.0.1:0"].iter().chain(options);
        let options: Vec<_> = options.map(|&option| option.to_owned()).collect();
        let tool = Tool::start("actix_web_pipeline", &options)?;
        let address = wait::poll(PATIENCE, || {
            let stdout = tool.stdout();
            let (line, _) = stdout.split_once('\n')?;
            line.strip_prefix("listening on ")?.parse().ok()
        });
        let address = address
            .ok_or_else(|| io::Error::other(format!("it does not listen: {}", tool.stderr())))?;
        let tool = Some(tool);
        Ok(Self { tool, address })
    }

    /// Its page, on which a script takes these steps.
    fn page(&self, steps: &[&str]) -> io::Result<Proxy> {
        let script = include_str!("drive.js").replace("of STEPS", &format!("of {steps:?}"));
        Proxy::start(self.address, &script)
    }

    /// Terminates it. It must end by itself, also with open pages.
    fn stop(&mut self) -> Result<Completion, Failed> {
        let mut tool = self.tool.take().ok_or("it was stopped before")?;
        tool.signal(Signal::TERM)?;
        let ended = wait::poll(PATIENCE, || (!tool.is_running()).then_some(()));
        let (stdout, stderr) = (tool.stdout(), tool.stderr());
        assert!(ended.is_some(), "it does not end:\n{stdout}\n{stderr}");
        assert!(stdout.contains("stopped: "), "{stdout}\n{stderr}");
        Ok(Completion::Completed)
    }
}

/// A file for a picture, which stays.
fn picture(name: &str) -> io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("browser");
    fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("{name}.png")))
}

#[track_caller]
fn assert_done(page: &str) {
    assert_eq!(note(page, "outcome"), "done", "{page}");
}

/// A note of the script.
fn note(page: &str, name: &str) -> String {
    dom::attribute(page, "notes", &format!("data-{name}")).unwrap_or_default()
}

#[track_caller]
fn assert_in_order(text: &str, pieces: &[&str]) {
    let mut rest = text;
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => panic!("no {piece:?} at its place in: {text}"),
        }
    }
}
