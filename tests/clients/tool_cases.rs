//! Command lines that are given to NSQ's tools and to the examples of the same names.

use rustix::process::Signal;

/// A command line, what is there before, and how it ends.
pub struct Case {
    pub tool: &'static str,
    /// As in the first two columns of the table in docs/tools.md.
    pub name: &'static str,
    /// `{tcp}`, `{http}` and `{lookupd}` are addresses of the source, `{destination}` is that of
    /// another nsqd, with messages of at most 1,000 bytes, and `{dir}` is an empty folder.
    pub flags: &'static str,
    /// More flags, which most cases of the tool have.
    pub base: &'static str,
    /// What is published before, by topic.
    pub published: &'static [(&'static str, &'static [&'static str])],
    /// The topics have a channel `c` before.
    pub has_channel: bool,
    pub input: &'static str,
    /// Topics whose messages are counted at the destination.
    pub destinations: &'static [&'static str],
    pub end: End,
}

/// How a tool ends.
#[derive(Clone, Copy)]
pub enum End {
    Itself,
    /// Its standard output is closed, and another message comes.
    ClosedStdout,
    /// By a signal, when all messages are finished.
    Finished(Signal),
    /// By SIGTERM, when it has got SIGHUP and another message.
    AfterHangUp,
}

const FIVE: &[(&str, &[&str])] = &[("t", &["one", "two", "three", "four", "five"])];
const TWO_TOPICS: &[(&str, &[&str])] = &[("t", &["one", "two"]), ("u", &["three"])];

const TAIL: Case = Case {
    tool: "nsq_tail",
    name: "",
    flags: "",
    base: "--topic t --nsqd-tcp-address {tcp}",
    published: FIVE,
    has_channel: false,
    input: "",
    destinations: &[],
    end: End::Itself,
};

const STAT: Case = Case {
    tool: "nsq_stat",
    base: "--topic t --channel c --nsqd-http-address {http} --interval 10ms",
    has_channel: true,
    ..TAIL
};

const TO_NSQ: Case = Case {
    tool: "to_nsq",
    base: "--topic t --nsqd-tcp-address {destination}",
    published: &[],
    input: "one\ntwo\n",
    destinations: &["t"],
    ..TAIL
};

const FILE: Case = Case {
    tool: "nsq_to_file",
    base: "--topic t --nsqd-tcp-address {tcp} --output-dir {dir} --sync-interval 50ms",
    end: End::Finished(Signal::TERM),
    ..TAIL
};

const FORWARD: Case = Case {
    tool: "nsq_to_nsq",
    base: "--topic t --nsqd-tcp-address {tcp} --destination-nsqd-tcp-address {destination}",
    destinations: &["t", "d"],
    end: End::Finished(Signal::TERM),
    ..TAIL
};

/// A command line that is rejected.
const REJECTED: End = End::Itself;

const JSON: &[(&str, &[&str])] = &[(
    "t",
    &[
        r#"{"kind":"a","id":1}"#,
        r#"{"kind":"b","id":2,"text":"two"}"#,
        r#"{"id":3}"#,
        r#"{"kind":1.0,"id":4}"#,
    ],
)];

macro_rules! cases {
    ($($base:ident $name:literal $flags:literal $({ $($field:ident: $value:expr),* $(,)? })?)*) => {
        &[$(Case { name: $name, flags: $flags, $($($field: $value,)*)? ..$base }),*]
    };
}

