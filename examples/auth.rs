//! Publishes to an nsqd that requires AUTH, with a secret that changes.
//!
//! ```sh
//! cargo run --example auth
//! ```

use std::{
    error::Error,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix_nsq::{
    Producer, ProducerConfig, PublishExt, Reconnect, Secret, WaitConnected,
    embedded::{EmbeddedNsqd, Grant},
};

/// Stands for the place where a program keeps its secrets, such as a mounted file.
type Vault = Arc<Mutex<String>>;

fn read(vault: &Vault) -> io::Result<Secret> {
    let secret = vault
        .lock()
        .map_err(|_| io::Error::other("the vault is broken"))?;
    Ok(Secret::from(secret.as_str()))
}

#[actix::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let nsqd = EmbeddedNsqd::builder()
        .auth(|request| match request.secret() {
            b"first" | b"second" => Ok(Grant::new("shop").publish("orders")),
            _ => Ok(Grant::nothing()),
        })
        .start()?;

    let vault = Vault::new(Mutex::new("first".to_owned()));
    let secrets = Arc::clone(&vault);
    let config = ProducerConfig::builder(nsqd.address().to_string())
        // Called for each connection; `auth_secret` is for a secret that does not change.
        .auth_secret_provider(move || {
            let secret = read(&secrets);
            async move { Ok(secret?) }
        })
        .build()?;
    let producer = Producer::start(config);
    producer.publish("orders", "an order").await?;

    // The secret changes: the next connection uses the new one.
    *vault.lock().map_err(|_| "the vault is broken")? = "second".to_owned();
    producer.send(Reconnect).await?;
    let timeout = Duration::from_secs(5);
    producer.send(WaitConnected { timeout }).await??;
    producer.publish("orders", "another order").await?;

    // A topic for which the secret is not authorized.
    if let Err(error) = producer.publish("invoices", "an invoice").await {
        println!("invoices: {error}");
    }
    println!("{} orders stored", nsqd.message_count("orders"));
    Ok(())
}
