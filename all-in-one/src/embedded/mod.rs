//! Every service in one process: each service's own `build`, joined through the same clients and servers as on a cluster. Holds no rules;
//! what it decides is where the data is, which secrets join the services, and how they reach each other: orders call their participants'
//! servers within the process, or over loopback (`embedded.join`), everything else is over loopback.

mod closing;
pub mod secrets;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use anyhow::Context;
use futures::FutureExt as _;
use order_service::Peers;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use service_base::config::Sources;
use service_kit::{Runtime, http::LAST_CALL};

use self::{
    closing::{Running, close_in_order},
    secrets::{Origin, Secrets},
};
use crate::{
    catalogue, data_dir,
    settings::{Join, Settings},
    stores,
};

/// The user that `amends up` and `amends demo` log in as.
pub const DEMO_USER: &str = "demo";
/// The client id of operators' tools.
pub const OPERATOR_CLIENT: &str = "amends-operator";
/// The client id under which the order service calls its participants.
const ORDER_CLIENT: &str = "order-service";

/// What the gateway may take beyond its own bound for requests: connections that are closed with care.
const GATEWAY_CLOSE_MAX: Duration = Duration::from_secs(1);

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
    stages: Stages,
    /// What the gateway may take to close.
    gateway_max: Duration,
}

/// The runtime of each service: the process's own, with a shutdown of its own.
struct Stages {
    identity: Runtime,
    inventory: Runtime,
    payment: Runtime,
    order: Runtime,
    gateway: Runtime,
}

impl Stages {
    fn of(runtime: &Runtime) -> Self {
        let stage = || Runtime { shutdown: runtime.shutdown.stage(), ..runtime.clone() };
        Self { identity: stage(), inventory: stage(), payment: stage(), order: stage(), gateway: stage() }
    }
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
        let join = settings.embedded.join;
        if join == Join::Loopback {
            // Of the calls between services, both ends are in this process.
            let calls = settings.order.inventory.channel.connections + settings.order.payment.channel.connections;
            runtime.descriptors.reserve("amends up", calls)?;
        }
        let admin =
            tokio::net::TcpListener::bind(settings.admin.listen).await.context("admin.listen cannot be bound")?;
        runtime.faults.in_environment(&settings.telemetry.environment);
        if runtime.faults.is_production() {
            // The catalogue's item for trying out a refusal at the pivot is for sale there, like any other.
            settings.inventory.faults.refuse_commit_skus.retain(|sku| sku != catalogue::REFUSED_AT_PIVOT);
        }
        // The gateway is here, whatever the list was made for: not believed, all of its callers would be one to the token service.
        settings.identity.trust_this_machine();
        let stages = Stages::of(runtime);
        let gateway_max = Duration::from_millis(settings.gateway.timeouts.drain_ms) + LAST_CALL + GATEWAY_CLOSE_MAX;
        let identity = identity_service::build(settings.identity.clone(), &stages.identity).await?;
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
            // Callers reach the token service through this same process.
            auth.issuer.clone_from(&settings.identity.issuer);
        }

        let inventory =
            inventory_service::build_with(settings.inventory, &stages.inventory, Arc::clone(&revocations)).await?;
        let payment =
            payment_service::build_with(settings.payment, &stages.payment, Some(Arc::clone(&revocations))).await?;

        settings.order.service_token.identity_url = format!("http://{identity_at}");
        settings.order.inventory.channel.url = format!("http://{}", inventory.addresses().grpc);
        settings.order.payment.channel.url = format!("http://{}", payment.addresses().grpc);
        let peers = match join {
            Join::Memory => Peers { inventory: Some(inventory.local()), payment: Some(payment.local()) },
            Join::Loopback => Peers::default(),
        };
        let order = order_service::build_with(settings.order, &stages.order, Arc::clone(&revocations), &peers).await?;

        settings.gateway.upstreams.identity = identity_at.to_string();
        settings.gateway.upstreams.order_http = order.addresses().http.to_string();
        settings.gateway.upstreams.order_grpc = order.addresses().grpc.to_string();
        let gateway = gateway::build_with(settings.gateway, &stages.gateway, Some(revocations)).await?;

        let addresses = Addresses {
            gateway: gateway.addresses().public,
            identity: identity_at,
            order_http: order.addresses().http,
            order_grpc: order.addresses().grpc,
            payment: payment.addresses().grpc,
            inventory: inventory.addresses().grpc,
            admin: admin.local_addr()?,
        };
        let runtime = runtime.clone();
        Ok(Self { addresses, identity, inventory, payment, order, gateway, admin, runtime, stages, gateway_max })
    }

    /// Where everything listens.
    pub const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Serves until shutdown, then closes from the outside in. The gateway goes first and answers what is in flight; then orders, whose
    /// sagas still find stock and payments; then these; then tokens, which all of them need. Operators are answered to the last.
    ///
    /// # Errors
    /// When a service fails; the others are closed in order all the same.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { identity, inventory, payment, order, gateway, admin, runtime, stages, gateway_max, .. } = self;
        let process = runtime.shutdown.clone();
        let start = |name, stage: Runtime, run| Running::start(name, &process, stage.shutdown, run);
        let operators = process.stage();
        let admin = {
            let (runtime, stop) = (runtime.clone(), operators.clone());
            async move { Ok(service_kit::admin::serve(admin, &runtime, stop).await?) }
        };
        let stages = vec![
            vec![start("gateway", stages.gateway, gateway.run().boxed())],
            vec![start(order_service::SERVICE, stages.order, order.run().boxed())],
            vec![
                start(payment_service::SERVICE, stages.payment, payment.run().boxed()),
                start(inventory_service::SERVICE, stages.inventory, inventory.run().boxed()),
            ],
            vec![start(identity_service::SERVICE, stages.identity, identity.run().boxed())],
            vec![Running::start("admin", &process, operators, admin)],
        ];
        close_in_order(&process, stages, gateway_max).await
    }
}

