//! Reaches nsqd by another transport than TCP: a Unix socket, such as a sidecar proxy offers.
//!
//! ```sh
//! cargo run --example own_connector
//! ```
//!
//! nsqd itself listens on TCP only, so a small forwarder in this process plays the proxy. A
//! connector may return any stream of bytes: a SOCKS proxy, a tunnel, a pipe in memory.

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
    use std::{error::Error, io};

    use actix_nsq::{
        ConnectFuture, ConnectTarget, Connector, Producer, ProducerConfig, PublishExt, Transport,
        embedded::EmbeddedNsqd,
    };
    use tokio::{
        io::copy_bidirectional,
        net::{TcpStream, UnixListener, UnixStream},
    };

    /// Connects to the Unix socket whose path is the configured address.
    #[derive(Debug)]
    struct UnixSocket;

    impl Connector for UnixSocket {
        fn connect(&self, target: &ConnectTarget) -> ConnectFuture {
            let path = target.address().to_owned();
            Box::pin(async move { Ok(Transport::new(UnixStream::connect(path).await?)) })
        }
    }

    pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
        let nsqd = EmbeddedNsqd::start()?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("nsqd.sock");
        let proxy = actix::spawn(forward(
            UnixListener::bind(&path)?,
            nsqd.address().to_string(),
        ));

        let config = ProducerConfig::builder(path.to_string_lossy())
            .connector(UnixSocket)
            .build()?;
        let producer = Producer::start(config);
        producer.publish("orders", "an order").await?;
        println!("published through {}", path.display());
        proxy.abort();
        Ok(())
    }

    /// Forwards bytes between the clients of a Unix socket and nsqd.
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
