//! `docs/options.md`: every option of this crate, and every one of go-nsq's.

use std::time::Duration;

use actix_nsq::{ConfigOption, ProducerConfig};

use super::{
    go_nsq::{GO_NSQ, GoOption, Here},
    is_up_to_date,
};

const PAGE: &str = "docs/options.md";

#[test]
fn the_page_has_every_option_and_every_one_of_go_nsq() {
    // One after the other, since both may write the page.
    is_up_to_date(PAGE, "options", &all_options());
    is_up_to_date(PAGE, "go-nsq", &options_of_go_nsq());
}

fn all_options() -> String {
    let mut table = String::from(
        "| option | default | a value must be | what it decides |\n|---|---|---|---|\n",
    );
    for option in ProducerConfig::options() {
        let (default, bounds) = (default(&option), bounds(&option));
        let needs = match option.feature {
            Some(feature) => format!(" Feature `{feature}`."),
            None => String::new(),
        };
        table += &format!(
            "| `{}` | {default} | {bounds} | {}{needs} |\n",
            option.name, option.meaning
        );
    }
    table
}

fn options_of_go_nsq() -> String {
    let mut table = String::from("| go-nsq 1.1 | default | bounds | here |\n|---|---|---|---|\n");
    for GoOption {
        name,
        default,
        bounds,
        here,
    } in GO_NSQ
    {
        table += &format!(
            "| `{name}` | {default} | {bounds} | {} |\n",
            told(name, here)
        );
    }
    table
}

#[test]
fn what_is_said_of_go_nsqs_options_is_so() {
    for GoOption {
        name,
        default,
        here,
        ..
    } in GO_NSQ
    {
        let ours = ours(name);
        match here {
            Here::Same => {
                let ours = ours
                    .unwrap_or_else(|| panic!("{name} is said to be the same, and is no option"));
                // What is empty, or any, is found out at run time, as go-nsq does.
                let found_out = ["", "any"].contains(&ours.default.as_str());
                assert!(
                    found_out || ours.default == *default,
                    "{name}: {} is not {default}",
                    ours.default
                );
            }
            Here::Differs(_) => {
                let ours =
                    ours.unwrap_or_else(|| panic!("{name} is said to differ, and is no option"));
                assert_ne!(
                    ours.default, *default,
                    "{name} is said to have another default"
                );
            }
            Here::Instead(others, _) => {
                assert!(
                    ours.is_none(),
                    "{name} is said to be replaced, and is an option"
                );
                assert!(
                    others.iter().all(|other| self::ours(other).is_some()),
                    "{name}: {others:?}"
                );
            }
            Here::With(_) | Here::Never(_) => assert!(
                ours.is_none(),
                "{name} is said to be absent, and is an option"
            ),
        }
    }
}

#[test]
fn no_option_of_go_nsq_stands_twice_in_the_table() {
    let names: Vec<_> = GO_NSQ.iter().map(|option| option.name).collect();
    let mut once = names.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(
        once.len(),
        names.len(),
        "an option of go-nsq stands twice in the table"
    );
}

/// go-nsq's ways to write a value, as the page has them.
#[test]
fn values_are_written_as_for_go_nsq() {
    for (text, milliseconds) in [
        ("500", 500),
        ("500ms", 500),
        ("1.5s", 1_500),
        ("1m30s", 90_000),
        ("0.5m", 30_000),
    ] {
        let builder = ProducerConfig::builder("nsqd:4150").set("dial-timeout", text);
        let config = builder.unwrap().build().unwrap();
        assert_eq!(
            config.dial_timeout(),
            Duration::from_millis(milliseconds),
            "{text}"
        );
    }
    let off = ProducerConfig::builder("nsqd:4150").set("heartbeat_interval", "-1");
    assert_eq!(off.unwrap().build().unwrap().heartbeat_interval(), None);
    for (text, value) in [("true", true), ("1", true), ("false", false), ("0", false)] {
        let config = ProducerConfig::builder("nsqd:4150").set("retry_maybe_written", text);
        assert_eq!(
            config.unwrap().build().unwrap().retry_maybe_written(),
            value
        );
    }
    // Go reads these, too.
    for text in ["t", "TRUE", "F"] {
        assert!(
            ProducerConfig::builder("nsqd:4150")
                .set("retry_maybe_written", text)
                .is_err(),
            "{text}"
        );
    }
}

fn ours(name: &str) -> Option<ConfigOption> {
    ProducerConfig::options()
        .into_iter()
        .find(|option| option.name == name)
}

fn default(option: &ConfigOption) -> String {
    match option.default.as_str() {
        "" => "(empty)".into(),
        default => default.replace(env!("CARGO_PKG_VERSION"), "&lt;version&gt;"),
    }
}

fn bounds(option: &ConfigOption) -> String {
    // Which number that is depends on the machine.
    option.bounds.replace(&format!(" to {}", usize::MAX), " up")
}

fn told(name: &str, here: &Here) -> String {
    let ours = ours(name).map(|ours| (default(&ours), bounds(&ours)));
    match (here, ours) {
        (Here::Same, Some((_, bounds))) => format!("the same; {bounds}"),
        (Here::Differs(why), Some((default, bounds))) => {
            format!("default {default}; {bounds}. {why}")
        }
        (Here::Instead(others, why), _) => {
            let others: Vec<_> = others.iter().map(|other| format!("`{other}`")).collect();
            format!("{}: {why}", others.join(", "))
        }
        (Here::With(what), _) => format!("comes with {what}"),
        (Here::Never(why), _) => format!("not here: {why}"),
        (Here::Same | Here::Differs(_), None) => panic!("{name} is no option"),
    }
}
