//! The raw client as a consumer.

use std::io::Read;

use super::{Client, EmbeddedNsqd, OK, publish, wait};

impl Client {
    /// A consumer of this channel that is ready for so many messages.
    pub(super) fn consumer(nsqd: &EmbeddedNsqd, topic: &str, channel: &str, ready: usize) -> Self {
        let mut client = Self::connect(nsqd);
        client.subscribe(topic, channel, ready);
        client
    }

    pub(super) fn subscribe(&mut self, topic: &str, channel: &str, ready: usize) {
        self.send(format!("SUB {topic} {channel}\nRDY {ready}\n").as_bytes());
        self.expect(OK);
    }

    /// The next message: its id, how often it was tried, and its body.
    #[track_caller]
    pub(super) fn message(&mut self) -> (String, u16, String) {
        let mut head = [0; 34];
        self.0.read_exact(&mut head).unwrap();
        assert_eq!(head[4..8], [0, 0, 0, 2], "{}", head.escape_ascii());
        let size = u32::from_be_bytes(head[..4].try_into().unwrap());
        let mut body = vec![0; size as usize - 30];
        self.0.read_exact(&mut body).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let attempts = u16::from_be_bytes([head[16], head[17]]);
        (text(&head[18..]), attempts, text(&body))
    }

    /// The bodies of so many messages, each of which is finished.
    #[track_caller]
    pub(super) fn finished(&mut self, n: usize) -> Vec<String> {
        let finished = (0..n).map(|_| {
            let (id, _, body) = self.message();
            self.send(format!("FIN {id}\n").as_bytes());
            body
        });
        finished.collect()
    }
}

pub(super) fn publish_all(nsqd: &EmbeddedNsqd, topic: &str, bodies: &[&str]) {
    let mut client = Client::connect(nsqd);
    for body in bodies {
        client.send(&publish(topic, body.as_bytes()));
        client.expect(OK);
    }
}

/// Waits until nothing of a channel is left, and what became of it: requeues and time-outs.
pub(super) fn counts_when_done(nsqd: &EmbeddedNsqd, topic: &str, channel: &str) -> (u64, u64) {
    let mut info = nsqd.channel(topic, channel).unwrap();
    wait(nsqd.wait_until(|nsqd| {
        info = nsqd.channel(topic, channel).unwrap();
        info.depth + info.in_flight_count + info.deferred_count == 0
    }));
    (info.requeue_count, info.timeout_count)
}
