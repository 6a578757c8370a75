//! Publishes good and bad in any mixture: the bad ones are refused by name, and the wire has the good ones, byte by byte.

use std::time::Duration;

use actix::Addr;
use actix_nsq::{
    DeferredPublish, Delivery, ErrorKind, MultiPublish, Producer, ProducerHandle, Publish,
};
use proptest::{prelude::*, sample::select};

use crate::config::one_short_line;
use crate::harness::{Answer, Network, in_virtual_time, ms, s, send, topic};
use crate::support::spoken::ok_frame;

const MAX: usize = 100;
const MAX_BATCH: usize = 300;

#[derive(Clone, Debug)]
enum What {
    One(usize),
    Batch(Vec<usize>),
    Deferred(usize, Duration),
}

#[derive(Clone, Debug)]
struct Case {
    what: What,
    timeout: Option<Duration>,
    by_handle: bool,
}

fn sizes() -> impl Strategy<Value = usize> {
    select(vec![0, 1, 2, MAX - 1, MAX, MAX + 1, 10 * MAX, 1 << 20])
}

fn cases() -> impl Strategy<Value = Case> {
    let delays = vec![
        Duration::ZERO,
        ms(1),
        s(1),
        // Rounded down to milliseconds, as documented.
        s(1) + Duration::from_nanos(999_999),
        s(1) + ms(1),
        Duration::from_millis(u64::MAX),
        Duration::MAX,
    ];
    // 296 bytes fit beside the count, with 4 before each.
    let tight = select(vec![
        vec![96, 96, 92],
        vec![96, 96, 93],
        vec![1; 59],
        vec![1; 60],
    ]);
    let what = prop_oneof![
        sizes().prop_map(What::One),
        (sizes(), select(delays)).prop_map(|(size, delay)| What::Deferred(size, delay)),
        prop::collection::vec(sizes(), 0..5).prop_map(What::Batch),
        tight.prop_map(What::Batch),
    ];
    let times = select(vec![None, None, Some(Duration::ZERO), Some(Duration::MAX)]);
    (what, times, any::<bool>()).prop_map(|(what, timeout, by_handle)| Case {
        what,
        timeout,
        by_handle,
    })
}

/// A body that says which publish it belongs to.
fn body(number: usize, size: usize) -> Vec<u8> {
    vec![b'a' + (number % 26) as u8; size]
}

impl Case {
    /// Of what kind the refusal is, and what it must name; by the documentation, and not by the code.
    fn refusal(&self) -> Option<(ErrorKind, Vec<String>)> {
        let one = |size: usize| match size {
            0 => Some((ErrorKind::EmptyBody, Vec::new())),
            size if size > MAX => {
                let words = vec![size.to_string(), format!("max_publish_size ({MAX})")];
                Some((ErrorKind::TooLarge, words))
            }
            _ => None,
        };
        let refused = match &self.what {
            What::One(size) => one(*size),
            What::Deferred(_, delay) if delay.as_millis() > 1_000 => {
                let words = vec!["max_req_timeout (1s)".to_owned()];
                Some((ErrorKind::DelayTooLong, words))
            }
            What::Deferred(size, _) => one(*size),
            What::Batch(sizes) if sizes.is_empty() => Some((ErrorKind::EmptyBatch, Vec::new())),
            What::Batch(sizes) => {
                let bad = sizes.iter().enumerate().find_map(|(place, size)| {
                    let (kind, mut words) = one(*size)?;
                    words.push(format!("index {place}"));
                    Some((kind, words))
                });
                let total = 4 + sizes.iter().map(|size| 4 + size).sum::<usize>();
                bad.or((total > MAX_BATCH).then(|| {
                    let limit = format!("max_batch_size ({MAX_BATCH})");
                    (ErrorKind::TooLarge, vec![total.to_string(), limit])
                }))
            }
        };
        let out_of_time = self.timeout == Some(Duration::ZERO) && !self.by_handle;
        refused.or(out_of_time.then(|| (ErrorKind::Timeout, Vec::new())))
    }

