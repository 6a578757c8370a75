//! The nsqds: one of each kind and setup, started with its first row.

use std::collections::{HashMap, hash_map::Entry};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use actix_nsq::embedded::{EmbeddedNsqd, EmbeddedNsqdBuilder};

use crate::auth_server;
use crate::support::broker::Kind;
use crate::support::real_nsqd::RealNsqd;

/// Small limits, so that rows which exceed them are short.
const MAX_MSG_SIZE: usize = 1024;
const MAX_BODY_SIZE: usize = 2048;
const MAX_RDY_COUNT: usize = 100;

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
        })
    }

    fn flags(&self, setup: Setup) -> io::Result<Vec<String>> {
        let mut flags = vec![
            format!("--max-msg-size={MAX_MSG_SIZE}"),
            format!("--max-body-size={MAX_BODY_SIZE}"),
            format!("--max-rdy-count={MAX_RDY_COUNT}"),
        ];
        match setup {
            Setup::Default => {}
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

fn path(path: &Path) -> String {
    path.display().to_string()
}
