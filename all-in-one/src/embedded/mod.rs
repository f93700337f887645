//! Every service in one process: each service's own `build`, joined through the same clients and servers as on a cluster, over
//! loopback. Holds no rules; what it decides is where the data is and which secrets join the services.

pub mod secrets;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use service_kit::{Runtime, config::Sources};

use self::secrets::{Origin, Secrets};
use crate::{catalogue, settings::Settings, stores};

/// The user that `amends up` and `amends demo` log in as.
pub const DEMO_USER: &str = "demo";
/// The client id of operators' tools.
pub const OPERATOR_CLIENT: &str = "amends-operator";
/// The client id under which the order service calls its participants.
const ORDER_CLIENT: &str = "order-service";

/// Where everything listens.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Addresses {
    /// For callers from outside.
    pub gateway: SocketAddr,
    /// The token service.
    pub identity: SocketAddr,
    /// Orders over REST.
    pub order_http: SocketAddr,
    /// Orders over gRPC.
    pub order_grpc: SocketAddr,
    /// Payments over gRPC.
    pub payment: SocketAddr,
    /// Stock over gRPC.
    pub inventory: SocketAddr,
    /// Metrics and health.
    pub admin: SocketAddr,
}

/// All services, built and bound, ready to run.
pub struct Embedded {
    addresses: Addresses,
    identity: identity_service::App,
    inventory: inventory_service::App,
    payment: payment_service::App,
    order: order_service::App,
    gateway: gateway::App,
    admin: tokio::net::TcpListener,
    runtime: Runtime,
}

impl Embedded {
    /// The configuration of everything in `data_dir`: what `sources` say, on top of SQLite files, secrets, the demo user and a small
    /// catalogue.
    ///
    /// # Errors
    /// With every mistake in the configuration, or when the secrets cannot be read or stored.
    pub fn settings(
        data_dir: &Path,
        mut sources: Sources,
        demo_password: Option<SecretString>,
    ) -> anyhow::Result<(Settings, Secrets, Origin)> {
        let (secrets, origin) = base(data_dir, &mut sources, demo_password)?;
        Ok((Settings::load(&sources)?, secrets, origin))
    }

    /// Builds every service and binds every listener.
    ///
    /// # Errors
    /// When a store cannot be opened or a listener bound.
    pub async fn build(mut settings: Settings, runtime: &Runtime) -> anyhow::Result<Self> {
        // Of the calls between services, both ends are in this process.
        let calls = settings.order.inventory.channel.connections + settings.order.payment.channel.connections;
        runtime.descriptors.reserve("amends up", calls)?;
        let admin =
            tokio::net::TcpListener::bind(settings.admin.listen).await.context("admin.listen cannot be bound")?;
        runtime.faults.in_environment(&settings.telemetry.environment);
        if runtime.faults.is_production() {
            // The catalogue's item for trying out a refusal at the pivot is for sale there, like any other.
            settings.inventory.faults.refuse_commit_skus.retain(|sku| sku != catalogue::REFUSED_AT_PIVOT);
        }
        let identity = identity_service::build(settings.identity.clone(), runtime).await?;
        let identity_at = identity.addresses().http;
        let revocations = identity.revocations();

        let jwks_url = format!("http://{identity_at}/.well-known/jwks.json");
        for auth in [
            &mut settings.inventory.auth,
            &mut settings.payment.auth,
            &mut settings.order.auth,
            &mut settings.gateway.auth,
        ] {
            auth.jwks_url.clone_from(&jwks_url);
            // Whoever reaches the token service here reaches it through the same process.
            auth.issuer.clone_from(&settings.identity.issuer);
        }

        let inventory = inventory_service::build_with(settings.inventory, runtime, Arc::clone(&revocations)).await?;
        let payment = payment_service::build_with(settings.payment, runtime, Some(Arc::clone(&revocations))).await?;

        settings.order.service_token.identity_url = format!("http://{identity_at}");
        settings.order.inventory.channel.url = format!("http://{}", inventory.addresses().grpc);
        settings.order.payment.channel.url = format!("http://{}", payment.addresses().grpc);
        let order = order_service::build_with(settings.order, runtime, Arc::clone(&revocations)).await?;

        settings.gateway.upstreams.identity = identity_at.to_string();
        settings.gateway.upstreams.order_http = order.addresses().http.to_string();
        settings.gateway.upstreams.order_grpc = order.addresses().grpc.to_string();
        let gateway = gateway::build_with(settings.gateway, runtime, Some(revocations)).await?;

        let addresses = Addresses {
            gateway: gateway.addresses().public,
            identity: identity_at,
            order_http: order.addresses().http,
            order_grpc: order.addresses().grpc,
            payment: payment.addresses().grpc,
            inventory: inventory.addresses().grpc,
            admin: admin.local_addr()?,
        };
        Ok(Self { addresses, identity, inventory, payment, order, gateway, admin, runtime: runtime.clone() })
    }

