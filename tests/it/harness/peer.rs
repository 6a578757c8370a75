//! The steps that most transcripts of a scripted nsqd share. Publishes are to the topic `t`.

use tokio::io::{AsyncRead, AsyncWrite};

use crate::support::{
    conversation::Conversation,
    spoken::{error_frame, ok_frame},
};

impl<S: AsyncRead + AsyncWrite + Unpin> Conversation<S> {
    /// Expects the magic and IDENTIFY, and returns its JSON.
    pub(crate) async fn identify(&mut self) -> serde_json::Value {
        self.expect_magic().await;
        self.expect_identify().await
    }

    /// Expects these publishes in order.
    pub(crate) async fn expect_pubs<B: AsRef<[u8]>>(&mut self, bodies: &[B]) {
        for body in bodies {
            self.expect_pub("t", body).await;
        }
    }

    /// Expects a publish and answers OK.
    pub(crate) async fn confirm(&mut self, body: impl AsRef<[u8]>) {
        self.expect_pub("t", body).await;
        self.send_ok().await;
    }

    /// Expects all of these publishes, and then answers OK to each.
    pub(crate) async fn confirm_all<B: AsRef<[u8]>>(&mut self, bodies: &[B]) {
        self.expect_pubs(bodies).await;
        self.send_oks(bodies.len()).await;
    }

    pub(crate) async fn send_ok(&mut self) {
        self.send(ok_frame()).await;
    }

    /// Sends `count` OKs in one write.
    pub(crate) async fn send_oks(&mut self, count: usize) {
        self.send(ok_frame().repeat(count)).await;
    }

    /// Sends an error response and closes the connection, as nsqd does.
    pub(crate) async fn reject(&mut self, text: &str) {
        self.send(error_frame(text)).await;
        self.fin().await;
    }
}