pub const CASES: &[Case] = cases![
    TAIL "one dash" "-topic t -nsqd-tcp-address {tcp} -channel c" {
        base: "",
        end: End::Finished(Signal::TERM),
    }
    TAIL "two dashes" "--topic=t --nsqd-tcp-address={tcp} --channel=c" {
        base: "",
        end: End::Finished(Signal::TERM),
    }
    TAIL "no channel" "-n 5"
    TAIL "print-topic" "-n 5 --print-topic"
    TAIL "print-topic=false" "-n 5 --print-topic=false"
    TAIL "repeated flags" "-n 2 -n 5 --print-topic --print-topic=false"
    TAIL "max-in-flight" "-n 5 --max-in-flight 1"
    TAIL "consumer-opt" "-n 5 --consumer-opt max_attempts,3"
    TAIL "several consumer-opts"
        "-n 5 --consumer-opt msg_timeout,5s --consumer-opt low_rdy_timeout,2s"
    TAIL "lookupd" "--topic t --lookupd-http-address {lookupd} -n 5" { base: "" }
    TAIL "two topics" "--topic u --channel c" {
        published: TWO_TOPICS, end: End::Finished(Signal::TERM)
    }
    TAIL "SIGINT" "--channel c" {
        end: End::Finished(Signal::INT)
    }
    TAIL "n less than there is" "--channel c -n 3"
    TAIL "closed stdout" "--channel c" {
        end: End::ClosedStdout
    }
    TAIL "nothing listens" "--topic t --nsqd-tcp-address 127.0.0.1:1" { base: "" }
    TAIL "no topic" "--nsqd-tcp-address {tcp}" { base: "" }
    TAIL "no address" "--topic t" { base: "" }
    TAIL "both addresses" "--lookupd-http-address {tcp}"
    TAIL "unknown flag" "--nothing"
    TAIL "unknown option" "--consumer-opt nothing,1"
    TAIL "wrong number" "--max-in-flight many"
    TAIL "invalid topic" "--topic t! --nsqd-tcp-address {tcp}" { base: "" }

    STAT "count" "--count 1"
    STAT "one dash"
        "-topic t -channel c -nsqd-http-address {http} -interval 10ms -count 2" { base: "" }
    STAT "header every 25 rows"
        "--topic t --channel c --nsqd-http-address {http} --interval 5ms --count 30" { base: "" }
    STAT "timeouts"
        "--count 1 --http-client-connect-timeout 1s --http-client-request-timeout 1m30s"
    STAT "lookupd"
        "--topic t --channel c --lookupd-http-address {lookupd} --interval 10ms --count 1" {
            base: "",
        }
    STAT "no channel"
        "--topic t --channel x --nsqd-http-address {http} --interval 10ms --count 1" { base: "" }
    STAT "nothing listens"
        "--topic t --channel c --nsqd-http-address 127.0.0.1:1 --count 1" { base: "" }
    STAT "no address" "--topic t --channel c --count 1" { base: "" }
    STAT "both addresses"
        "--topic t --channel c --nsqd-http-address {http} --lookupd-http-address {http} \
         --count 1" { base: "" }
    STAT "scheme"
        "--topic t --channel c --nsqd-http-address http://{http} --interval 10ms --count 1" {
            base: "",
        }
    STAT "interval 0"
        "--topic t --channel c --nsqd-http-address {http} --interval 0s --count 1" { base: "" }
    STAT "count 0" "--topic t --channel c --nsqd-http-address {http} --count 0" { base: "" }

    TO_NSQ "one dash" "-topic t -nsqd-tcp-address {destination}" { base: "" }
    TO_NSQ "delimiter" "--delimiter , --rate 100" {
        input: "one,two,three,"
    }
    TO_NSQ "rate" "--rate 1000"
    TO_NSQ "producer-opt" "--producer-opt dial_timeout,2s"
    TO_NSQ "two addresses" "--nsqd-tcp-address {tcp}"
    TO_NSQ "no topic" "--nsqd-tcp-address {destination}" { base: "" }
    TO_NSQ "no address" "--topic t" { base: "" }
    TO_NSQ "nothing listens" "--topic t --nsqd-tcp-address 127.0.0.1:1" { base: "" }

    FILE "defaults" ""
    FILE "one dash"
        "-topic t -nsqd-tcp-address {tcp} -output-dir {dir} -sync-interval 50ms" { base: "" }
    FILE "several topics" "--topic u" {
        published: TWO_TOPICS
    }
    FILE "channel and max-in-flight"
        "--topic t --channel c --max-in-flight 2 --nsqd-tcp-address {tcp} --output-dir {dir}" {
        base: "",
        published: &[("t", &["one", "two", "three", "four"])]
    }
    FILE "filename-format" "--filename-format sub/<TOPIC>-<HOST>.<DATETIME>.txt"
    FILE "datetime-format" "--datetime-format %Y-%m-%d,%B,%b,%A,%a,%y,%Z,%z,%p,%I,%H,%%"
    FILE "host-identifier" "--host-identifier x-<SHORT_HOST>-<HOSTNAME>"
    FILE "gzip" "--gzip --gzip-level 9"
    FILE "work-dir"
        "--topic t --nsqd-tcp-address {tcp} --output-dir {dir}/out --work-dir {dir}/work \
         --sync-interval 50ms" { base: "" }
    FILE "rotate-size" "--rotate-size 6"
    FILE "rotate-interval" "--rotate-interval 1h"
    FILE "skip-empty-files" "--skip-empty-files"
    FILE "lookupd"
        "--topic t --lookupd-http-address {lookupd} --output-dir {dir} --sync-interval 50ms" {
            base: "",
        }
    FILE "topic-pattern"
        "--topic-pattern ^t$ --topic-refresh 100ms --lookupd-http-address {lookupd} \
         --output-dir {dir} --sync-interval 50ms --http-client-connect-timeout 1s \
         --http-client-request-timeout 2s" { base: "" }
    FILE "log-level and log-prefix"
        "--log-level error --log-prefix x --consumer-opt msg_timeout,10s"
    FILE "SIGINT" "" {
        end: End::Finished(Signal::INT),
    }
    FILE "SIGHUP" "" {
        end: End::AfterHangUp
    }
    FILE "SIGHUP with work-dir"
        "--topic t --nsqd-tcp-address {tcp} --output-dir {dir}/out --work-dir {dir}/work \
         --sync-interval 50ms" {
        base: "",
        end: End::AfterHangUp
    }
    FILE "no topic" "--nsqd-tcp-address {tcp}" { base: "", end: REJECTED }
    FILE "no address" "--topic t" { base: "", end: REJECTED }
    FILE "both addresses"
        "--topic t --nsqd-tcp-address {tcp} --lookupd-http-address {tcp}" {
            base: "",
            end: REJECTED,
        }
    FILE "pattern without lookupd"
        "--topic-pattern t --nsqd-tcp-address {tcp}" { base: "", end: REJECTED }
    FILE "gzip-level 10"
        "--topic t --nsqd-tcp-address {tcp} --gzip-level 10" { base: "", end: REJECTED }
    FILE "unknown log-level"
        "--topic t --nsqd-tcp-address {tcp} --log-level loud" { base: "", end: REJECTED }
    FILE "more arguments" "--topic t --nsqd-tcp-address {tcp} more" { base: "", end: REJECTED }

    FORWARD "defaults" ""
    FORWARD "one dash"
        "-topic t -nsqd-tcp-address {tcp} -destination-nsqd-tcp-address {destination}" {
            base: "",
        }
    FORWARD "destination-topic" "--destination-topic d"
    FORWARD "round-robin" "--mode round-robin"
    FORWARD "epsilon-greedy" "--mode epsilon-greedy"
    FORWARD "lookupd"
        "--topic t --lookupd-http-address {lookupd} --destination-nsqd-tcp-address \
         {destination}" { base: "" }
    FORWARD "options"
        "--channel c --max-in-flight 2 --status-every 2 --consumer-opt msg_timeout,10s \
         --producer-opt dial_timeout,2s"
    FORWARD "require-json-field" "--require-json-field kind" {
        published: JSON
    }
    FORWARD "require-json-value" "--require-json-field id --require-json-value 2" {
        published: JSON
    }
    FORWARD "whitelist-json-field" "--whitelist-json-field id --whitelist-json-field text" {
        published: JSON
    }
    FORWARD "not JSON" "--whitelist-json-field id"
    FORWARD "large numbers" "--whitelist-json-field id" {
        published: &[("t", &[r#"{"id":9007199254740993}"#])]
    }
    FORWARD "unknown mode" "--mode fastest"
    FORWARD "no destination" "--topic t --nsqd-tcp-address {tcp}" { base: "", end: REJECTED }
    FORWARD "no topic"
        "--nsqd-tcp-address {tcp} --destination-nsqd-tcp-address {destination}" {
            base: "",
            end: REJECTED,
        }
];
