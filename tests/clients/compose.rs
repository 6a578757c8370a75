//! `compose.yaml` of the example `actix_web_pipeline`: its programs with its flags, without
//! containers. Ports, host names and the data folder are replaced.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Completion, Failed, Trial};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::broker::Kind;
use crate::support::nsqd_program::{self, Found};
use crate::support::nsqd_version::Version;
use crate::support::real_nsqd::Port;
use crate::support::tool::Tool;
use crate::support::wait::{self, PATIENCE};
use crate::support::web_server::HttpClient;
use crate::support::{example, real_lookupd, trials};

const FILE: &str = include_str!("../../examples/actix_web_pipeline/compose.yaml");

/// The ports of each service in its container, and the flags that set them where compose.yaml
/// relies on the default.
const PORTS: [(&str, u16, Option<&str>); 6] = [
    ("nsqlookupd", 4160, Some("--tcp-address")),
    ("nsqlookupd", 4161, Some("--http-address")),
    ("nsqd", 4150, Some("--tcp-address")),
    ("nsqd", 4151, Some("--http-address")),
    ("nsqadmin", 4171, Some("--http-address")),
    ("pipeline", 8080, None),
];

const ORDERS: u64 = 20;

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test("compose_file_is_read", || {
            let names: Vec<_> = services(FILE).into_iter().map(|it| it.name).collect();
            assert_eq!(names, ["nsqlookupd", "nsqd", "nsqadmin", "pipeline"]);
            Ok(())
        }),
        Trial::test("compose_file_has_the_newest_supported_nsqd", || {
            let image = format!("nsqio/nsq:v{}", Version::LATEST);
            for service in services(FILE) {
                let is_built = service.name == "pipeline";
                assert!(is_built || service.image == image, "{service:?}");
            }
            Ok(())
        }),
        Trial::ignorable_test("real::compose_file_runs_without_containers", || {
            let missing = trials::without_a_real_nsqd(Kind::Real);
            match missing.or_else(|| trials::without_a_real_lookupd(Kind::Real)) {
                Some(instead) => instead,
                None => run().map(|()| Completion::Completed),
            }
        }),
    ]
}

/// A service of compose.yaml.
#[derive(Debug, Default)]
struct Service {
    name: String,
    image: String,
    /// The program and its flags.
    command: Vec<String>,
}

/// Reads the part of YAML that the file uses: a command is a list with an entry per line.
fn services(file: &str) -> Vec<Service> {
    let (mut services, mut section, mut key) = (Vec::<Service>::new(), "", "");
    let lines = file
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'));
    for line in lines {
        let text = line.trim_start();
        match (line.len() - text.len(), services.last_mut()) {
            (0, _) => section = text.trim_end_matches(':'),
            (2, _) if section == "services" => services.push(Service {
                name: text.trim_end_matches(':').to_owned(),
                ..Service::default()
            }),
            (4, Some(service)) if section == "services" => {
                let (name, value) = text.split_once(':').unwrap_or((text, ""));
                key = name;
                match key {
                    "image" => service.image = value.trim().to_owned(),
                    "command" => assert_eq!(value, "", "the list begins in the next line"),
                    _ => {}
                }
            }
            (6, Some(service)) if section == "services" && key == "command" => {
                let entry = text.strip_prefix("- ").expect("an entry of the list");
                service.command.push(entry.to_owned());
            }
            _ => {}
        }
    }
    services
}

