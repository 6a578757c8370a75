//! `nsq_tail`: prints the messages of topics. It has the flags of [NSQ's own tool][nsq].
//!
//! ```text
//! cargo run --example nsq_tail -- --topic test --nsqd-tcp-address 127.0.0.1:4150
//! nsq_tail --topic orders --topic payments --lookupd-http-address lookupd:4161 --print-topic
//! nsq_tail --topic orders --channel audit -n 10 --nsqd-tcp-address host:4150 --json | jq .body
//! ```
//!
//! * Without `--channel` it takes an ephemeral one with a random name, which gets the messages from
//!   now on, and ends with the program.
//! * `-n` prints exactly that many messages, of all topics together, finishes exactly these, and
//!   returns the others at once.
//! * A message is finished when it is printed. Each line is a body as it is, with the topic before
//!   it on `--print-topic`.
//! * With `--json` a line is an object with `id`, `topic`, `attempts`, `timestamp` (nanoseconds
//!   since 1970, by nsqd's clock), `address` (of nsqd) and `body`, or `body_hex` if the body is not
//!   UTF-8.
//! * If the first connection to an nsqd that was given fails, the program ends. With
//!   `--lookupd-http-address` it waits for nsqds.
//! * The end of what reads the standard output ends the program, and so do SIGINT and SIGTERM: what
//!   is printed is finished, and the rest is returned. A second signal ends it at once.
//! * Exit codes: 0 if all that was printed is finished, 2 for a wrong command line, 1 otherwise.
//!
//! [nsq]: https://nsq.io/utilities/nsq_tail.html

#[path = "../shared/arguments.rs"]
mod arguments;
#[path = "../shared/consumer_opt.rs"]
mod consumer_opt;
#[path = "../shared/failure.rs"]
mod failure;
#[path = "../shared/log.rs"]
mod log;
#[path = "../shared/name_and_value.rs"]
mod name_and_value;
mod options;
mod output;
#[path = "../shared/signal.rs"]
mod signal;
#[path = "../shared/source.rs"]
mod source;
#[path = "../shared/unique.rs"]
mod unique;

use std::{error::Error, io::ErrorKind, process, time::Duration};

use ::log::LevelFilter;
use actix_nsq::{IncomingMessage, MessageStream, Requeue, actix::System};
use futures::{
    FutureExt, StreamExt,
    stream::{SelectAll, select_all},
};

use self::{log::Log, options::Options, source::Source};

/// Maximum number of messages that are printed together.
const BURST: usize = 256;

fn main() {
    let log = Log::start("nsq_tail: ", LevelFilter::Warn);
    let options = Options::from_command_line();
    System::new().block_on(async {
        let tailed = tail(&options).await;
        if let Err(error) = &tailed {
            log.line(error);
        }
        // The System would wait for a thread that is blocked by the standard output.
        process::exit(tailed.is_err().into())
    })
}

/// Prints messages until there are enough, or the program is to end.
async fn tail(options: &Options) -> Result<(), Box<dyn Error>> {
    let mut terminated = Box::pin(signal::terminated(|| process::exit(1))?);
    let mut closed = Box::pin(output::closed());
    let mut source = Source::new(options.config.clone(), options.channel.clone());
    let mut streams = Vec::new();
    for topic in &options.topics {
        streams.push(source.start(topic)?.1);
    }
    let mut messages = select_all(streams);
    let mut left = options.messages;
    let mut unfinished = 0;
    let mut ended = Ok(());
    while left > 0 {
        let first = tokio::select! {
            biased;
            () = &mut terminated => break,
            () = &mut closed => break,
            error = source.failed() => {
                ended = Err(error);
                break;
            }
            first = messages.next() => first,
        };
        let Some(first) = first else { break };
        let burst = arrived(first, &mut messages, left.min(BURST));
        let printed = tokio::select! {
            biased;
            printed = output::print(&burst, options.format) => Some(printed),
            () = &mut terminated => None,
        };
        if let Some(Ok(())) = printed {
            left -= burst.len();
        }
        for message in burst {
            if matches!(printed, Some(Ok(()))) {
                unfinished += usize::from(message.finish().is_err());
            } else {
                // Without effect only if it has expired: then nsqd delivers it again, too.
                let _ = message.requeue(Requeue::now().without_backoff());
            }
        }
        match printed {
            Some(Ok(())) => {}
            Some(Err(error)) if error.kind() != ErrorKind::BrokenPipe => {
                ended = Err(format!("cannot write: {error}"));
                break;
            }
            Some(Err(_)) | None => break,
        }
    }
    drop(terminated);
    let drained = source.drain(Duration::ZERO).await?;
    ended?;
    if unfinished > 0 {
        return Err(format!("{unfinished} printed messages are delivered again").into());
    }
    if !drained.is_clean() {
        return Err(format!("some messages may be delivered again: {drained}").into());
    }
    Ok(())
}

/// The message and those that have arrived behind it, at most `max`.
fn arrived(
    first: IncomingMessage,
    messages: &mut SelectAll<MessageStream>,
    max: usize,
) -> Vec<IncomingMessage> {
    let mut burst = vec![first];
    while burst.len() < max
        && let Some(Some(next)) = messages.next().now_or_never()
    {
        burst.push(next);
    }
    burst
}
