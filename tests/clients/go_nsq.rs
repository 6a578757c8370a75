//! go-nsq, the official Go client: the program in `go/` publishes, consumes, requeues messages and
//! lets some time out.

use std::collections::HashSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use actix_nsq::embedded::EmbeddedNsqd;
use libtest_mimic::{Completion, Failed, Trial};

use crate::embedded_nsqd::Program;
use crate::support::broker::Kind;
use crate::support::real_nsqd::RealNsqd;
use crate::support::{trials, wait};

const TOPIC: &str = "go-nsq";
const CHANNEL: &str = "go";
const MESSAGES: u64 = 10_000;
/// Longer than the deadlines of the program itself.
const TIMEOUT: Duration = Duration::from_secs(90);

pub fn trials() -> Vec<Trial> {
    let name = |kind: &str| format!("{kind}::go_nsq_publishes_and_consumes");
    vec![
        Trial::ignorable_test(name("embedded"), || with_client(run_embedded)),
        Trial::ignorable_test(name("embedded_nsqd"), || {
            with_client(|client| run(client, &Program::start(&[])?.address))
        }),
        Trial::ignorable_test(name("real"), || {
            let instead = trials::without_a_real_nsqd(Kind::Real);
            instead.unwrap_or_else(|| with_client(run_real))
        }),
    ]
}

fn run_embedded(client: &Path) -> Result<(), Failed> {
    let nsqd = EmbeddedNsqd::start()?;
    run(client, &nsqd.address().to_string())?;
    let bodies: HashSet<_> = nsqd.messages(TOPIC).into_iter().map(|m| m.body).collect();
    for number in 0..MESSAGES {
        assert!(bodies.contains(number.to_string().as_bytes()), "{number}");
    }
    let channel = nsqd
        .channel(TOPIC, CHANNEL)
        .ok_or("the channel does not exist")?;
    assert_eq!(channel.message_count, MESSAGES);
    let left = channel.depth + channel.in_flight_count + channel.deferred_count;
    assert_eq!(left, 0, "{channel:?}");
    assert_eq!(channel.requeue_count, 200);
    assert!(channel.timeout_count >= 25, "{channel:?}");
    Ok(())
}

fn run_real(client: &Path) -> Result<(), Failed> {
    let nsqd = RealNsqd::start::<&str>(&[])?;
    run(client, &nsqd.address())?;
    assert_eq!(nsqd.unfinished(TOPIC)?, 0);
    Ok(())
}

/// Runs the client until it exits. An error contains its stderr.
fn run(client: &Path, address: &str) -> Result<(), Failed> {
    let files = tempfile::tempdir()?;
    let stderr = files.path().join("stderr");
    let mut child = Command::new(client)
        .args(["-nsqd-tcp-address", address])
        .args(["-topic", TOPIC, "-channel", CHANNEL])
        .args(["-count", &MESSAGES.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&stderr)?)
        .spawn()?;
    let status = wait::poll(TIMEOUT, || child.try_wait().transpose());
    if status.is_none() {
        child.kill()?;
        child.wait()?;
    }
    match status.transpose()? {
        Some(status) if status.success() => Ok(()),
        status => Err(format!("{status:?}: {}", fs::read_to_string(&stderr)?).into()),
    }
}

fn with_client(test: impl FnOnce(&Path) -> Result<(), Failed>) -> Result<Completion, Failed> {
    static CLIENT: OnceLock<Result<PathBuf, NoClient>> = OnceLock::new();
    match CLIENT.get_or_init(build) {
        Ok(client) => test(client).map(|()| Completion::Completed),
        Err(NoClient::NoGo) => trials::missing("Go", "Go is not installed"),
        Err(NoClient::Failed(reason)) => Err(reason.clone().into()),
    }
}

enum NoClient {
    NoGo,
    Failed(String),
}

fn build() -> Result<PathBuf, NoClient> {
    let client = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-nsq-client");
    let built = Command::new("go")
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/go"))
        // Independent of a C compiler and of Go workspaces in parent folders.
        .envs([("CGO_ENABLED", "0"), ("GOWORK", "off")])
        .args(["build", "-o"])
        .arg(&client)
        .arg(".")
        .stdin(Stdio::null())
        .output();
    match built {
        Ok(built) if built.status.success() => Ok(client),
        Ok(built) => Err(NoClient::Failed(format!(
            "go build failed ({}):\n{}",
            built.status,
            String::from_utf8_lossy(&built.stderr)
        ))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(NoClient::NoGo),
        Err(e) => Err(NoClient::Failed(format!("cannot run go: {e}"))),
    }
}
