//! The example `embedded_nsqlookupd`, which runs the embedded nsqlookupd as a program.

use std::process::{Command, Output};

use libtest_mimic::{Failed, Trial};
use rustix::process::Signal;

use crate::embedded_nsqd::Program;
use crate::support::real_lookupd::get;
use crate::support::{example, raw_client, wait};

const NAME: &str = "embedded_nsqlookupd";

pub fn trials() -> Vec<Trial> {
    let name = |name: &str| format!("{NAME}::{name}");
    vec![
        Trial::test(name("nsqd_as_a_program_registers"), registers),
        Trial::test(name("program_accepts_nodes_and_faults"), flags),
        Trial::test(name("program_rejects_invalid_flags"), rejects),
    ]
}

fn registers() -> Result<(), Failed> {
    let lookupd = Program::start_example(NAME, &["-broadcast-address=localhost"])?;
    let flag = format!("-lookupd-tcp-address={}", lookupd.address);
    let nsqd = Program::start(&[&flag, "-broadcast-address=nsqd-1"])?;
    raw_client::publish(&nsqd.address, "t", &[b"x"])?;
    let listed = || {
        let (_, body) = get(&lookupd.http_address, "/lookup?topic=t").ok()?;
        body.contains(r#""broadcast_address":"nsqd-1""#)
            .then_some(())
    };
    assert!(wait::poll(wait::PATIENCE, listed).is_some());
    assert!(lookupd.end(Signal::TERM)?.success());
    Ok(())
}

fn flags() -> Result<(), Failed> {
    let lookupd = Program::start_example(
        NAME,
        &[
            "-node",
            "t=nsqd-1:4150",
            "--node=u=::1:4152",
            "-inactive-producer-timeout=1m",
            "-tombstone-lifetime",
            "1h",
            "-fault=chunks=1",
            "-fault",
            "delay=1ms",
        ],
    )?;
    let (status, body) = get(&lookupd.http_address, "/lookup?topic=u")?;
    assert_eq!(status, 200);
    assert!(
        body.contains(r#""broadcast_address":"::1","tcp_port":4152"#),
        "{body}"
    );
    let failing = Program::start_example(NAME, &["-fault=status=503"])?;
    assert_eq!(
        get(&failing.http_address, "/nodes")?,
        (503, "{}".to_owned())
    );
    Ok(())
}

fn rejects() -> Result<(), Failed> {
    let program = example::program(NAME)?;
    let output = |flag: &str| Command::new(&program).arg(flag).output();
    for (flag, named) in [
        ("-node=t", "must be TOPIC=HOST:PORT"),
        ("-fault=none", "unknown fault"),
        ("-fault=cut=x", "cut needs a number"),
        ("-mem-queue-size=0", "--mem-queue-size"),
    ] {
        let Output { status, stderr, .. } = output(flag)?;
        assert_eq!(status.code(), Some(2), "{flag}");
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(stderr.contains(named), "{flag}: {stderr}");
    }
    assert_eq!(output("--http-address=nowhere")?.status.code(), Some(1));
    Ok(())
}
