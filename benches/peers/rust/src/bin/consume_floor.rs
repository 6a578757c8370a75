//! The floor of all consumers: one connection without a client.
//!
//! It subscribes, writes RDY once, and answers the messages of each read with one write of their
//! FINs. The socket is tokio's, as in the clients.

use std::{io, process::ExitCode};

use peers::consume::{Options, Progress};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Maximum number of bytes per read, and of a frame.
const READ_SIZE: usize = 64 << 10;

/// Bytes of a message frame before the id: type, timestamp and attempts.
const BEFORE_ID: usize = 4 + 8 + 2;
const ID: usize = 16;

fn main() -> ExitCode {
    let options = Options::from_command_line();
    let progress = Progress::new(&options);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime.and_then(|runtime| runtime.block_on(run(&options, &progress))) {
        Ok(()) => {
            progress.print(&options);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("floor: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options, progress: &Progress) -> io::Result<()> {
    let [address] = &options.addresses[..] else {
        return Err(io::Error::other("the floor has one address"));
    };
    if options.handler_time.is_some() {
        return Err(io::Error::other(
            "--handler-time is not supported by the floor",
        ));
    }
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let identify = r#"{"client_id":"floor","hostname":"floor","user_agent":"floor"}"#;
    let mut commands = b"  V2IDENTIFY\n".to_vec();
    commands.extend((identify.len() as u32).to_be_bytes());
    commands.extend(identify.as_bytes());
    let (topic, channel) = (&options.topic, &options.channel);
    commands.extend(format!("SUB {topic} {channel}\nRDY {}\n", options.max_in_flight).as_bytes());
    stream.write_all(&commands).await?;

    let mut buffer = vec![0; READ_SIZE];
    let (mut filled, mut answers) = (0, Vec::with_capacity(READ_SIZE));
    while !progress.is_complete() {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        let (messages, parsed) = answer(&buffer[..filled], &mut answers)?;
        buffer.copy_within(parsed..filled, 0);
        filled -= parsed;
        if !answers.is_empty() {
            stream.write_all(&answers).await?;
            answers.clear();
            progress.add(messages);
        }
    }
    // EOF proves that nsqd has executed every answer.
    stream.shutdown().await?;
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

/// Answers the whole frames. Returns the number of messages, and of bytes parsed.
fn answer(bytes: &[u8], answers: &mut Vec<u8>) -> io::Result<(usize, usize)> {
    let (mut messages, mut rest) = (0, bytes);
    while let Some((size, after)) = rest.split_first_chunk::<4>()
        && let Some((frame, after)) = after.split_at_checked(u32::from_be_bytes(*size) as usize)
    {
        rest = after;
        match frame {
            [0, 0, 0, 2, ..] if frame.len() > BEFORE_ID + ID => {
                answers.extend(b"FIN ");
                answers.extend(&frame[BEFORE_ID..BEFORE_ID + ID]);
                answers.push(b'\n');
                messages += 1;
            }
            b"\0\0\0\0OK" => {}
            b"\0\0\0\0_heartbeat_" => answers.extend(b"NOP\n"),
            _ => {
                let frame = frame.escape_ascii();
                return Err(io::Error::other(format!("nsqd sent {frame}")));
            }
        }
    }
    Ok((messages, bytes.len() - rest.len()))
}
