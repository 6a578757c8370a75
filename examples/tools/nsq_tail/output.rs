//! Messages as lines of the standard output.

#[cfg(unix)]
use std::thread;
use std::{
    future::pending,
    io::{self, Write},
};

use actix_nsq::IncomingMessage;
#[cfg(unix)]
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
};
use serde::Serialize;
#[cfg(unix)]
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

/// How a message is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Its body.
    Body,
    /// Its topic, a bar, and its body.
    WithTopic,
    /// A JSON object.
    Json,
}

/// The JSON object of a message.
#[derive(Serialize)]
struct Record<'a> {
    id: String,
    topic: &'a str,
    attempts: u16,
    timestamp: i64,
    address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_hex: Option<String>,
}

/// Waits until the reader of the standard output has ended. A file has none.
#[cfg(unix)]
pub(crate) async fn closed() {
    let (closed, is_closed) = oneshot::channel();
    thread::spawn(move || {
        let output = io::stdout();
        // No event is asked for: an error is always one.
        let mut output = [PollFd::new(&output, PollFlags::empty())];
        if retry_on_intr(|| poll(&mut output, None)).is_ok() {
            // The program may be ending.
            let _ = closed.send(());
        }
    });
    if is_closed.await.is_err() {
        pending().await
    }
}

#[cfg(not(unix))]
pub(crate) async fn closed() {
    pending().await
}

/// Prints messages by one write. The standard output may block: it has a thread of its own.
pub(crate) async fn print(messages: &[IncomingMessage], format: Format) -> io::Result<()> {
    let mut lines = Vec::new();
    for message in messages {
        write_line(message, format, &mut lines)?;
    }
    let written = spawn_blocking(move || {
        let mut output = io::stdout().lock();
        output.write_all(&lines)?;
        output.flush()
    });
    written.await?
}

fn write_line(message: &IncomingMessage, format: Format, lines: &mut Vec<u8>) -> io::Result<()> {
    let body = message.body();
    match format {
        Format::Body => lines.extend_from_slice(body),
        Format::WithTopic => {
            write!(lines, "{} | ", message.topic())?;
            lines.extend_from_slice(body);
        }
        Format::Json => {
            let text = std::str::from_utf8(body).ok();
            let hex = || body.iter().map(|byte| format!("{byte:02x}")).collect();
            let record = Record {
                id: message.id().to_string(),
                topic: message.topic().as_str(),
                attempts: message.attempts(),
                timestamp: message.timestamp(),
                address: message.address(),
                body: text,
                body_hex: text.is_none().then(hex),
            };
            serde_json::to_writer(&mut *lines, &record)?;
        }
    }
    lines.push(b'\n');
    Ok(())
}
