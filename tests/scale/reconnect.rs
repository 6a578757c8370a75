//! All connections of the process are lost and made again.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_nsq::actix::{Addr, System};
use actix_nsq::{
    ConnectFuture, ConnectTarget, Connector, Consumer, ConsumerConfig, MessageHandler, Producer,
    ProducerConfig, PublishError, Subscription, Transport, WaitConnected, consumer::WaitSubscribed,
};
use tokio::net::TcpStream;

use crate::measure::{self, Figure, LONG, answers, counts};
use crate::support::scaled;
use crate::support::spread::most_within;
use crate::support::wait;

/// The window in which attempts are counted.
const WINDOW: Duration = Duration::from_millis(100);

/// A connector that records the times of its attempts.
#[derive(Clone, Debug, Default)]
struct Attempts(Arc<Mutex<Vec<Instant>>>);

impl Attempts {
    /// The attempts since this time.
    fn since(&self, begin: Instant) -> Vec<Duration> {
        let times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let times = times.iter();
        times
            .filter_map(|time| time.checked_duration_since(begin))
            .collect()
    }
}

impl Connector for Attempts {
    fn connect(&self, target: &ConnectTarget) -> ConnectFuture {
        let mut times = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        times.push(Instant::now());
        let address = target.address().to_owned();
        Box::pin(async move { Ok(Transport::new(TcpStream::connect(address).await?)) })
    }
}

struct Clients {
    producers: Vec<Addr<Producer>>,
    consumers: Vec<Addr<Consumer>>,
}

impl Clients {
    fn start(address: &str, attempts: &Attempts, longest: Duration) -> Self {
        let [producers, consumers, ..] = counts();
        let config = ProducerConfig::builder(address).max_reconnect_backoff(longest);
        let config = config.connector(attempts.clone()).build().unwrap();
        let producers = (0..producers).map(|_| Producer::start(config.clone()));
        let config = ConsumerConfig::builder(address).max_reconnect_backoff(longest);
        let config = config.connector(attempts.clone()).build().unwrap();
        let consumers = (0..consumers).map(|number| {
            let subscription = Subscription::new("scale", format!("channel_{number}")).unwrap();
            let handler = MessageHandler::from_fn(async |_| Ok::<_, PublishError>(()));
            Consumer::start(config.clone(), subscription, handler)
        });
        Self {
            producers: producers.collect(),
            consumers: consumers.collect(),
        }
    }

    fn count(&self) -> usize {
        self.producers.len() + self.consumers.len()
    }

    async fn until_connected(&self) {
        let connected = |it: &Addr<Producer>| it.send(WaitConnected::new(LONG));
        for connected in answers(self.producers.iter().map(connected)).await {
            connected.unwrap().unwrap();
        }
        let subscribed = |it: &Addr<Consumer>| it.send(WaitSubscribed::new(LONG));
        for subscribed in answers(self.consumers.iter().map(subscribed)).await {
            subscribed.unwrap().unwrap();
        }
    }
}

/// Producers and consumers together, with the default delays if `FULL=1`.
pub fn all() -> io::Result<Vec<Figure>> {
    let nsqd = measure::nsqd()?;
    let longest = scaled(Duration::from_secs(1), Duration::from_secs(5));
    System::new().block_on(async move {
        let (mut nsqd, attempts) = (nsqd, Attempts::default());
        let clients = Clients::start(&nsqd.address(), &attempts, longest);
        clients.until_connected().await;
        let stopped = Instant::now();
        nsqd.sigterm()?;
        let count = clients.count();
        // Each has reached the longest delay, or nearly.
        tokio::time::sleep(2 * longest).await;
        let started = Instant::now();
        // The arbiter must not be blocked meanwhile.
        let restarted = tokio::task::spawn_blocking(move || nsqd.restart().map(|()| nsqd));
        let _nsqd = restarted.await??;
        clients.until_connected().await;
        let took = started.elapsed();
        let early = attempts.since(stopped);
        let late = attempts.since(started);
        wait::until("each connects", || attempts.since(stopped).len() >= count).await;
        let share = |times: &[Duration]| most_within(WINDOW, times) as f64 / count as f64;
        // Attempts are even if each window has as many as its part of the mean delay.
        let even = WINDOW.div_duration_f64(longest / 2);
        eprintln!(
            "{} attempts, {:.2} of all in the first window",
            early.len(),
            share(&early)
        );
        Ok(vec![
            (
                "reconnect",
                "time, maximum delays",
                took.div_duration_f64(longest),
            ),
            (
                "reconnect",
                "most attempts in 100 ms, even shares",
                share(&late) / even,
            ),
        ])
    })
}
