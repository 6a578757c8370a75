//! What is sent to nsqlookupd: path, query, headers, secrets.

use actix_nsq::{
    ConfigError, Consumer, ConsumerConfig, Secret, Subscription,
    lookup::{AddLookupd, Refresh, nodes as all_nodes, topics},
};

use super::world::{Answer, World, http, nodes, now, state};
use crate::harness::{in_virtual_time, ms, s};
use crate::support::logs;

/// checklist: 84, 85, 86
#[test]
fn request_has_path_query_topic_and_headers() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:443", nodes(&["nsqd"]));
        let lookupd = "http://Lookupd:443/nsq/lookup?tenant=7";
        let _consumer = world.start(&[lookupd], |config| config.user_agent("me/1"));
        let _nsqd = world.subscribed("nsqd:4150").await;
        let head = &world.requests()[0].head;
        let lines: Vec<_> = head.split("\r\n").collect();
        assert_eq!(lines[0], "GET /nsq/lookup?tenant=7&topic=t HTTP/1.1");
        for line in [
            "host: lookupd:443",
            "user-agent: me/1",
            "accept: application/vnd.nsq; version=1.0",
        ] {
            assert!(lines.contains(&line), "{line} is not in {lines:?}");
        }
        assert!(!head.to_ascii_lowercase().contains("authorization"));
    });
}

/// checklist: 86
#[test]
fn authorization_is_sent_only_on_request() {
    in_virtual_time(async |network| {
        let mut world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&["nsqd"]));
        let silent = world.start(&["lookupd:4161"], |config| config.auth_secret("hunter2"));
        let _nsqd = world.subscribed("nsqd:4150").await;
        assert!(!world.requests()[0].head.contains("hunter2"));
        drop(silent);
        let _consumer = world.start(&["lookupd:4161"], |config| {
            config.auth_secret("hunter2").lookupd_authorization(true)
        });
        let _nsqd = world.subscribed("nsqd:4150").await;
        let head = &world.requests()[0].head;
        assert!(head.contains("authorization: Bearer hunter2\r\n"), "{head}");
    });
}

/// checklist: 86
#[test]
fn provider_supplies_the_secret_of_each_round() {
    in_virtual_time(async |network| {
        let world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&[]));
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let consumer = world.start(&["lookupd:4161"], |config| {
            config
                .lookupd_authorization(true)
                .auth_secret_provider(move || {
                    let call = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    async move {
                        match call {
                            2 => Err("vault is down".into()),
                            3 => Ok(Secret::from("a\nb")),
                            call => Ok(Secret::from(format!("secret-{call}"))),
                        }
                    }
                })
        });
        tokio::time::sleep(ms(1_500)).await;
        let heads: Vec<_> = world.requests().into_iter().map(|it| it.head).collect();
        assert!(heads[0].contains("Bearer secret-0\r\n"), "{heads:?}");
        assert!(heads[1].contains("Bearer secret-1\r\n"), "{heads:?}");
        tokio::time::sleep(s(1)).await;
        let error = state(&consumer).await.lookupds[0]
            .last_error
            .clone()
            .unwrap();
        let text = "lookupd_authorization is set, but auth_secret_provider failed: vault is down";
        assert_eq!(error.to_string(), text);
        tokio::time::sleep(s(2)).await;
        let error = state(&consumer).await.lookupds[0]
            .last_error
            .clone()
            .unwrap();
        let text = "lookupd_authorization is set, but the secret cannot be sent in a header";
        assert_eq!(error.to_string(), text);
    });
}

