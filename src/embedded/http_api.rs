//! nsqd's HTTP API, as far as it exists here: `/ping`, `/info`, `/stats`, and in `http_admin` what
//! changes topics and channels.

use std::{collections::BTreeMap, net::SocketAddr};

use serde_json::{Map, Value, json};

use super::{
    channel::{Channel, Consumer},
    http::{Request, Response},
    http_admin::Operation,
    state::{Connection, Shared, State},
    topic::Topic,
    upgrade::Compression,
};

/// nsqd's default, in bytes and nanoseconds.
const MAX_OUTPUT_BUFFER_SIZE: u64 = 64 * 1024;
const MAX_OUTPUT_BUFFER_TIMEOUT: u64 = 30_000_000_000;

/// The values of `state` in the statistics of a client.
const INITIAL: u8 = 0;
const SUBSCRIBED: u8 = 3;
const CLOSING: u8 = 4;

/// The addresses that `/info` returns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) tcp: SocketAddr,
    pub(super) http: SocketAddr,
}

/// Answers a request, once nsqd is not frozen.
pub(super) async fn answer(request: Request, shared: &Shared, addresses: Addresses) -> Response {
    let mut fault_changes = shared.fault_changes.subscribe();
    while shared.state().faults.persistent.freeze {
        if fault_changes.changed().await.is_err() {
            break;
        }
    }
    match (request.path.as_str(), request.method.as_str()) {
        ("/ping", "GET") => Response::text("OK"),
        ("/info", "GET") => Response::json(&info(shared, addresses)),
        ("/stats", "GET") => Response::json(&stats(&request, shared)),
        ("/ping" | "/info" | "/stats", _) => Response::error(405),
        (path, method) => match Operation::of(path) {
            Some(operation) if method == "POST" => operation.answer(&request, shared),
            Some(_) => Response::error(405),
            None => Response::error(404),
        },
    }
}

fn info(shared: &Shared, Addresses { tcp, http }: Addresses) -> Value {
    let options = &shared.options;
    let heartbeat = u64::try_from(options.max_heartbeat_interval.as_nanos()).unwrap_or(u64::MAX);
    json!({
        "version": options.version,
        // A client that reads this must be able to connect.
        "broadcast_address": options.registration.broadcast_address
            .clone().unwrap_or_else(|| tcp.ip().to_string()),
        "hostname": hostname::get().unwrap_or_default().to_string_lossy(),
        "http_port": http.port(),
        "tcp_port": tcp.port(),
        "start_time": shared.state().started,
        "max_heartbeat_interval": heartbeat,
        "max_output_buffer_size": MAX_OUTPUT_BUFFER_SIZE,
        "max_output_buffer_timeout": MAX_OUTPUT_BUFFER_TIMEOUT,
        "max_deflate_level": options.max_deflate_level,
    })
}

/// Returns nsqd's statistics, without those of Go's memory.
fn stats(request: &Request, shared: &Shared) -> Value {
    let (topic, channel) = (request.parameter("topic"), request.parameter("channel"));
    let with_clients = !matches!(request.parameter("include_clients"), "false" | "0");
    let filter = Filter {
        topic,
        channel,
        with_clients,
    };
    let state = shared.state();
    // For a topic that does not exist, nsqd returns no producers either.
    let exists = topic.is_empty() || state.topics.contains_key(topic);
    json!({
        "version": shared.options.version,
        "health": "OK",
        "start_time": state.started,
        "topics": exists.then(|| filter.topics(&state)),
        "producers": exists.then(|| filter.producers(&state)).flatten(),
    })
}

/// What of the statistics was asked for.
struct Filter<'a> {
    /// Empty: all topics.
    topic: &'a str,
    /// Empty: all channels.
    channel: &'a str,
    with_clients: bool,
}