/// How services in one process call each other. They have one machine's processor and disk: one that is slow is slow because all of us
/// are, and to give its calls up, or to cut it off, would refuse orders without making anything faster. See
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
        // A service in this process is there; where it is slow to accept a connection, it has no processor.
        "gateway": {"timeouts": {"connect_ms": 5_000}},
        // The simulated one is a file beside the payment service's store.
        "payment": {"processor": {"timeout_ms": 2_000}},
    })
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
    let (secrets, origin) = Secrets::load_or_make(&data_dir::secrets_file(data_dir), demo_password)?;
    decide(data_dir, sources, &secrets)?;
    Ok((secrets, origin))
}

/// As [`base`], for a tool that looks at a directory: nothing is made. Where `secrets_file` holds no secrets, the configuration has some
/// that open nothing.
///
/// # Errors
/// When the directory's path is not UTF-8.
pub fn look(secrets_file: &Path, data_dir: &Path, mut sources: Sources) -> anyhow::Result<Sources> {
    let secrets = Secrets::read(secrets_file).ok().flatten().unwrap_or_else(Secrets::passing);
    decide(data_dir, &mut sources, &secrets)?;
    Ok(sources)
}

/// As many as there are processors: however much the services have to do, callers hear at once where there is no room. Where they share
/// threads, a refusal waits behind all that is done for orders, and orders behind refusals.
fn gateway_threads() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn decide(data_dir: &Path, sources: &mut Sources, secrets: &Secrets) -> anyhow::Result<()> {
    stores::in_directory(data_dir, sources)?;
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
    // The services reach each other by the addresses that they were given; fixed ones would only be in the way of a second instance.
    let private = || json!({"listen": SocketAddr::from(([127, 0, 0, 1], 0))});
    stores::add_base(
        sources,
        json!({
            "gateway": {"threads": gateway_threads()},
            "identity": {"http": private()}, "order": {"http": private(), "grpc": private()},
            "payment": {"grpc": private()}, "inventory": {"grpc": private()},
        }),
    );
    let decided = json!({
        // One process is for trying things out: callers may see what there is.
        "gateway": {"probes": {"health": true, "reflection": true}},
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
    Ok(())
}
