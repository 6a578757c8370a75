//! The example `metrics_endpoint`: its metrics agree with what callers and nsqd see.

use std::thread;

use serde_json::json;

use crate::harness::{Scenario, scenarios};
use crate::support::broker::{Broker, Kind};
use crate::support::real_nsqd::RealNsqd;
use crate::support::scaled;
use crate::support::wait::{self, PATIENCE};
use crate::support::web_server::{HttpClient, WebServer};

/// It has no channel.
const TOPIC: &str = "measured";

const CALLERS: usize = 32;

pub fn scenarios() -> Vec<Scenario> {
    scenarios![
        metrics_agree_with_callers_and_nsqd_over_a_restart
            .only(Kind::Real, "it concerns a restarted process"),
        health_says_what_is_connected_and_subscribed,
    ]
}

/// Responses of a caller by their meaning.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
struct Outcomes {
    ok: u64,
    not_written: u64,
    maybe_written: u64,
}

impl Outcomes {
    fn plus(self, other: Self) -> Self {
        Self {
            ok: self.ok + other.ok,
            not_written: self.not_written + other.not_written,
            maybe_written: self.maybe_written + other.maybe_written,
        }
    }
}

/// Publishes one message after the other.
fn post(mut client: HttpClient, count: usize) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for _ in 0..count {
        let response = client
            .post(&format!("/publish/{TOPIC}"), b"message")
            .unwrap();
        match response.status {
            200 => outcomes.ok += 1,
            500 | 503 => outcomes.not_written += 1,
            502 | 504 => outcomes.maybe_written += 1,
            other => panic!("{other}: {response:?}"),
        }
    }
    outcomes
}

/// The value of this line of the text.
#[track_caller]
fn value(text: &str, series: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series));
    let value = line.and_then(|rest| rest.trim().parse().ok());
    value.unwrap_or_else(|| panic!("no {series}:\n{text}"))
}

async fn metrics_agree_with_callers_and_nsqd_over_a_restart(broker: Broker) {
    let each = scaled(2_000, 100_000) / CALLERS;
    let run = move |nsqd: &mut RealNsqd| {
        let address = nsqd.address();
        let server = WebServer::start("metrics_endpoint", &address).unwrap();
        let client = || HttpClient::connect(server.address()).unwrap();
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let client = client();
                thread::spawn(move || post(client, each))
            })
            .collect();
        let stored = || nsqd.unfinished(TOPIC).unwrap_or_default();
        let half = (CALLERS * each / 2) as u64;
        wait::poll(10 * PATIENCE, || (stored() > half).then_some(())).unwrap();
        nsqd.sigterm().unwrap();
        nsqd.restart().unwrap();
        let answers = callers.into_iter().map(|caller| caller.join().unwrap());
        let answers = answers.fold(Outcomes::default(), Outcomes::plus);
        let text = client().get("/metrics").unwrap().text;
        (address, answers, text, nsqd.unfinished(TOPIC).unwrap())
    };
    let (address, answers, text, depth) = broker.real().with_nsqd(run).await;
    let of = |outcome: &str| {
        let labels = format!("{{nsqd=\"{address}\",outcome=\"{outcome}\"}}");
        value(&text, &format!("nsq_producer_publishes_total{labels}"))
    };
    let counted = Outcomes {
        ok: of("ok"),
        not_written: of("not_written"),
        maybe_written: of("maybe_written"),
    };
    assert_eq!(counted, answers);
    let of_nsqd = format!("{{nsqd=\"{address}\"}}");
    assert_eq!(
        value(&text, &format!("nsq_producer_connects_total{of_nsqd}")),
        2
    );
    let durations = format!("nsq_producer_publish_duration_seconds_count{of_nsqd}");
    assert_eq!(value(&text, &durations), answers.ok);
    let most = answers.ok + answers.maybe_written;
    assert!((answers.ok..=most).contains(&depth), "{depth}: {answers:?}");
}

async fn health_says_what_is_connected_and_subscribed(broker: Broker) {
    let address = broker.address().await;
    let server = WebServer::start("metrics_endpoint", &address).unwrap();
    let mut client = HttpClient::connect(server.address()).unwrap();
    let mut get = |path: &str| client.get(path).unwrap();
    wait::until("it is ready", || get("/ready").status == 200).await;
    let health = get("/ready").body;
    assert_eq!(health["producer"]["state"], "connected");
    assert_eq!(health["consumer"]["state"], "subscribed");
    assert_eq!(health["consumer"]["subscribed"], 1);
    assert_eq!(health["consumer"]["nsqds"], 1);
    assert_eq!(health["consumer"]["is_starved"], false);
    broker.kill().await;
    wait::until("it is not ready", || get("/ready").status == 503).await;
    let live = get("/live");
    assert_eq!(live.status, 200, "{live:?}");
    assert_ne!(live.body["producer"]["state"], "connected");
    wait::until("it knows why", || {
        !get("/live").body["consumer"]["last_error"].is_null()
    })
    .await;
    assert_eq!(get("/live").body["consumer"]["subscribed"], json!(0));
}
