//! Consumers of the channel `c` of the topic `t`, and the steps of nsqd's side.

use std::time::Duration;

use actix::Addr;
use actix_nsq::{
    Consumer, ConsumerConfig, ConsumerConfigBuilder, MessageHandler, MessageStream, Subscription,
    consumer::{Drain, DrainReport, GetStats, Stats},
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Network, Peer};
use crate::support::{
    conversation::Conversation,
    spoken::{Command, close_wait_frame, message_frame, message_id},
};

pub(crate) fn subscription() -> Subscription {
    Subscription::new("t", "c").unwrap()
}

impl Network {
    pub(crate) fn consumer_config(&self) -> ConsumerConfigBuilder {
        ConsumerConfig::builder("nsqd in memory").connector(self.connector())
    }

    pub(crate) fn start_consumer_with(
        &self,
        options: impl FnOnce(ConsumerConfigBuilder) -> ConsumerConfigBuilder,
        handler: impl Into<MessageHandler>,
    ) -> Addr<Consumer> {
        let config = options(self.consumer_config()).build().unwrap();
        Consumer::start(config, subscription(), handler)
    }

    /// Starts a consumer with a stream and `max_in_flight` 10, and subscribes its connection.
    pub(crate) async fn start_consuming(&mut self) -> (Addr<Consumer>, MessageStream, Peer) {
        self.start_consuming_with(|config| config).await
    }

    pub(crate) async fn start_consuming_with(
        &mut self,
        options: impl FnOnce(ConsumerConfigBuilder) -> ConsumerConfigBuilder,
    ) -> (Addr<Consumer>, MessageStream, Peer) {
        let (handler, messages) = MessageHandler::stream();
        let with_options = |config: ConsumerConfigBuilder| options(config.max_in_flight(10));
        let consumer = self.start_consumer_with(with_options, handler);
        (consumer, messages, self.subscribed(10).await)
    }

    /// Accepts the next dial, the subscription, and this RDY.
    pub(crate) async fn subscribed(&mut self, ready: u64) -> Peer {
        let mut peer = self.connected().await;
        peer.expect_sub().await;
        peer.send_ok().await;
        peer.expect_ready(ready).await;
        peer
    }
}

pub(crate) async fn drain(consumer: &Addr<Consumer>, timeout: Duration) -> DrainReport {
    consumer.send(Drain { timeout }).await.unwrap()
}

pub(crate) async fn consumer_stats(consumer: &Addr<Consumer>) -> Stats {
    consumer.send(GetStats).await.unwrap()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    #[track_caller]
    pub(crate) fn expect_sub(&mut self) -> impl Future<Output = ()> {
        self.expect_command(Command::Sub {
            topic: "t".to_owned(),
            channel: "c".to_owned(),
        })
    }

    #[track_caller]
    pub(crate) fn expect_ready(&mut self, count: u64) -> impl Future<Output = ()> {
        self.expect_command(Command::Rdy(count))
    }

    #[track_caller]
    pub(crate) fn expect_fin(&mut self, number: u64) -> impl Future<Output = ()> {
        self.expect_command(Command::Fin(message_id(number)))
    }

    #[track_caller]
    pub(crate) fn expect_req(&mut self, number: u64, delay_ms: u64) -> impl Future<Output = ()> {
        self.expect_command(Command::Req {
            id: message_id(number),
            delay_ms,
        })
    }

    #[track_caller]
    pub(crate) fn expect_touch(&mut self, number: u64) -> impl Future<Output = ()> {
        self.expect_command(Command::Touch(message_id(number)))
    }

    /// Sends a first delivery, whose body is its number.
    pub(crate) async fn deliver(&mut self, number: u64) {
        self.deliver_again(number, 1).await;
    }

    pub(crate) async fn deliver_again(&mut self, number: u64, attempts: u16) {
        let frame = message_frame(number, attempts, number.to_string());
        self.send(frame).await;
    }

    /// Sends first deliveries in one write.
    pub(crate) async fn deliver_all(&mut self, numbers: impl IntoIterator<Item = u64>) {
        let numbers = numbers.into_iter();
        let frames = numbers.map(|number| message_frame(number, 1, number.to_string()));
        self.send(frames.collect::<Vec<_>>().concat()).await;
    }

    /// Expects CLS, and confirms it.
    pub(crate) async fn leave(&mut self) {
        self.expect_command(Command::Cls).await;
        self.send(close_wait_frame()).await;
    }

    /// Expects CLS and these messages returned, and confirms CLS.
    pub(crate) async fn leave_with_returned(&mut self, numbers: &[u64]) {
        self.expect_command(Command::Cls).await;
        for number in numbers {
            self.expect_req(*number, 0).await;
        }
        self.send(close_wait_frame()).await;
    }

    /// Expects that the client shuts down its side after `commands`, and closes, as nsqd does.
    pub(crate) async fn expect_end(&mut self) {
        assert_eq!(self.wait_closed().await, b"");
        self.fin().await;
    }
}