fn run() -> Result<(), Failed> {
    let data = tempfile::tempdir()?;
    let places = Places::reserve(data.path())?;
    let mut running = Vec::new();
    let mut has_admin = false;
    for service in services(FILE) {
        let Some(program) = program(&service.name)? else {
            eprintln!("no {}: it is left out", service.name);
            continue;
        };
        has_admin |= service.name == "nsqadmin";
        let mut command = Command::new(program);
        command.args(places.arguments(&service));
        running.push((service.name, Tool::run(command)?));
    }

    let pipeline = places.address("pipeline", 8080);
    let up = stats_with(pipeline, |stats| {
        let connections = stats["connections"].as_array();
        connections.is_some_and(|all| all.iter().all(|connection| connection["is_up"] == true))
    });
    up.ok_or_else(|| reports(&running))?;
    let mut client = HttpClient::connect(pipeline)?;
    for _ in 0..ORDERS {
        let response = client.post_json("/orders", &json!({ "item": "tea", "quantity": 1 }))?;
        assert_eq!(response.status, 202, "{response:?}");
    }
    let done = stats_with(pipeline, |stats| stats["orders"]["results"] == ORDERS);
    let stats = done.ok_or_else(|| reports(&running))?;
    assert_eq!(stats["in_flight"], 0, "{stats}");
    assert_eq!(stats["lost"], 0, "{stats}");
    // The page cannot kill an nsqd in another process. A new connection: a requeued order in a new
    // channel takes nsqd up to 5 s, after which the server closes an idle one.
    let response = HttpClient::connect(pipeline)?.post_json("/nsqd/kill", &json!({}))?;
    assert_eq!(response.status, 409, "{response:?}");

    let lookupd = places.address("nsqlookupd", 4161).to_string();
    let nsqd_port = places.address("nsqd", 4150).port();
    let (status, body) = real_lookupd::get(&lookupd, "/lookup?topic=orders")?;
    assert_eq!(status, 200, "{body}");
    let found: Value = serde_json::from_str(&body)?;
    assert_eq!(found["producers"][0]["tcp_port"], nsqd_port, "{body}");
    if has_admin {
        let admin = places.address("nsqadmin", 4171).to_string();
        let topics = || real_lookupd::get(&admin, "/api/topics").ok();
        let lists = |(_, body): &(u16, String)| body.contains("\"orders\"");
        let listed = wait::poll(PATIENCE, || topics().filter(lists));
        listed.ok_or_else(|| reports(&running))?;
    }

    let (_, mut tool) = running.pop().ok_or("the pipeline runs")?;
    tool.signal(Signal::TERM)?;
    let ended = wait::poll(PATIENCE, || (!tool.is_running()).then_some(()));
    ended.ok_or("the pipeline does not end")?;
    let expected = format!("stopped: {ORDERS} published, {ORDERS} results");
    assert!(tool.stdout().contains(&expected), "{}", tool.stdout());
    Ok(())
}

/// Where the services are here.
struct Places<'a> {
    ports: Vec<Port>,
    data: &'a Path,
}

impl<'a> Places<'a> {
    fn reserve(data: &'a Path) -> io::Result<Self> {
        let ports = PORTS.iter().map(|_| Port::reserve());
        Ok(Self {
            ports: ports.collect::<io::Result<_>>()?,
            data,
        })
    }

    /// The address that stands for this port of this service.
    fn address(&self, service: &str, port: u16) -> SocketAddr {
        let place = PORTS
            .iter()
            .position(|(name, inside, _)| (*name, *inside) == (service, port));
        self.ports[place.expect("a port of a service")].address()
    }

    /// The flags of a service with the addresses and the folder of this machine.
    fn arguments(&self, service: &Service) -> Vec<String> {
        let flags = service.command.iter().skip(1);
        let mut arguments: Vec<_> = flags.map(|flag| self.replaced(service, flag)).collect();
        for (name, port, flag) in PORTS {
            if let Some(flag) = flag
                && name == service.name
            {
                arguments.push(format!("{flag}={}", self.address(name, port)));
            }
        }
        arguments
    }

    fn replaced(&self, service: &Service, flag: &str) -> String {
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let value = match (name, value.split_once(':')) {
            ("--data-path", _) => self.data.display().to_string(),
            ("--broadcast-address", _) => {
                assert_eq!(value, service.name, "its name in the network");
                "127.0.0.1".to_owned()
            }
            (_, Some((host, port))) => {
                let host = match host {
                    "0.0.0.0" => service.name.as_str(),
                    host => host,
                };
                let port = port.parse().expect("a port");
                self.address(host, port).to_string()
            }
            (_, None) => value.to_owned(),
        };
        format!("{name}={value}")
    }
}

/// The program of a service. `None`: there is no nsqadmin, which the tests do not build.
fn program(service: &str) -> Result<Option<PathBuf>, Failed> {
    let at = |found: &'static Found| match found {
        Found::At(nsqd) => Ok(Some(nsqd.program.clone())),
        Found::Missing(reason) => Err(Failed::from(reason)),
    };
    match service {
        "nsqd" => at(nsqd_program::find()),
        "nsqlookupd" => at(nsqd_program::find_lookupd()),
        "pipeline" => Ok(Some(example::program("actix_web_pipeline")?)),
        other => Ok(nsqd_program::find_other(other)
            .ok()
            .filter(|it| it.is_file())),
    }
}

/// Polls the statistics of the pipeline until they are as expected.
fn stats_with(address: SocketAddr, is_expected: impl Fn(&Value) -> bool) -> Option<Value> {
    let stats = || HttpClient::connect(address).ok()?.get("/stats").ok();
    wait::poll(PATIENCE, || {
        stats().map(|it| it.body).filter(|it| is_expected(it))
    })
}

/// What the programs have printed, for a failure.
fn reports(running: &[(String, Tool)]) -> String {
    let report =
        |(name, tool): &(String, Tool)| format!("{name}:\n{}{}", tool.stdout(), tool.stderr());
    let reports: Vec<_> = running.iter().map(report).collect();
    reports.join("\n")
}
