//! The tasks that register an nsqd and query for channels.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::mpsc::UnboundedReceiver,
    task,
    time::{Instant, MissedTickBehavior, interval_at},
};

use super::{channels, peer::Peer, registrar::Change, registrar::RegistrarRequests};
use crate::embedded::{
    state::{Shared, State},
    text::go_json,
    topic::is_ephemeral,
};

const PING: &[u8] = b"PING\n";

/// What nsqd announces to nsqlookupds.
#[derive(Debug, Clone)]
pub(in crate::embedded) struct Announcement {
    pub(in crate::embedded) broadcast_address: String,
    pub(in crate::embedded) tcp_port: u16,
    pub(in crate::embedded) http_port: u16,
}

/// Starts the tasks. They end with the runtime.
pub(in crate::embedded) fn spawn(
    shared: &Arc<Shared>,
    requests: RegistrarRequests,
    announcement: &Announcement,
) {
    let RegistrarRequests { changes, queries } = requests;
    let identify = identify(shared, announcement);
    task::spawn(run(Arc::clone(shared), changes, identify));
    task::spawn(start_topics(Arc::clone(shared), queries));
}

fn identify(shared: &Shared, announcement: &Announcement) -> String {
    let hostname = hostname::get().unwrap_or_default();
    let Announcement {
        broadcast_address,
        tcp_port,
        http_port,
    } = announcement;
    format!(
        "{{\"broadcast_address\":{},\"hostname\":{},\"http_port\":{http_port},\
         \"tcp_port\":{tcp_port},\"version\":{}}}",
        go_json(broadcast_address),
        go_json(&hostname.to_string_lossy()),
        go_json(&shared.options.version)
    )
}

/// Registers while nsqd is running. A stop closes the connections.
async fn run(shared: Arc<Shared>, mut changes: UnboundedReceiver<Change>, identify: String) {
    loop {
        until(&shared, |state| !state.stopped).await;
        select! {
            () = register(&shared, &mut changes, &identify) => return,
            () = until(&shared, |state| state.stopped) => {}
        }
        // nsqd knows only those that it has reached since its start.
        let mut state = shared.state();
        state.registrar.http_addresses.fill(None);
    }
}

/// As in nsqd, one command at a time: an nsqlookupd that does not answer delays the others.
async fn register(shared: &Shared, changes: &mut UnboundedReceiver<Change>, identify: &str) {
    // The commands of a new connection include everything that exists.
    while changes.try_recv().is_ok() {}
    let lookupds = shared.options.registration.lookupds.iter();
    let mut peers: Vec<_> = lookupds.map(|address| Peer::new(address)).collect();
    for (index, peer) in peers.iter_mut().enumerate() {
        send(shared, index, peer, None, identify).await;
    }
    // A ticker without a period would panic.
    let period = shared.options.registration.ping_interval;
    let period = period.max(Duration::from_millis(1));
    let mut ticker = interval_at(Instant::now() + period, period);
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let command = select! {
            _ = ticker.tick() => PING.to_vec(),
            change = changes.recv() => match change {
                Some(change) => change.command(),
                None => return,
            },
        };
        until(shared, |state| !state.faults.persistent.freeze).await;
        for (index, peer) in peers.iter_mut().enumerate() {
            send(shared, index, peer, Some(&command), identify).await;
        }
    }
}

/// Sends a command, after connecting if necessary. Failures are logged; the next command tries
/// again.
async fn send(
    shared: &Shared,
    index: usize,
    peer: &mut Peer,
    command: Option<&[u8]>,
    identify: &str,
) {
    let max_response = shared.options.limits.max_body_size;
    let result = async {
        if !peer.is_connected() {
            let http_address = peer.connect(identify, max_response).await?;
            let commands = {
                let mut state = shared.state();
                if let Some(known) = state.registrar.http_addresses.get_mut(index) {
                    *known = http_address;
                }
                registrations(&state)
            };
            shared.changes.send_replace(());
            for command in commands {
                peer.command(&command, max_response).await?;
            }
        }
        match command {
            Some(command) => peer.command(command, max_response).await.map(drop),
            None => Ok(()),
        }
    };
    let result: std::io::Result<()> = result.await;
    if let Err(error) = result {
        log::warn!("embedded nsqd: nsqlookupd {}: {error}", peer.address);
    }
}

/// Returns the commands that register everything: each channel, and each topic without channels.
fn registrations(state: &State) -> Vec<Vec<u8>> {
    let mut commands = Vec::new();
    for (name, topic) in &state.topics {
        let change = |channel: Option<&String>| Change {
            exists: true,
            topic: name.clone(),
            channel: channel.cloned(),
        };
        if topic.channels.is_empty() {
            commands.push(change(None).command());
        }
        let channels = topic.channels.keys();
        commands.extend(channels.map(|channel| change(Some(channel)).command()));
    }
    commands
}

/// Starts topics when their channels are known, each without waiting for the others.
async fn start_topics(shared: Arc<Shared>, mut queries: UnboundedReceiver<String>) {
    while let Some(topic) = queries.recv().await {
        let shared = Arc::clone(&shared);
        task::spawn(async move {
            let known = shared.state().registrar.http_addresses.clone();
            let addresses = known.into_iter().flatten().collect();
            let limit = shared.options.registration.http_client_request_timeout;
            let mut channels = channels::query(addresses, &topic, limit).await;
            // nsqd creates no ephemeral channel without a consumer.
            channels.retain(|channel| !is_ephemeral(channel));
            shared.state().start_topic(&topic, &channels);
            shared.changes.send_replace(());
        });
    }
}

/// Waits until the condition holds. It is checked when nsqd stops, restarts, freezes or thaws.
async fn until(shared: &Shared, condition: impl Fn(&State) -> bool) {
    let mut changes = shared.fault_changes.subscribe();
    while !condition(&shared.state()) {
        if changes.changed().await.is_err() {
            return;
        }
    }
}