    fn send(&self, number: usize, handle: &ProducerHandle) -> Answer {
        let topic = topic("t");
        let timeout = self.timeout.unwrap_or(s(30));
        let producer = handle.address();
        let handle = handle.clone();
        match (self.what.clone(), self.by_handle) {
            (What::One(size), true) => {
                Box::pin(async move { handle.publish(&topic, body(number, size)).await })
            }
            (What::One(size), false) => send(
                producer,
                Publish::new(topic, body(number, size)).expires_in(timeout),
            ),
            (What::Batch(sizes), by_handle) => {
                let bodies: Vec<_> = sizes.iter().map(|size| body(number, *size)).collect();
                match by_handle {
                    true => Box::pin(async move { handle.multi_publish(&topic, bodies).await }),
                    false => send(
                        producer,
                        MultiPublish::new(topic, bodies).expires_in(timeout),
                    ),
                }
            }
            (What::Deferred(size, delay), true) => Box::pin(async move {
                let body = body(number, size);
                handle.deferred_publish(&topic, delay, body).await
            }),
            (What::Deferred(size, delay), false) => send(
                producer,
                DeferredPublish::new(topic, delay, body(number, size)).expires_in(timeout),
            ),
        }
    }

    /// As nsqd reads it.
    fn bytes(&self, number: usize) -> Vec<u8> {
        let sized = |size: usize| {
            let length = u32::try_from(size).unwrap().to_be_bytes();
            [&length[..], &body(number, size)].concat()
        };
        match &self.what {
            What::One(size) => [&b"PUB t\n"[..], &sized(*size)].concat(),
            What::Deferred(size, delay) => {
                let head = format!("DPUB t {}\n", delay.as_millis());
                [head.as_bytes(), &sized(*size)].concat()
            }
            What::Batch(sizes) => {
                let bodies: Vec<u8> = sizes.iter().flat_map(|size| sized(*size)).collect();
                let length = u32::try_from(4 + bodies.len()).unwrap().to_be_bytes();
                let count = u32::try_from(sizes.len()).unwrap().to_be_bytes();
                [&b"MPUB t\n"[..], &length, &count, &bodies].concat()
            }
        }
    }
}

fn play(cases: &[Case]) {
    in_virtual_time(async |mut network: Network| {
        let handle = network.start_handle_with(|config| {
            config
                .max_publish_size(MAX)
                .max_batch_size(MAX_BATCH)
                .max_req_timeout(s(1))
        });
        let mut nsqd = network.connected().await;
        let greeted = nsqd.script().received().len();
        let mut good = Vec::new();
        for (number, case) in cases.iter().enumerate() {
            // One after the other: a ProducerHandle's publish begins when it is first polled.
            let answer = case.send(number, &handle);
            match case.refusal() {
                Some((kind, words)) => {
                    let error = answer.await.expect_err("a refusal");
                    assert_eq!(error.kind(), kind, "{case:?}: {error}");
                    assert_eq!(error.delivery(), Delivery::NotWritten);
                    let text = one_short_line(&error);
                    for word in words {
                        assert!(text.contains(&word), "no {word:?} in {text:?}");
                    }
                }
                None => {
                    let bytes = case.bytes(number);
                    let peer = async {
                        nsqd.expect(&bytes).await;
                        nsqd.send(ok_frame()).await;
                    };
                    let (answer, ()) = tokio::join!(answer, peer);
                    answer.unwrap_or_else(|error| panic!("{case:?}: {error}"));
                    good.extend(bytes);
                }
            }
        }
        nsqd.expect_silence(s(1)).await;
        assert!(nsqd.script().received()[greeted..] == good);
        network.expect_no_dial(s(1)).await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn good_publishes_are_sent_and_bad_ones_refused_in_any_mixture(
        cases in prop::collection::vec(cases(), 1..20)
    ) {
        play(&cases);
    }
}