impl Filter<'_> {
    fn topics(&self, state: &State) -> Vec<Value> {
        let is_wanted = |(name, topic): &(&String, &Topic)| {
            (self.topic.is_empty() || *name == self.topic)
                && (self.channel.is_empty() || topic.channels.contains_key(self.channel))
        };
        let topics = state.topics.iter().filter(is_wanted);
        let stats = topics.map(|(name, topic)| {
            let channels = topic.channels.iter();
            let channels = channels
                .filter(|(name, _)| self.channel.is_empty() || *name == self.channel)
                .map(|(name, channel)| self.channel(name, channel, state));
            json!({
                "topic_name": name,
                "channels": channels.collect::<Vec<_>>(),
                "depth": topic.depth(),
                "backend_depth": 0,
                "message_count": topic.messages.len(),
                "message_bytes": topic.message_bytes,
                "paused": topic.paused,
                "e2e_processing_latency": no_latency(),
            })
        });
        stats.collect()
    }

    fn channel(&self, name: &str, channel: &Channel, state: &State) -> Value {
        let clients = self.with_clients.then(|| {
            let consumers = channel.consumers.iter();
            let clients = consumers.filter_map(|(number, consumer)| {
                let connection = state.connections.get(number)?;
                Some(self.client(connection, consumer))
            });
            clients.collect::<Vec<_>>()
        });
        json!({
            "channel_name": name,
            "depth": channel.depth(),
            "backend_depth": 0,
            "in_flight_count": channel.in_flight_count(),
            "deferred_count": channel.deferred_count(),
            "message_count": channel.message_count,
            "requeue_count": channel.requeue_count,
            "timeout_count": channel.timeout_count,
            "client_count": channel.consumers.len(),
            "clients": clients,
            "paused": channel.paused,
            "e2e_processing_latency": no_latency(),
        })
    }

    /// Returns the open connections that have published; `null` if there is none, as nsqd does.
    fn producers(&self, state: &State) -> Option<Vec<Value>> {
        let published = |(_, connection): &(&u64, &Connection)| {
            self.with_clients && connection.control.is_some() && !connection.published.is_empty()
        };
        let no_consumer = Consumer::default();
        let producers: Vec<_> = state
            .connections
            .iter()
            .filter(published)
            .map(|(number, connection)| {
                let subscription = connection.subscription.as_ref();
                let consumer = subscription.and_then(|subscription| {
                    let topic = state.topics.get(&subscription.topic)?;
                    let channel = topic.channels.get(&subscription.channel)?;
                    channel.consumers.get(number)
                });
                self.client(connection, consumer.unwrap_or(&no_consumer))
            })
            .collect();
        (!producers.is_empty()).then_some(producers)
    }

    fn client(&self, connection: &Connection, consumer: &Consumer) -> Value {
        let identified = |field: &str| {
            let identify = connection.identify.as_ref();
            identify.and_then(|identify| identify.get(field)).cloned()
        };
        // Without IDENTIFY, nsqd names a client after its address.
        let name = |field: &str| match &connection.identify {
            Some(_) => identified(field).unwrap_or_else(|| "".into()),
            None => connection.peer.ip().to_string().into(),
        };
        let state = match &connection.subscription {
            _ if connection.closing => CLOSING,
            Some(_) => SUBSCRIBED,
            None => INITIAL,
        };
        let client = json!({
            "client_id": name("client_id"),
            "hostname": name("hostname"),
            "version": "V2",
            "remote_address": connection.peer.to_string(),
            "state": state,
            "ready_count": consumer.ready_count,
            "in_flight_count": consumer.in_flight_count,
            "message_count": consumer.message_count,
            "finish_count": consumer.finish_count,
            "requeue_count": consumer.requeue_count,
            "connect_ts": connection.connected,
            "sample_rate": identified("sample_rate").unwrap_or_else(|| 0.into()),
            "deflate": matches!(connection.compression, Some(Compression::Deflate(_))),
            "snappy": connection.compression == Some(Compression::Snappy),
            "user_agent": identified("user_agent").unwrap_or_else(|| "".into()),
            "tls": connection.tls.is_some(),
            "tls_cipher_suite": "",
            "tls_version": connection.tls.unwrap_or_default(),
            "tls_negotiated_protocol": "",
            "tls_negotiated_protocol_is_mutual": false,
        });
        let identity = connection.auth_identity.as_deref();
        let counts = self.published(&connection.published);
        // nsqd omits these if they have no value.
        let more = [
            ("authed", identity.map(|_| true.into())),
            (
                "auth_identity",
                identity.filter(|it| !it.is_empty()).map(Value::from),
            ),
            (
                "pub_counts",
                (!counts.is_empty()).then(|| Value::from(counts)),
            ),
        ];
        let more = more.map(|(name, value)| Some((name.to_owned(), value?)));
        let client = match client {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        client
            .into_iter()
            .chain(more.into_iter().flatten())
            .collect()
    }

    fn published(&self, counts: &BTreeMap<String, u64>) -> Vec<Value> {
        counts
            .iter()
            .filter(|(topic, _)| self.topic.is_empty() || *topic == self.topic)
            .map(|(topic, count)| json!({ "topic": topic, "count": count }))
            .collect()
    }
}

/// nsqd's value unless it runs with `--e2e-processing-latency-percentile`.
fn no_latency() -> Value {
    json!({ "count": 0, "percentiles": null })
}
