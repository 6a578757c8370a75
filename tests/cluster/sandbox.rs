//! The namespaces in which a campaign runs: network, mounts and processes of its own. They end with
//! it, whatever happens, and with them every program, link and file of the campaign.

use std::path::Path;
use std::process::{Command, Stdio};

/// Files of the campaign are in memory, and outside of the file systems of the machine.
const MOUNTS: &str =
    "mount -t tmpfs run /run && mount -t tmpfs shm /dev/shm && export TMPDIR=/dev/shm";

/// Needs all that a simulated host needs.
const PROBE: &str = "ip link add probe type bridge && ip netns add probe \
    && ip link add port type veth peer name eth0 netns probe && ip link set port master probe up \
    && nsenter --net=/run/netns/probe ip link set eth0 up";

/// How namespaces can be made here.
#[derive(Clone, Copy, Debug)]
pub struct Sandbox {
    /// Flags of `unshare`.
    user: &'static [&'static str],
}

impl Sandbox {
    /// Finds out how namespaces can be made: as root, or in a user namespace. Otherwise returns
    /// why they cannot.
    pub fn find() -> Result<Self, String> {
        let mut problem = String::new();
        let ways: [&[&str]; 2] = [&[], &["--user", "--map-root-user"]];
        for user in ways {
            let sandbox = Self { user };
            let probe = sandbox
                .command(Path::new("sh"))
                .args(["-c", PROBE])
                .output();
            match probe {
                Ok(probe) if probe.status.success() => return Ok(sandbox),
                Ok(probe) => problem = String::from_utf8_lossy(&probe.stderr).trim().to_owned(),
                Err(e) => problem = format!("unshare: {e}"),
            }
        }
        let problem = problem.lines().next().unwrap_or("unshare failed");
        Err(format!("no network namespaces: {problem}"))
    }

    /// A command that runs `program` in namespaces of its own, as their process 1.
    pub fn command(self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(self.user)
            .args(["--net", "--mount", "--pid", "--fork", "--kill-child"])
            .args(["sh", "-c", &format!(r#"{MOUNTS} && exec "$@""#), "sh"])
            .arg(program)
            .stdin(Stdio::null());
        command
    }
}
