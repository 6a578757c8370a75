//! `docs/options.md` lists every option of this crate and of go-nsq.

use actix_nsq::{
    ConfigOption, ConfigScope, ConnectionConfig, ConsumerConfig, LookupConfig, PoolConfig,
    ProducerConfig,
};

use super::{
    go_nsq::{GO_NSQ, GoOption, Here},
    is_up_to_date,
};

const PAGE: &str = "docs/options.md";

#[test]
fn options_page_is_up_to_date() {
    // In one test, because each part may write the page.
    let connection = ConnectionConfig::options();
    let producer: Vec<_> = ProducerConfig::options()
        .into_iter()
        .filter(|option| !connection.contains(option))
        .collect();
    is_up_to_date(PAGE, "connection-options", &table(&connection));
    is_up_to_date(PAGE, "producer-options", &table(&producer));
    let pool: Vec<_> = PoolConfig::options()
        .into_iter()
        .filter(|option| option.scope == ConfigScope::Pool)
        .collect();
    is_up_to_date(PAGE, "pool-options", &table(&pool));
    let consumer: Vec<_> = ConsumerConfig::options()
        .into_iter()
        .filter(|option| option.scope == ConfigScope::Consumer)
        .collect();
    is_up_to_date(PAGE, "consumer-options", &table(&consumer));
    is_up_to_date(PAGE, "lookup-options", &table(&LookupConfig::options()));
    is_up_to_date(PAGE, "go-nsq", &go_nsq_table());
}

fn table(options: &[ConfigOption]) -> String {
    let mut table = String::from("| option | default | value | meaning |\n|---|---|---|---|\n");
    for option in options {
        let (default, bounds) = (default(option), option.bounds);
        let feature = match option.feature {
            Some(feature) => format!(" Feature `{feature}`."),
            None => String::new(),
        };
        table += &format!(
            "| `{}` | {default} | {bounds} | {}{feature} |\n",
            option.name, option.meaning
        );
    }
    table
}

fn go_nsq_table() -> String {
    let mut table =
        String::from("| go-nsq 1.1 | default | value | actix-nsq |\n|---|---|---|---|\n");
    for option in GO_NSQ {
        let GoOption {
            name,
            default,
            bounds,
            here,
        } = option;
        table += &format!(
            "| `{name}` | {default} | {bounds} | {} |\n",
            compared(name, here)
        );
    }
    table
}

#[test]
fn go_nsq_table_agrees_with_the_options() {
    let mut names = std::collections::HashSet::new();
    for option in GO_NSQ {
        let name = option.name;
        assert!(names.insert(name), "{name} is listed twice");
        let own = own(name);
        match option.here {
            Here::Same => {
                let own = own.unwrap_or_else(|| panic!("{name} is not an option"));
                // An empty value means a default that depends on the host, as in go-nsq.
                let is_same = own.default.is_empty() || own.default == option.default;
                assert!(is_same, "{name}: {} is not {}", own.default, option.default);
            }
            Here::Differs(_) => {
                let own = own.unwrap_or_else(|| panic!("{name} is not an option"));
                assert_ne!(own.default, option.default, "{name} has the same default");
            }
            Here::Instead(others, _) => {
                assert!(own.is_none(), "{name} is an option");
                let are_options = others.iter().all(|other| self::own(other).is_some());
                assert!(are_options, "{name}: {others:?}");
            }
            Here::Never(_) => assert!(own.is_none(), "{name} is an option"),
        }
    }
}

#[test]
fn unsupported_go_nsq_option_is_rejected_with_alternative() {
    for option in GO_NSQ.iter().filter(|option| own(option.name).is_none()) {
        let name = option.name;
        let error = ProducerConfig::builder("nsqd:4150")
            .set(name, "1")
            .unwrap_err();
        let text = format!("unsupported option {name} of go-nsq: ");
        assert!(error.to_string().starts_with(&text), "{error}");
        if let Here::Instead(others, _) = option.here {
            for other in others {
                assert!(error.to_string().contains(other), "{error}");
            }
        }
    }
}

fn own(name: &str) -> Option<ConfigOption> {
    let options = ProducerConfig::options().into_iter();
    let mut options = options.chain(ConsumerConfig::options());
    options.find(|option| option.name == name)
}

fn default(option: &ConfigOption) -> String {
    match option.default {
        "" => "(empty)".into(),
        default => default.replace(env!("CARGO_PKG_VERSION"), "&lt;version&gt;"),
    }
}

fn compared(name: &str, here: &Here) -> String {
    let own = || own(name).unwrap_or_else(|| panic!("{name} is not an option"));
    match here {
        Here::Same => format!("the same; {}", own().bounds),
        Here::Differs(why) => format!("default {}; {}. {why}", default(&own()), own().bounds),
        Here::Instead(others, why) => {
            let others: Vec<_> = others.iter().map(|other| format!("`{other}`")).collect();
            format!("{}: {why}", others.join(", "))
        }
        Here::Never(why) => format!("unsupported: {why}"),
    }
}
