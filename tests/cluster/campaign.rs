//! The campaign: starts the hosts, injects the faults, and compares. It runs in a sandbox.

use std::io::{self, BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::ChildStdout;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{self, HANDLED, HEARTBEAT_INTERVAL, Line, MAX_SETTLE_TIME};
use crate::cluster::{ClientProcess, Cluster, Result, TIMEOUT, stop};
use crate::connections::Connections;
use crate::faults::{Kind, Planned, plan};
use crate::layout::{CLIENTS, Layout, PUBLISHERS};
use crate::messages::{Messages, Totals};
use crate::network::Network;
use crate::options::Options;
use crate::support::real_lookupd;
use crate::support::wait;

/// nsqd registers again at an nsqlookupd at most two of its intervals of 15 s after it has lost it.
const MAX_REGISTRATION_TIME: Duration = Duration::from_secs(31);

/// Interval at which nsqlookupds are asked what they name.
const LOOKUPD_INTERVAL: Duration = Duration::from_millis(100);

/// nsqd counts no message, and none is handled for this time: nothing is left.
const CALM: Duration = Duration::from_millis(300);

/// The same if nsqd counts some, perhaps wrongly after it was killed: longer than `msg_timeout`,
/// and than the 5 s after which nsqd looks for channels whose messages have timed out.
const QUIET: Duration = Duration::from_secs(9);

/// What the clients and nsqlookupds report.
struct Observed {
    connections: Connections,
    messages: Messages,
    problems: Vec<String>,
}

/// The result of a campaign.
pub struct Report {
    pub layout: Layout,
    pub length: Duration,
    pub notes: Vec<String>,
    pub faults: Vec<Planned>,
    pub connections: Connections,
    pub totals: Totals,
    /// Concerns all parts.
    pub problems: Vec<String>,
}

/// Runs a campaign.
pub fn run(options: &Options) -> Result<Report> {
    let layout = options.layout;
    let mut rng = fastrand::Rng::with_seed(options.seed);
    // Two nsqds, and a client of each kind.
    let first_client = layout.clients().start;
    let relayed = [0, 1, first_client, first_client + PUBLISHERS];
    let network = Network::build(&layout.names(), &relayed)?;
    let mut kinds = Kind::ALL.to_vec();
    let mut notes = Vec::new();
    for (kind, problem) in [
        (Kind::Slow, network.no_relay()),
        (Kind::RateLimit, network.no_rate_limits()),
    ] {
        if let Some(problem) = problem {
            kinds.retain(|it| *it != kind);
            notes.push(format!("no {kind}: {problem}"));
        }
    }
    let faults = plan(&mut rng, layout, options.length, &kinds, &relayed);
    let mut cluster = Cluster::start(layout, network)?;

    let observed = Mutex::new(Observed {
        connections: Connections::new(layout),
        messages: Messages::new(),
        problems: Vec::new(),
    });
    let ended = AtomicBool::new(false);
    let lookupds = cluster.lookupds();
    thread::scope(|scope| {
        scope.spawn(|| watch_lookupds(&lookupds, &observed, &ended));
        let played = (|| {
            let mut clients = Vec::new();
            for number in 0..CLIENTS.len() {
                let (client, lines) = cluster.start_client(number)?;
                let observed = &observed;
                scope.spawn(move || read_lines(number, layout, lines, observed));
                clients.push(client);
            }
            play(&mut cluster, &faults, clients, &observed)
        })();
        ended.store(true, Ordering::Relaxed);
        played
    })?;
    let mut observed = observed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    cluster.compare_handled(&mut observed.messages)?;
    cluster.count_stored(&mut observed.messages)?;

    let in_flight = (CLIENTS.len() - PUBLISHERS) * client::max_in_flight(layout.nsqds);
    // One more is moving from the topic to the channel.
    let max_forgotten = cluster.kills() * (in_flight + 1);
    Ok(Report {
        layout,
        length: options.length,
        notes,
        faults,
        connections: observed.connections,
        totals: observed.messages.finish(max_forgotten),
        problems: observed.problems,
    })
}

/// Injects the faults, waits until all connections are back, and stops the clients when all
/// messages are handled.
fn play(
    cluster: &mut Cluster,
    faults: &[Planned],
    mut clients: Vec<ClientProcess>,
    observed: &Mutex<Observed>,
) -> Result<()> {
    let are_complete = || locked(observed).connections.are_complete().then_some(());
    if wait::poll(TIMEOUT, are_complete).is_none() {
        let missing = locked(observed).connections.missing();
        return Err(format!("not connected at the start: {missing}").into());
    }
    let mut changes: Vec<_> = faults
        .iter()
        .flat_map(|it| [(it.start, true, it.fault), (it.end, false, it.fault)])
        .collect();
    changes.sort_by_key(|(time, ..)| *time);
    let began = Instant::now();
    locked(observed).connections.start(began);
    for (time, begins, fault) in changes {
        thread::sleep(time.saturating_sub(began.elapsed()));
        if begins {
            locked(observed)
                .connections
                .set_fault(fault, true, Instant::now());
            cluster.begin(fault)?;
        } else {
            cluster.end(fault)?;
            locked(observed)
                .connections
                .set_fault(fault, false, Instant::now());
        }
    }
    let healed = Instant::now();
    let are_settled = || are_complete().filter(|()| healed.elapsed() > 3 * HEARTBEAT_INTERVAL);
    if wait::poll(MAX_REGISTRATION_TIME + MAX_SETTLE_TIME, are_settled).is_none() {
        let missing = locked(observed).connections.missing();
        return Err(format!("not connected at the end: {missing}").into());
    }
    locked(observed).connections.has_ended = true;
    let (publishers, consumers) = clients.split_at_mut(PUBLISHERS);
    stop(publishers)?;
    let is_all_handled = || {
        let silence = locked(observed).messages.last_handled.elapsed();
        let is_enough = silence >= CALM && (silence >= QUIET || cluster.are_handled());
        is_enough.then_some(())
    };
    if wait::poll(6 * TIMEOUT, is_all_handled).is_none() {
        return Err("messages are handled without end".into());
    }
    stop(consumers)
}

fn locked(observed: &Mutex<Observed>) -> MutexGuard<'_, Observed> {
    observed.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads the lines of a client until it ends.
fn read_lines(client: usize, layout: Layout, lines: ChildStdout, observed: &Mutex<Observed>) {
    // `10.77.0.<number + 1>:4150`
    let nsqd = |address: &str| -> Option<usize> {
        let host = address.strip_suffix(":4150")?.rsplit('.').next()?;
        let number = host.parse::<usize>().ok()?.checked_sub(1)?;
        layout.nsqds().contains(&number).then_some(number)
    };
    for line in BufReader::new(lines).lines().map_while(io::Result::ok) {
        let now = Instant::now();
        let mut observed = locked(observed);
        let Observed {
            connections,
            messages,
            problems,
        } = &mut *observed;
        let invalid = || format!("client {client} wrote {line:?}");
        match Line::parse(&line) {
            Some(Line::Up(up)) => {
                let up = up.split(',').filter_map(nsqd).collect();
                connections.report(client, up, now);
            }
            Some(Line::Lost(address)) => match nsqd(address) {
                Some(nsqd) => connections.lost(client, nsqd, now),
                None => problems.push(invalid()),
            },
            Some(Line::Offered(topic, count)) => messages.of(topic).offered(client, count),
            Some(Line::MayRepeat) => messages.may_repeat(client),
            Some(Line::Answer(topic, number, outcome)) => {
                messages.of(topic).answered(client, number, outcome);
            }
            Some(Line::Handled(address, id, body)) => match nsqd(address) {
                Some(nsqd) => messages.handled(client, (nsqd, id, body), connections, now),
                None => problems.push(invalid()),
            },
            Some(Line::Problem(problem)) => problems.push(problem.to_owned()),
            None => problems.push(invalid()),
        }
    }
}

/// Asks the nsqlookupds which nsqds they name, until the campaign has ended.
fn watch_lookupds(lookupds: &[SocketAddr], observed: &Mutex<Observed>, ended: &AtomicBool) {
    while !ended.load(Ordering::Relaxed) {
        for (number, address) in lookupds.iter().enumerate() {
            let target = format!("/lookup?topic={HANDLED}");
            let answer = real_lookupd::get(&address.to_string(), &target);
            let answer = answer.map_or(Value::Null, |(_, body)| {
                serde_json::from_str(&body).unwrap_or(Value::Null)
            });
            let nodes = answer["producers"].as_array().into_iter().flatten();
            let nsqds = nodes.filter_map(|node| {
                let address = node["broadcast_address"].as_str()?;
                let host: usize = address.rsplit('.').next()?.parse().ok()?;
                host.checked_sub(1)
            });
            let nsqds = nsqds.collect();
            locked(observed)
                .connections
                .set_named(number, nsqds, Instant::now());
        }
        thread::sleep(LOOKUPD_INTERVAL);
    }
}

/// Ends this process when standard input ends: the test that started it has ended. The sandbox ends
/// with this process.
pub fn end_with_the_test() {
    thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(1);
    });
}
