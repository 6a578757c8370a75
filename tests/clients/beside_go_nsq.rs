//! A consumer on one channel with go-nsq's, as during a move: `nsq_tail` consumes with go-nsq.
//! MIGRATION.md says what users have to know.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use actix_nsq::{ConsumerConfig, ConsumerHandle, MessageStream, Requeue, Subscription};
use libtest_mimic::{Failed, Trial};

use crate::embedded_nsqd::Program;
use crate::nsq_tools::{tool, with_tools};
use crate::support::{raw_client, real_nsqd::RealNsqd, wait::PATIENCE};

const TOPIC: &str = "beside-go-nsq";
const CHANNEL: &str = "moving";
const MESSAGES: usize = 400;

/// A test of an nsqd with this address.
type Run = fn(&str) -> Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    let tests: [(&str, Run); 2] = [
        ("consumers_of_both_clients_share_a_channel", share),
        ("go_nsq_discards_what_was_delivered_too_often", discard),
    ];
    let of_both = tests.into_iter().flat_map(|(name, run)| {
        [
            Trial::ignorable_test(format!("embedded_nsqd::{name}"), move || {
                with_tools(|| run(&Program::start(&[])?.address))
            }),
            Trial::ignorable_test(format!("real::{name}"), move || {
                with_tools(|| run(&RealNsqd::start::<&str>(&[])?.address()))
            }),
        ]
    });
    of_both.collect()
}

/// `nsq_tail`, which prints the messages that it has finished. Killed when dropped.
struct GoNsq {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl GoNsq {
    fn start(address: &str, flags: &[&str]) -> Result<Self, Failed> {
        let mut child = tool("nsq_tail")?
            .arg(format!("--nsqd-tcp-address={address}"))
            .args(["--topic", TOPIC, "--channel", CHANNEL])
            .args(flags)
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("nsq_tail has a stdout")?;
        let lines = BufReader::new(stdout).lines();
        Ok(Self { child, lines })
    }

    fn next(&mut self) -> Result<String, Failed> {
        Ok(self.lines.next().ok_or("nsq_tail has ended")??)
    }

    /// Sends the lines that follow.
    fn send_lines(mut self, to: mpsc::Sender<String>) {
        for line in self.lines.by_ref() {
            if line.is_err() || line.is_ok_and(|line| to.send(line).is_err()) {
                return;
            }
        }
    }
}

impl Drop for GoNsq {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(address: &str) -> Result<(ConsumerHandle, MessageStream), Failed> {
    let config = ConsumerConfig::builder(address).max_in_flight(20).build()?;
    let subscription = Subscription::new(TOPIC, CHANNEL)?;
    Ok(ConsumerHandle::start_in_thread(config, subscription)?)
}

fn block_on<T>(future: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build()?;
    runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await? })
}

/// Each message goes to one of the clients.
fn share(address: &str) -> Result<(), Failed> {
    let mut go_nsq = GoNsq::start(address, &[])?;
    raw_client::publish(address, TOPIC, &[b"first"])?;
    assert_eq!(go_nsq.next()?, "first");
    let (lines, theirs) = mpsc::channel();
    let reader = thread::spawn(move || go_nsq.send_lines(lines));
    let (handled, ours) = block_on(async {
        let (consumer, mut messages) = start(address)?;
        consumer.wait_subscribed(PATIENCE).await?;
        let bodies: Vec<String> = (0..MESSAGES).map(|number| number.to_string()).collect();
        let bodies: Vec<&[u8]> = bodies.iter().map(|body| body.as_bytes()).collect();
        raw_client::publish(address, TOPIC, &bodies)?;
        let (mut handled, mut ours) = (BTreeSet::new(), 0);
        while handled.len() < MESSAGES {
            let message = tokio::time::timeout(Duration::from_millis(10), messages.next()).await;
            if let Ok(message) = message {
                let message = message.ok_or("the stream has ended")?;
                let body = String::from_utf8(message.body().to_vec())?;
                assert!(handled.insert(body), "{message:?} comes again");
                message.finish()?;
                ours += 1;
            }
            for line in theirs.try_iter() {
                assert!(handled.insert(line.clone()), "{line} comes again");
            }
        }
        let report = consumer.drain(PATIENCE).await?;
        assert!(report.is_clean(), "{report}");
        Ok((handled, ours))
    })?;
    assert_eq!(handled.len(), MESSAGES);
    assert!(0 < ours && ours < MESSAGES, "{ours} of {MESSAGES}");
    drop(theirs);
    // Its next line ends the thread.
    raw_client::publish(address, TOPIC, &[b"last"])?;
    reader.join().map_err(|_| "the reader panicked")?;
    Ok(())
}

/// A message that this client has requeued five times is discarded by go-nsq, unless both have the
/// same `max_attempts`.
fn discard(address: &str) -> Result<(), Failed> {
    for (flags, expected) in [
        (&["-n=1"][..], "next"),
        (&["-n=1", "--consumer-opt=max_attempts,0"][..], "often"),
    ] {
        raw_client::publish(address, TOPIC, &[b"often"])?;
        block_on(async {
            let (consumer, mut messages) = start(address)?;
            for attempts in 1..=5 {
                let message = messages.next().await.ok_or("the stream has ended")?;
                assert_eq!(message.attempts(), attempts);
                if attempts == 5 {
                    consumer.pause();
                }
                message.requeue(Requeue::now().without_backoff())?;
            }
            let report = consumer.drain(PATIENCE).await?;
            assert!(report.is_clean(), "{report}");
            Ok(())
        })?;
        let mut go_nsq = GoNsq::start(address, flags)?;
        raw_client::publish(address, TOPIC, &[b"next"])?;
        assert_eq!(go_nsq.next()?, expected);
        // It leaves after one message.
        assert!(go_nsq.child.wait()?.success());
    }
    Ok(())
}
