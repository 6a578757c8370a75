//! The nsqds: one of each kind and setup, started with its first row.

use std::collections::{HashMap, hash_map::Entry};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_nsq::embedded::{EmbeddedNsqd, EmbeddedNsqdBuilder};

use crate::auth_server;
use crate::support::broker::Kind;
use crate::support::real_nsqd::RealNsqd;

/// Small limits, so that rows which exceed them are short.
const MAX_MSG_SIZE: usize = 1024;
const MAX_BODY_SIZE: usize = 2048;
const MAX_RDY_COUNT: usize = 100;

/// Longest time from a delivery to its timeout with [`Setup::ShortTimeouts`]: between two ticks of
/// the shortest heartbeat interval, 1 s.
const MAX_MSG_TIMEOUT: Duration = Duration::from_millis(2_500);

/// How an nsqd is started, in addition to the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setup {
    Default,
    Uncompressed,
    /// With a certificate.
    Tls,
    /// With a certificate, and TLS required.
    TlsRequired,
    /// With AUTH required.
    Auth,
    /// The embedded nsqd is as late as a real one.
    RealisticTiming,
    /// With a maximum of TOUCH that a row can wait for.
    ShortTimeouts,
}

/// All running nsqds. Dropping it stops them.
#[derive(Debug, Default)]
pub struct Peers {
    embedded: Mutex<HashMap<Setup, EmbeddedNsqd>>,
    real: Mutex<HashMap<Setup, RealNsqd>>,
    /// The folder of the certificate.
    certificate: Mutex<Option<tempfile::TempDir>>,
}

impl Peers {
    /// Returns the address of the nsqd of this kind and setup, and starts it if necessary.
    pub fn address(&self, kind: Kind, setup: Setup) -> io::Result<String> {
        match kind {
            Kind::Embedded => {
                let mut nsqds = self.embedded.lock().unwrap_or_else(PoisonError::into_inner);
                let nsqd = match nsqds.entry(setup) {
                    Entry::Occupied(started) => started.into_mut(),
                    Entry::Vacant(none) => none.insert(self.embedded(setup)?.start()?),
                };
                Ok(nsqd.address().to_string())
            }
            Kind::Real => {
                let mut nsqds = self.real.lock().unwrap_or_else(PoisonError::into_inner);
                let nsqd = match nsqds.entry(setup) {
                    Entry::Occupied(started) => started.into_mut(),
                    Entry::Vacant(none) => none.insert(RealNsqd::start(&self.flags(setup)?)?),
                };
                Ok(nsqd.address())
            }
        }
    }

    /// Sends a POST request to the HTTP API of the nsqd of this kind and setup, or does the same.
    pub fn post(&self, kind: Kind, setup: Setup, path: &str) -> io::Result<()> {
        match kind {
            Kind::Embedded => {
                let nsqds = self.embedded.lock().unwrap_or_else(PoisonError::into_inner);
                administer(&nsqds[&setup], path)
            }
            Kind::Real => {
                let nsqds = self.real.lock().unwrap_or_else(PoisonError::into_inner);
                nsqds[&setup].post(path)
            }
        }
    }

    fn embedded(&self, setup: Setup) -> io::Result<EmbeddedNsqdBuilder> {
        let nsqd = EmbeddedNsqd::builder()
            .max_msg_size(MAX_MSG_SIZE)
            .max_body_size(MAX_BODY_SIZE)
            .max_rdy_count(MAX_RDY_COUNT);
        Ok(match setup {
            Setup::Default => nsqd,
            Setup::Uncompressed => nsqd.snappy(false).deflate(false),
            Setup::Tls | Setup::TlsRequired => {
                let [cert, key] = self.certificate()?;
                let nsqd = nsqd.tls_cert(cert).tls_key(key);
                nsqd.tls_required(setup == Setup::TlsRequired)
            }
            Setup::Auth => nsqd.auth(auth_server::decide),
            Setup::RealisticTiming => nsqd.realistic_timing(true),
            Setup::ShortTimeouts => nsqd.max_msg_timeout(MAX_MSG_TIMEOUT),
        })
    }

    fn flags(&self, setup: Setup) -> io::Result<Vec<String>> {
        let mut flags = vec![
            format!("--max-msg-size={MAX_MSG_SIZE}"),
            format!("--max-body-size={MAX_BODY_SIZE}"),
            format!("--max-rdy-count={MAX_RDY_COUNT}"),
        ];
        match setup {
            Setup::Default | Setup::RealisticTiming => {}
            Setup::Uncompressed => {
                flags.extend(["--snappy=false", "--deflate=false"].map(str::to_owned));
            }
            Setup::Tls | Setup::TlsRequired => {
                let [cert, key] = self.certificate()?;
                // The default port may be in use.
                flags.push("--https-address=127.0.0.1:0".to_owned());
                flags.extend([format!("--tls-cert={cert}"), format!("--tls-key={key}")]);
                if setup == Setup::TlsRequired {
                    // HTTP stays open, because the tests use it to detect that nsqd is up.
                    flags.push("--tls-required=tcp-https".to_owned());
                }
            }
            Setup::ShortTimeouts => {
                flags.push(format!(
                    "--max-msg-timeout={}ms",
                    MAX_MSG_TIMEOUT.as_millis()
                ));
            }
            Setup::Auth => flags.push(format!("--auth-http-address={}", auth_server::start()?)),
        }
        Ok(flags)
    }

    fn certificate(&self) -> io::Result<[String; 2]> {
        let mut certificate = self
            .certificate
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let folder = match &mut *certificate {
            Some(folder) => folder,
            none => {
                let folder = tempfile::tempdir()?;
                let issued = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
                let issued = issued.map_err(io::Error::other)?;
                std::fs::write(folder.path().join("cert.pem"), issued.cert.pem())?;
                let key = issued.signing_key.serialize_pem();
                std::fs::write(folder.path().join("key.pem"), key)?;
                none.insert(folder)
            }
        };
        let file = |name| folder.path().join(name);
        Ok(["cert.pem", "key.pem"].map(|name| path(&file(name))))
    }
}

/// The embedded nsqd has methods in place of POST requests.
fn administer(nsqd: &EmbeddedNsqd, path: &str) -> io::Result<()> {
    let unknown = || io::Error::other(format!("no request of a row: {path}"));
    let (action, parameters) = path.split_once("?topic=").ok_or_else(unknown)?;
    let (topic, channel) = parameters
        .split_once("&channel=")
        .unwrap_or((parameters, ""));
    let is_done = match action {
        "/topic/pause" => nsqd.pause_topic(topic),
        "/topic/unpause" => nsqd.unpause_topic(topic),
        "/topic/delete" => nsqd.delete_topic(topic),
        "/channel/pause" => nsqd.pause_channel(topic, channel),
        "/channel/unpause" => nsqd.unpause_channel(topic, channel),
        "/channel/empty" => nsqd.empty_channel(topic, channel),
        "/channel/delete" => nsqd.delete_channel(topic, channel),
        _ => return Err(unknown()),
    };
    if is_done {
        Ok(())
    } else {
        Err(io::ErrorKind::NotFound.into())
    }
}

fn path(path: &Path) -> String {
    path.display().to_string()
}
