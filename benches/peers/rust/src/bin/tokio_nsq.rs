//! A peer of `nsq_bench`: the same work with tokio-nsq.
//!
//! Its producer publishes and reports responses through `&mut self`, and does not say to which
//! publish a response belongs; they arrive in the order of the publishes. So a task owns the
//! producer, receives the messages of the callers, and answers them in order. Everything runs on
//! one thread, which is the fastest for this client.
//!
//! tokio-nsq writes when its buffer of 8 KiB is full, else when a timer fires. The timer is set to
//! 1 ms here; with the default of 250 ms each awaited publish takes that long, and a shorter one
//! spins. A body is a `Vec`, so each publish copies it.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt::Display,
    fs::File,
    io::BufReader,
    process::ExitCode,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use peers::{Options, Outcome, process_time};
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    task::LocalSet,
};
use tokio_nsq::{
    NSQConfigShared, NSQConfigSharedCompression, NSQConfigSharedTLS, NSQDeflateLevel, NSQEvent,
    NSQProducer, NSQProducerConfig, NSQTopic,
};

/// Name in nsqd's certificate: this client verifies names only, not addresses.
const NAME: &str = "localhost";

const FLUSH_INTERVAL: Duration = Duration::from_millis(1);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A publish whose caller awaits the response.
struct Request {
    topic: Arc<NSQTopic>,
    payload: Payload,
    reply: oneshot::Sender<()>,
}

enum Payload {
    Message(Vec<u8>),
    /// With the delay in milliseconds.
    Deferred(Vec<u8>, u32),
    Batch(Vec<Vec<u8>>),
}

/// State that the callers share.
struct Work {
    options: Options,
    messages: usize,
    next: Cell<usize>,
    outcome: RefCell<Outcome>,
    last_response: Cell<Instant>,
    start: Semaphore,
}

