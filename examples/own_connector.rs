//! Reaches nsqd by another way than TCP: here through a Unix socket, as a sidecar proxy offers one.
//!
//! ```text
//! cargo run --example own_connector                                   # an nsqd inside this process
//! NSQD_TCP_ADDRESS=127.0.0.1:4150 cargo run --example own_connector   # your nsqd
//! ```
//!
//! nsqd itself listens on TCP only, so a small forwarder in this process takes the proxy's place. What a connector
//! returns is any stream of bytes: a SOCKS proxy, a tunnel and a pipe in memory work in the same way.

#[cfg(unix)]
#[actix::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    unix::main().await
}

#[cfg(not(unix))]
fn main() {
    println!("this example needs Unix sockets");
}

#[cfg(unix)]
mod unix {
    use std::{io, sync::Arc, time::Duration};

    use actix_nsq::{
        ConnectFuture, ConnectTarget, ConnectionError, Connector, Drain, Producer, ProducerConfig,
        Publish, Reconnect, Topic, Transport, WaitConnected, embedded::EmbeddedNsqd,
    };
    use tokio::{
        io::copy_bidirectional,
        net::{TcpStream, UnixListener, UnixStream},
    };

    /// Dials the Unix socket whose path is the address of the configuration.
    #[derive(Debug)]
    struct UnixSocket;

    impl Connector for UnixSocket {
        /// Called for each attempt, on the producer's arbiter. `dial_timeout`, the backoff and all else are the producer's.
        fn connect(&self, target: &ConnectTarget) -> ConnectFuture {
            let address = target.address().to_owned();
            Box::pin(async move {
                match UnixStream::connect(&address).await {
                    Ok(stream) => Ok(Transport::new(stream)),
                    Err(error) => Err(ConnectionError::Dial {
                        address,
                        source: Arc::new(error),
                    }),
                }
            })
        }
    }

    pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
        let own = std::env::var_os("NSQD_TCP_ADDRESS").is_none();
        let own = own.then(EmbeddedNsqd::start).transpose()?;
        let nsqd = match &own {
            Some(nsqd) => nsqd.address().to_string(),
            None => std::env::var("NSQD_TCP_ADDRESS")?,
        };
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("nsqd.sock");
        let forwarder = actix::spawn(forward(UnixListener::bind(&path)?, nsqd));

        let config = ProducerConfig::builder(path.to_string_lossy())
            .connector(UnixSocket)
            .build()?;
        let producer = Producer::start(config);
        let timeout = Duration::from_secs(5);
        producer.send(WaitConnected { timeout }).await??;
        println!("connected through {}", path.display());

        let topic = Topic::new("own_connector")?;
        producer.send(Publish::new(&topic, "hello")).await??;
        // The connector is asked again for each connection.
        producer.send(Reconnect).await?;
        producer.send(Publish::new(&topic, "hello again")).await??;
        println!("published twice, over two connections");

        let deadline = Duration::from_secs(5);
        producer.send(Drain { timeout: deadline }).await?;
        forwarder.abort();
        if let Some(nsqd) = &own {
            let (stored, connections) =
                (nsqd.message_count(topic.as_str()), nsqd.connections().len());
            println!("nsqd has seen {connections} connections, and stored {stored} messages");
            if (stored, connections) != (2, 2) {
                return Err("it should be two and two".into());
            }
        }
        Ok(())
    }

    /// Passes bytes on between those who connect to the Unix socket and nsqd.
    async fn forward(listener: UnixListener, nsqd: String) -> io::Result<()> {
        loop {
            let (mut client, _) = listener.accept().await?;
            let nsqd = nsqd.clone();
            actix::spawn(async move {
                let mut upstream = TcpStream::connect(nsqd).await?;
                copy_bidirectional(&mut client, &mut upstream).await
            });
        }
    }
}
