//! Where producers can be started.

use std::{panic, sync::mpsc, thread, time::Duration};

use actix_nsq::{Producer, ProducerConfig, ProducerHandle, actix::System, embedded::EmbeddedNsqd};
use tokio::task::LocalSet;

use crate::support::wait;

fn config(nsqd: &EmbeddedNsqd) -> ProducerConfig {
    ProducerConfig::new(nsqd.address().to_string()).unwrap()
}

/// The message of the panic of `start`, and the file in which the panic is reported.
fn panic_of(start: impl FnOnce() + Send + 'static) -> (String, String) {
    let (sender, receiver) = mpsc::channel();
    let name = "starts outside of a System";
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if thread::current().name() == Some(name) {
            let file = info.location().map(|location| location.file().to_owned());
            let payload = info.payload();
            let message = payload.downcast_ref::<String>().cloned();
            let message = message.or(payload
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned()));
            let _ = sender.send((message.unwrap_or_default(), file.unwrap_or_default()));
        } else {
            previous(info);
        }
    }));
    let started = thread::Builder::new().name(name.into()).spawn(start);
    started.unwrap().join().unwrap_err();
    let _ = panic::take_hook();
    receiver.into_iter().last().unwrap()
}

#[test]
fn start_outside_of_a_system_panics_with_advice() {
    let config = || ProducerConfig::new("127.0.0.1:4150").unwrap();
    let (message, file) = panic_of(move || drop(Producer::start(config())));
    assert!(message.contains("outside of an actix System"), "{message}");
    assert!(file.ends_with("start.rs"), "{file}");
    let (message, file) = panic_of(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async { drop(ProducerHandle::start(config())) });
    });
    assert!(message.contains("start_in_thread"), "{message}");
    assert!(file.ends_with("start.rs"), "{file}");
}

#[test]
fn producer_starts_in_a_system_and_in_a_local_set() {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let publish = async || {
        let nsq = ProducerHandle::start(config(&nsqd));
        nsq.publish("orders", "an order").await.unwrap();
    };
    System::new().block_on(publish());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(LocalSet::new().run_until(publish()));
    assert_eq!(nsqd.message_count("orders"), 2);
}

/// How many threads of this process run a producer that was started by `start_in_thread`.
#[cfg(target_os = "linux")]
fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "actix-nsq").count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn thread_of_a_producer_ends_with_its_last_handle() {
    let nsqd = EmbeddedNsqd::start().unwrap();
    let nsq = ProducerHandle::start_in_thread(config(&nsqd)).unwrap();
    nsq.wait_connected(Duration::from_secs(10)).await.unwrap();
    let readiness = nsq.state().await;
    assert!(readiness.is_complete() && (readiness.up, readiness.of) == (1, 1));
    let clone = nsq.clone();
    drop(nsq);
    clone.publish("orders", "an order").await.unwrap();
    assert_eq!(threads(), 1);
    drop(clone);
    wait::until("the thread ends", || threads() == 0).await;
    assert_eq!(nsqd.message_count("orders"), 1);
}