fn main() -> ExitCode {
    let options = Options::from_command_line();
    // The client spawns with `tokio::spawn`, the callers are local.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| LocalSet::new().block_on(&runtime, run(&options)));
    match result {
        Ok(mut outcome) => {
            outcome.print(&options);
            if outcome.ok < options.messages {
                eprintln!(
                    "tokio-nsq: {} of {} ok, {} failed",
                    outcome.ok, options.messages, outcome.failed
                );
                return ExitCode::FAILURE;
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tokio-nsq: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<Outcome, String> {
    let shared = layers(&options.producer_opts)?.set_flush_interval(FLUSH_INTERVAL);
    let mut producer = NSQProducerConfig::new(&options.address)
        .set_shared(shared)
        .build();
    match tokio::time::timeout(CONNECT_TIMEOUT, producer.consume()).await {
        Ok(Some(NSQEvent::Healthy())) => {}
        Ok(_) => return Err(format!("no connection to {}", options.address)),
        Err(_) => {
            return Err(format!(
                "not connected to {} within {CONNECT_TIMEOUT:?}",
                options.address
            ));
        }
    }
    let (requests, receiver) = mpsc::unbounded_channel();
    tokio::task::spawn_local(serve(producer, receiver));
    let warm_up = publish(options, options.warmup, &requests).await;
    if warm_up.ok < options.warmup {
        return Err("the warm-up failed".into());
    }
    Ok(publish(options, options.messages, &requests).await)
}

/// Parses the options for TLS and compression, which have the names of go-nsq.
fn layers(options: &[(String, String)]) -> Result<NSQConfigShared, String> {
    let mut shared = NSQConfigShared::new();
    let (mut tls, mut roots) = (false, rustls::ClientConfig::new());
    let (mut snappy, mut deflate, mut level) = (false, false, None);
    for (name, value) in options {
        let invalid = |error: &dyn Display| format!("--producer-opt {name}={value}: {error}");
        let boolean = || value.parse::<bool>().map_err(|error| invalid(&error));
        match name.as_str() {
            "tls_v1" => tls = boolean()?,
            "tls_root_ca_file" => {
                let file = File::open(value).map_err(|error| invalid(&error))?;
                let read = roots.root_store.add_pem_file(&mut BufReader::new(file));
                read.map_err(|()| invalid(&"not a certificate"))?;
            }
            "snappy" => snappy = boolean()?,
            "deflate" => deflate = boolean()?,
            "deflate_level" => {
                let number = value.parse().map_err(|error| invalid(&error))?;
                level = NSQDeflateLevel::new(number);
            }
            _ => return Err(invalid(&"unknown option")),
        }
    }
    if snappy {
        shared = shared.set_compression(NSQConfigSharedCompression::Snappy);
    }
    if deflate {
        let level = level.ok_or("deflate requires deflate_level, from 1 to 9")?;
        shared = shared.set_compression(NSQConfigSharedCompression::Deflate(level));
    }
    if tls {
        let name = NSQConfigSharedTLS::new(NAME);
        shared = shared.set_tls(name.set_client_config(Arc::new(roots)));
    }
    Ok(shared)
}

/// Owns the producer: publishes the requests, and passes each response to the oldest one. When the
/// connection is lost it returns, which drops all outstanding replies.
async fn serve(mut producer: NSQProducer, mut requests: mpsc::UnboundedReceiver<Request>) {
    let mut outstanding = VecDeque::new();
    loop {
        tokio::select! {
            request = requests.recv() => {
                let Some(Request { topic, payload, reply }) = request else { return };
                let queued = match payload {
                    Payload::Message(body) => producer.publish(&topic, body).await,
                    Payload::Deferred(body, delay) => {
                        producer.publish_deferred(&topic, body, delay).await
                    }
                    Payload::Batch(bodies) => producer.publish_multiple(&topic, bodies).await,
                };
                if queued.is_err() {
                    return;
                }
                outstanding.push_back(reply);
            }
            event = producer.consume() => match event {
                Some(NSQEvent::Ok()) => {
                    if let Some(reply) = outstanding.pop_front() {
                        // Cannot fail: the caller awaits the reply.
                        let _ = reply.send(());
                    }
                }
                _ => return,
            },
        }
    }
}

/// Publishes `messages` from all callers, and returns the measurement.
async fn publish(
    options: &Options,
    messages: usize,
    requests: &mpsc::UnboundedSender<Request>,
) -> Outcome {
    let work = Rc::new(Work {
        options: options.clone(),
        messages,
        next: Cell::new(0),
        outcome: RefCell::new(Outcome {
            times: Vec::with_capacity(messages),
            ..Outcome::default()
        }),
        last_response: Cell::new(Instant::now()),
        start: Semaphore::new(0),
    });
    let topics: Vec<_> = options.topics.iter().filter_map(NSQTopic::new).collect();
    let callers: Vec<_> = (0..options.concurrency)
        .map(|caller| {
            let topic = topics[caller % topics.len()].clone();
            tokio::task::spawn_local(call(work.clone(), topic, requests.clone()))
        })
        .collect();
    let (started, cpu_before) = (Instant::now(), process_time());
    work.last_response.set(started);
    work.start.add_permits(options.concurrency);
    for caller in callers {
        // A caller that panicked shows as messages that are not ok.
        let _ = caller.await;
    }
    let mut outcome = work.outcome.take();
    outcome.duration = work.last_response.get() - started;
    outcome.cpu_time = process_time() - cpu_before;
    outcome
}

async fn call(work: Rc<Work>, topic: Arc<NSQTopic>, requests: mpsc::UnboundedSender<Request>) {
    let _ = work.start.acquire().await;
    let mut now = Instant::now();
    loop {
        let first = work.next.get();
        let count = (work.messages - first).min(work.options.mpub.unwrap_or(1));
        if count == 0 {
            break;
        }
        work.next.set(first + count);
        let (reply, response) = oneshot::channel();
        let request = Request {
            topic: topic.clone(),
            payload: match (work.options.mpub, work.options.defer) {
                (None, None) => Payload::Message(work.options.body(first).to_vec()),
                (None, Some(delay)) => {
                    let delay = delay.as_millis().try_into().unwrap_or(u32::MAX);
                    Payload::Deferred(work.options.body(first).to_vec(), delay)
                }
                (Some(_), _) => {
                    let bodies = (first..first + count).map(|message| work.options.body(message));
                    Payload::Batch(bodies.map(Vec::from).collect())
                }
            },
            reply,
        };
        let ok = requests.send(request).is_ok() && response.await.is_ok();
        let sent = now;
        now = Instant::now();
        let mut outcome = work.outcome.borrow_mut();
        if !ok {
            outcome.failed += count;
            break;
        }
        outcome.ok += count;
        outcome.times.push(now - sent);
    }
    work.last_response.set(work.last_response.get().max(now));
}
