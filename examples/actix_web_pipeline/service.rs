//! The whole service: the HTTP server and the pipeline, and the order in which they stop.

use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::ServerHandle,
    web::{self, Data},
};
use tokio::task::JoinHandle;

use super::{
    broker::Broker,
    http,
    pipeline::{Pipeline, Stopped},
    snapshot::Sampler,
};

/// Maximum number of bytes of an order.
const MAX_BODY: usize = 4 * 1024;

/// Seconds for requests in progress when the server stops: above the timeout of a publish.
const SHUTDOWN_SECONDS: u64 = 10;

/// A running service.
#[derive(Debug)]
pub(crate) struct Service {
    addresses: Vec<SocketAddr>,
    pipeline: Pipeline,
    sampler: Sampler,
    handle: ServerHandle,
    server: JoinHandle<std::io::Result<()>>,
}

impl Service {
    pub(crate) fn start(
        listen: &str,
        broker: Arc<Broker>,
        work: Duration,
    ) -> Result<Self, Box<dyn Error>> {
        let pipeline = Pipeline::start(broker, work)?;
        let sampler = Sampler::new(pipeline.clone());
        actix::spawn(sampler.clone().run());
        let data = (Data::new(pipeline.clone()), Data::new(sampler.clone()));
        let server = HttpServer::new(move || {
            let (pipeline, sampler) = data.clone();
            App::new()
                .app_data(pipeline)
                .app_data(sampler)
                .app_data(web::JsonConfig::default().limit(MAX_BODY))
                .configure(http::routes)
        })
        .disable_signals()
        .shutdown_timeout(SHUTDOWN_SECONDS)
        .bind(listen)
        .map_err(|error| format!("--listen {listen}: {error}"))?;
        let addresses = server.addrs();
        let server = server.run();
        let handle = server.handle();
        let server = actix::spawn(server);
        Ok(Self {
            addresses,
            pipeline,
            sampler,
            handle,
            server,
        })
    }

    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    #[cfg(test)]
    pub(crate) fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Finishes the requests in progress, then drains the pipeline.
    pub(crate) async fn stop(self) -> Result<Stopped, Box<dyn Error>> {
        // First the event streams: the server waits for responses in progress, and these would
        // never end.
        self.sampler.stop();
        self.handle.stop(true).await;
        let stopped = self.pipeline.stop().await?;
        self.server.await??;
        Ok(stopped)
    }
}