/// checklist: 86
#[test]
fn no_log_or_debug_shows_a_token_of_the_query() {
    in_virtual_time(async |network| {
        logs::capture();
        let world = World::new(network);
        let lookupd = "https://lookupd:443/nsq?token=hunter2";
        let consumer = world.start(&["http://lookupd:80/a?token=hunter2"], |config| config);
        let added = AddLookupd("http://lookupd:81?token=hunter2".into());
        let mut texts = vec![format!("{added:?}")];
        consumer.send(added).await.unwrap().unwrap();
        for answer in [
            Answer::Refused,
            nodes(&[]),
            now(http("401 Unauthorized", r#"{"message":"token=hunter2"}"#)),
            Answer::Last(b"token=hunter2".to_vec()),
            Answer::Last(
                b"HTTP/1.1 301 Moved\r\nLocation: /?token=hunter2\r\nContent-Length: 0\r\n\r\n"
                    .to_vec(),
            ),
        ] {
            world.lookupd("lookupd:80", answer.clone());
            world.lookupd("lookupd:81", answer);
            consumer.send(Refresh).await.unwrap();
            tokio::time::sleep(s(2)).await;
        }
        let state = state(&consumer).await;
        assert_eq!(&*state.lookupds[0].address, "http://lookupd:80/a?***");
        let config = ConsumerConfig::discover([lookupd]);
        texts.push(format!("{config:?} {:?}", config.clone().build()));
        texts.push(format!(
            "{:?}",
            ConsumerConfig::discover(["ftp://h:1?hunter2"]).build()
        ));
        texts.push(format!("{:?}", AddLookupd("http://me:hunter2@h:1".into())));
        texts.push(format!(
            "{state:?} {}",
            serde_json::to_string(&state).unwrap()
        ));
        texts.extend(logs::take().into_iter().map(|(_, line)| line));
        assert!(texts.len() > 8, "{texts:?}");
        for text in texts {
            assert!(!text.contains("hunter2"), "{text}");
        }
    });
}

/// checklist: 85
#[test]
fn invalid_addresses_and_options_are_rejected() {
    let built = |lookupd: &str| ConsumerConfig::discover([lookupd]).build().unwrap_err();
    let text = "nsqlookupd address \"lookupd\": no port; that of nsqlookupd is usually 4161; \
                expected host:port, such as 127.0.0.1:4161, or a URL";
    assert_eq!(built("lookupd").to_string(), text);
    let user = built("http://me:hunter2@lookupd:4161").to_string();
    assert!(user.contains("use lookupd_authorization"), "{user}");
    let set = |name: &str, value: &str| -> Result<_, ConfigError> {
        ConsumerConfig::discover(["lookupd:4161"]).set(name, value)
    };
    let error = set("skip_lookupd_authorization", "true").unwrap_err();
    let text = "unsupported option skip_lookupd_authorization of go-nsq: in go-nsq true means";
    assert!(error.to_string().starts_with(text), "{error}");
    let error = set("lookupd_poll_jitter", "1.5").unwrap_err();
    let text = "option lookupd_poll_jitter = \"1.5\": must be a number from 0 to 1";
    assert_eq!(error.to_string(), text);
    let config = set("lookupd_http_address", "a:1, b:2,a:1").unwrap().build();
    let config = config.unwrap();
    assert_eq!(
        config.lookup().lookupds().collect::<Vec<_>>(),
        ["a:1", "b:2"]
    );
}

/// checklist: 85
#[test]
fn url_and_environment_have_lookupds() {
    let url = "nsq:///?lookupd_http_address=a:4161,b:4161&lookupd_poll_interval=5s";
    let config = ConsumerConfig::from_url(url).unwrap();
    assert_eq!(config.addresses().count(), 0);
    assert_eq!(config.lookup().lookupds().count(), 2);
    assert_eq!(config.lookup().lookupd_poll_interval(), s(5));
    let vars = |vars: &[(&str, &str)]| {
        let vars = vars
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        ConsumerConfig::from_vars(vars)
    };
    let lookupd = ("NSQ_LOOKUPD_HTTP_ADDRESS", "a:4161,https://b:443/nsq?t=1");
    let config = vars(&[lookupd]).unwrap();
    assert_eq!(config.addresses().count(), 0);
    assert_eq!(config.lookup().lookupds().count(), 2);
    let config = vars(&[lookupd, ("NSQD_TCP_ADDRESS", "nsqd:4150")]).unwrap();
    assert_eq!(config.addresses().count(), 1);
    let error = vars(&[("NSQ_LOOKUPD_HTTP_ADDRESS", "")]).unwrap_err();
    assert!(error.to_string().contains("NSQD_TCP_ADDRESS"), "{error}");
    // A producer in the same environment ignores them.
    let both = [lookupd, ("NSQD_TCP_ADDRESS", "nsqd:4150")];
    let both = both.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert!(actix_nsq::ProducerConfig::from_vars(both.clone()).is_ok());
    assert!(actix_nsq::ConnectionConfig::from_vars(both).is_ok());
}

/// checklist: 86
#[test]
fn ephemeral_topic_is_encoded_in_the_request() {
    in_virtual_time(async |network| {
        let connector = network.connector();
        let world = World::new(network);
        world.lookupd("lookupd:4161", nodes(&[]));
        let config = ConsumerConfig::discover(["lookupd:4161"]).connector(connector);
        let subscription = Subscription::new("t#ephemeral", "c").unwrap();
        let (handler, _messages) = actix_nsq::MessageHandler::stream();
        let _consumer = Consumer::start(config.build().unwrap(), subscription, handler);
        tokio::time::sleep(ms(10)).await;
        let head = &world.requests()[0].head;
        assert!(
            head.starts_with("GET /lookup?topic=t%23ephemeral HTTP/1.1"),
            "{head}"
        );
    });
}

/// checklist: 81
#[test]
fn functions_return_the_union_of_all_answers() {
    in_virtual_time(async |network| {
        let world = World::new(network);
        let config = world.config(&["lookupd-1:4161", "lookupd-2:4161", "lookupd-3:4161"]);
        let config = config.build().unwrap();
        let error = all_nodes(&config).await.unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot connect to lookupd-1:4161"),
            "{error}"
        );
        let producers = |host: &str, topics: &str, tombstones: &str| {
            now(http(
                "200 OK",
                &format!(
                    r#"{{"producers":[{{"broadcast_address":"{host}","tcp_port":4150,
                        "http_port":4151,"topics":{topics},"tombstones":{tombstones}}}]}}"#
                ),
            ))
        };
        world.lookupd(
            "lookupd-1:4161",
            producers("a", r#"["t","u"]"#, "[true,true]"),
        );
        world.lookupd(
            "lookupd-2:4161",
            producers("a", r#"["v","u"]"#, "[false,false]"),
        );
        let nodes = all_nodes(&config).await.unwrap();
        assert_eq!(nodes.len(), 1);
        let topics_of_a: Vec<_> = nodes[0].topics.iter().map(|it| it.topic.as_str()).collect();
        assert_eq!(topics_of_a, ["t", "u", "v"]);
        let tombstones: Vec<_> = nodes[0].topics.iter().map(|it| it.is_tombstoned).collect();
        assert_eq!(tombstones, [true, false, false]);
        assert!(world.requests()[0].head.starts_with("GET /nodes HTTP/1.1"));

        world.lookupd(
            "lookupd-1:4161",
            now(http("200 OK", r#"{"topics":["u","t"]}"#)),
        );
        world.lookupd(
            "lookupd-2:4161",
            now(http("200 OK", r#"{"topics":["t","v"]}"#)),
        );
        let names: Vec<_> = topics(&config).await.unwrap();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["t", "u", "v"]);
        assert!(world.requests()[0].head.starts_with("GET /topics HTTP/1.1"));

        world.lookupd("lookupd-1:4161", super::world::unknown_topic());
        world.lookupd("lookupd-2:4161", Answer::Refused);
        let topic = actix_nsq::Topic::from_static("t");
        let nodes = actix_nsq::lookup::lookup(&config, &topic).await.unwrap();
        assert_eq!(nodes, []);
    });
}
