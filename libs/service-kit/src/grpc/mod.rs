//! Serving and calling gRPC. Servers are axum routers underneath, so limits, draining, spans and metrics are those of HTTP.

mod channel;
mod explain;
pub mod fields;
mod local;
pub mod story;

use std::sync::Arc;

use axum::{
    Router,
    middleware::{from_fn, from_fn_with_state},
};
use tokio::net::TcpListener;
use tonic::{
    body::Body,
    server::NamedService,
    service::{Routes, RoutesBuilder},
};
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    Runtime,
    http::{self, Limits},
    observe::{Observer, observe},
    shutdown::Shutdown,
};
use amends_auth::{Gate, Verifier, authenticate};
use amends_resilience::{InFlight, shed};
use service_base::descriptors::Share;

pub use channel::{ChannelConfig, Channels, bearer, channels};
pub use local::Local;

/// A gRPC server with health and reflection, and a token asked for everywhere else.
///
/// ```ignore
/// grpc::Server::new("payment-service", &runtime)
///     .verifier(verifier)
///     .reflection(amends_protos::FILE_DESCRIPTOR_SET)
///     .add_service(PaymentServiceServer::new(api))
///     .serve(listener).await?;
/// ```
pub struct Server {
    service: &'static str,
    runtime: Runtime,
    routes: RoutesBuilder,
    names: Vec<&'static str>,
    descriptors: Vec<&'static [u8]>,
    verifier: Option<Verifier>,
    limits: Limits,
    share: Option<Share>,
    door: local::Door,
}

impl Server {
    /// Nothing but health yet.
    pub fn new(service: &'static str, runtime: &Runtime) -> Self {
        Self {
            service,
            runtime: runtime.clone(),
            routes: Routes::builder(),
            names: Vec::new(),
            descriptors: Vec::new(),
            verifier: None,
            limits: Limits { http2_only: true, ..Limits::default() },
            share: None,
            door: local::Door::new(None),
        }
    }

    /// Asks every call but health and reflection for a token.
    #[must_use]
    pub fn verifier(mut self, verifier: Verifier) -> Self {
        self.verifier = Some(verifier);
        self
    }

    /// Answers reflection from an encoded file descriptor set.
    #[must_use]
    pub fn reflection(mut self, descriptors: &'static [u8]) -> Self {
        self.descriptors.push(descriptors);
        self
    }

    /// Sets the limits of the listener.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Limits { http2_only: true, ..limits };
        self
    }

    /// No more connections than this share has descriptors.
    #[must_use]
    pub fn share(mut self, share: Share) -> Self {
        self.share = Some(share);
        self
    }

    /// Adds a service.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: tower::Service<axum::http::Request<Body>, Error = std::convert::Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Response: axum::response::IntoResponse,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// The way to this server for callers in the same process, who need no connection. They wait until it is served.
    pub fn local(&self) -> Local {
        Local::through(&self.door)
    }

    /// The router, for a caller that serves it on a port of its own making.
    ///
    /// # Errors
    /// When a file descriptor set cannot be read.
    pub async fn router(mut self) -> Result<Router, tonic_reflection::server::Error> {
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
        for name in &self.names {
            reporter.set_service_status(*name, tonic_health::ServingStatus::Serving).await;
        }
        let (stop, names) = (self.runtime.shutdown.stopping(), self.names.clone());
        self.runtime.shutdown.spawn("grpc-health", async move {
            stop.cancelled().await;
            for name in names.into_iter().chain([""]) {
                reporter.set_service_status(name, tonic_health::ServingStatus::NotServing).await;
            }
        });
        self.routes.add_service(health);
        if !self.descriptors.is_empty() {
            let reflection = || {
                let mut builder = tonic_reflection::server::Builder::configure()
                    .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
                for set in &self.descriptors {
                    builder = builder.register_encoded_file_descriptor_set(set);
                }
                builder
            };
            // Old tools speak only v1alpha.
            self.routes.add_service(reflection().build_v1()?);
            self.routes.add_service(reflection().build_v1alpha()?);
        }
        let router = self.routes.routes().prepare().into_axum_router();
        let router = router.layer(CatchPanicLayer::custom(|panic| http::panicked_grpc(&panic)));
        let router = router.layer(from_fn(explain::explain));
        let router = match self.verifier {
            Some(verifier) => router.layer(from_fn_with_state(Gate::grpc(verifier), authenticate)),
            None => router,
        };
        let in_flight = InFlight::new(self.service, http::IN_FLIGHT_MAX, &self.runtime.metrics);
        let router = router.layer(from_fn_with_state(in_flight, shed));
        Ok(router.layer(from_fn_with_state(Observer::grpc(self.service, &self.runtime), observe)))
    }

    /// Serves until shutdown, then drains within the limits.
    ///
    /// # Errors
    /// When a file descriptor set cannot be read, or the listener cannot be served.
    pub async fn serve(self, listener: TcpListener) -> anyhow::Result<()> {
        let (mut limits, shutdown) = (self.limits, self.runtime.shutdown.clone());
        limits.connections_max = self.share.as_ref().map_or(usize::MAX, Share::size).min(limits.connections_max);
        let door = self.door.clone();
        let router = self.router().await?;
        http::serve_also(listener, router, limits, shutdown, |local| {
            door.send_replace(Some(Arc::new(local)));
        })
        .await?;
        Ok(())
    }
}

/// Serves bare routes until shutdown: HTTP/2 only, with the default limits, without token, span or metrics. See [`Server`].
///
/// # Errors
/// When the listener cannot be served.
pub async fn serve(listener: TcpListener, routes: Routes, shutdown: Shutdown) -> std::io::Result<()> {
    let router =
        routes.prepare().into_axum_router().layer(CatchPanicLayer::custom(|panic| http::panicked_grpc(&panic)));
    http::serve_with(listener, router, Limits { http2_only: true, ..Limits::default() }, shutdown).await
}

#[cfg(test)]
mod tests;