    /// Where everything listens.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until shutdown. Then the front door closes first and the stores last, so that sagas in flight can settle.
    ///
    /// # Errors
    /// When a service fails.
    pub async fn run(self) -> anyhow::Result<()> {
        let shutdown = self.runtime.shutdown.clone();
        let admin = async { anyhow::Ok(service_kit::admin::serve(self.admin, &self.runtime).await?) };
        // Whichever ends first, for whatever reason, ends them all.
        let end_all = |service: anyhow::Result<()>| {
            shutdown.trigger();
            service
        };
        let run = async {
            tokio::try_join!(
                async { end_all(self.identity.run().await) },
                async { end_all(self.inventory.run().await) },
                async { end_all(self.payment.run().await) },
                async { end_all(self.order.run().await) },
                async { end_all(self.gateway.run().await) },
                async { end_all(admin.await) },
            )
        };
        run.await.map(|_| ())
    }
}

/// How services in one process call each other. They have one machine's processor and disk: one that is slow is slow because all of us
/// are, and to give its calls up, or to cut it off, would refuse orders for want of time that refusing does not bring back. See
/// `docs/resilience.md`.
fn in_one_process() -> Value {
    let participant = json!({
        "channel": {"connect_timeout_ms": 5_000},
        // What it answers still counts: a store that is away is not asked by every order. It is looked for again at once, since it costs
        // nothing to ask within a process, and what heals here (a disk that has room again) heals in a moment.
        "resilience": {"in_process": true, "breaker": {"open_ms": 200}},
    });
    json!({
        "order": {
            "payment": participant,
            "inventory": participant,
            // The same holds for a store in a file; within what a caller waits to be accepted (`order.wait.accept_ms`).
            "database": {"acquire_timeout_ms": 3_000, "statement_timeout_ms": 3_000},
            // Three of them are what an order may take: `order.saga.deadline_secs`.
            "saga": {"attempt_timeout_ms": 10_000},
        },
        // The simulated one is a table in the payment service's own store.
        "payment": {"processor": {"timeout_ms": 2_000}},
    })
}

/// Where the secrets of a data directory are.
pub fn secrets_file(data_dir: &Path) -> PathBuf {
    data_dir.join("secrets.toml")
}

/// Adds what a data directory decides, below everything its user says.
///
/// # Errors
/// When the secrets cannot be read or stored.
pub fn base(
    data_dir: &Path,
    sources: &mut Sources,
    demo_password: Option<SecretString>,
) -> anyhow::Result<(Secrets, Origin)> {
    let (secrets, origin) = Secrets::load_or_make(&secrets_file(data_dir), demo_password)?;
    stores::in_directory(data_dir, sources);
    let seed: Vec<Value> = catalogue::CATALOGUE
        .iter()
        .map(|item| {
            let catalogue::SeedItem { sku, name, amount_minor, on_hand } = item;
            json!({"sku": sku, "name": name, "amount_minor": amount_minor, "currency": "EUR", "on_hand": on_hand})
        })
        .collect();
    let order_scopes = ["payments:read", "payments:write", "inventory:read", "inventory:write"];
    let operator_scopes = ["orders:admin", "orders:read", "payments:read", "inventory:read", "inventory:write"];
    let client = |id: &str, secret: &SecretString, scopes: &[&str]| json!({"client_id": id, "client_secret": secret.expose_secret(), "scopes": scopes, "grant_types": ["client_credentials"]});
    let decided = json!({
        "inventory": {"seed": seed, "faults": {"refuse_commit_skus": [catalogue::REFUSED_AT_PIVOT]}},
        "identity": {
            "key_encryption_key": secrets.key_encryption_key.expose_secret(),
            "bootstrap": {
                "users": [{
                    "username": DEMO_USER, "password": secrets.demo_password.expose_secret(),
                    "scopes": ["orders:read", "orders:write", "items:read"],
                }],
                "clients": [
                    client(ORDER_CLIENT, &secrets.order_client_secret, &order_scopes),
                    client(OPERATOR_CLIENT, &secrets.operator_client_secret, &operator_scopes),
                ],
            },
        },
        "order": {"service_token": {
            "client_id": ORDER_CLIENT, "client_secret": secrets.order_client_secret.expose_secret(), "scope": order_scopes.join(" "),
        }},
    });
    stores::add_base(sources, in_one_process());
    stores::add_base(sources, decided);
    Ok((secrets, origin))
}
