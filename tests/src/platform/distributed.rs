//! One process per service, on PostgreSQL, MongoDB and Redis, and an acquirer as one more. A proxy stands before each server and before
//! the acquirer, so that a test can take it away.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, ToSocketAddrs},
    sync::atomic::{AtomicU32, Ordering},
};

use amends_sql::Database;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tokio::sync::Mutex;

use super::{Platform, Program, settings};
use crate::{
    balancer, check,
    process::{Launch, free_port, program},
    proxy::Proxy,
    setting,
};

/// Redis has 16 databases; each platform of a test run takes the next.
static NEXT_REDIS: AtomicU32 = AtomicU32::new(1);

/// Where our services listen, by the keys that say so.
const LISTENERS: [&str; 6] = [
    "gateway.listen",
    "identity.http.listen",
    "order.http.listen",
    "order.grpc.listen",
    "payment.grpc.listen",
    "inventory.grpc.listen",
];

/// Our five services and the acquirer, by the names under which each runs where it is a process of its own.
pub const PROGRAMS: [&str; 6] = ["gateway", "order", "payment", "inventory", "identity", "acquirer"];

impl Platform {
    /// Starts five processes and an acquirer on the servers that `cargo xtask test` provides. `None`, said loudly, where only embedded stores are asked
    /// for.
    ///
    /// # Errors
    /// Where servers are expected and not there.
    pub async fn distributed() -> Result<Option<Self>> {
        Self::distributed_with(json!({})).await
    }

    /// The same, with some configuration of its own.
    ///
    /// # Errors
    /// Where servers are expected and not there.
    pub async fn distributed_with(more: Value) -> Result<Option<Self>> {
        Self::replicated(more, 1).await
    }

    /// The same, with several replicas of the order service: `order`, `order-2` … The gateway knows only the first; see
    /// [`Platform::orders`].
    ///
    /// # Errors
    /// Where servers are expected and not there.
    pub async fn replicated(more: Value, replicas: usize) -> Result<Option<Self>> {
        Self::in_topology(more, Topology { order_replicas: replicas, ..Topology::default() }, &BTreeMap::new()).await
    }

    /// The same as [`Platform::distributed_with`], without proxies before the servers and the acquirer: what is measured pays for none.
    ///
    /// # Errors
    /// Where servers are expected and not there.
    pub async fn distributed_direct(more: Value) -> Result<Option<Self>> {
        Self::in_topology(more, Topology { is_proxied: false, ..Topology::default() }, &BTreeMap::new()).await
    }

    /// The same as [`Platform::distributed_with`], with some programs started in another way, by their names.
    ///
    /// # Errors
    /// Where servers are expected and not there.
    pub async fn distributed_as(more: Value, launches: &BTreeMap<&str, Launch>) -> Result<Option<Self>> {
        Self::in_topology(more, Topology::default(), launches).await
    }

    /// The same, with two replicas of each service and of the gateway, each pair behind one address: `order` and `order-2`, `gateway` and
    /// `gateway-2` … The acquirer, which is no service of ours, is alone.
    ///
    /// # Errors
    /// Where servers are expected and not there.
    pub async fn doubled(more: Value) -> Result<Option<Self>> {
        Self::in_topology(more, Topology { is_doubled: true, ..Topology::default() }, &BTreeMap::new()).await
    }

    async fn in_topology(more: Value, topology: Topology, launches: &BTreeMap<&str, Launch>) -> Result<Option<Self>> {
        let Topology { order_replicas, is_doubled, is_proxied } = topology;
        let servers = ["AMENDS_TEST_POSTGRES_URL", "AMENDS_TEST_MONGODB_URI", "AMENDS_TEST_REDIS_URL"].map(setting);
        let [Some(postgres), Some(mongodb), Some(redis)] = servers else {
            if setting("AMENDS_TEST_BACKENDS").is_some_and(|backends| backends == "embedded") {
                crate::announce("SKIPPED five processes on servers: only embedded stores were asked for");
                return Ok(None);
            }
            anyhow::bail!("PostgreSQL, MongoDB and Redis are needed: run through `cargo xtask test`");
        };
        let dir = tempfile::Builder::new().prefix("amends-distributed-").tempdir()?;
        let mut proxies = BTreeMap::new();
        let mut behind_proxy = async |server, url: String| {
            if !is_proxied {
                return anyhow::Ok(url);
            }
            let (url, proxy) = proxy_before(&url).await?;
            proxies.insert(server, proxy);
            Ok(url)
        };
        let postgres = behind_proxy("postgres", postgres).await?;
        let mongodb = behind_proxy("mongodb", mongodb).await?;
        let redis = behind_proxy("redis", redis).await?;
        let run = check::key().replace('-', "");
        let database = |service: &str| format!("amends_{service}_{run}");
        let mut urls = BTreeMap::new();
        for service in ["identity", "inventory", "order"] {
            urls.insert(service, create_database(&postgres, &database(service)).await?);
        }
        // The server's own replica set would be reached past the proxy.
        let separator = if mongodb.contains('?') { '&' } else { '?' };
        let direct = if mongodb.contains("directConnection") {
            String::new()
        } else {
            format!("{separator}directConnection=true")
        };
        let mongodb = mongodb + &direct;
        let (redis_server, _) =
            redis.rsplit_once('/').filter(|(server, _)| !server.ends_with('/')).unwrap_or((&redis, ""));
        let redis =
            format!("{}/{}", redis_server.trim_end_matches('/'), NEXT_REDIS.fetch_add(1, Ordering::Relaxed) % 16);

        let port = || SocketAddr::from(([127, 0, 0, 1], free_port()));
        let mut pairs = BTreeMap::new();
        let mut front = BTreeMap::new();
        for key in LISTENERS {
            let replicas = [port(), port()];
            pairs.insert(key, replicas);
            front.insert(key, if is_doubled { balancer::before(replicas.to_vec()).await? } else { replicas[0] });
        }
        let (gateway, payment, inventory) =
            (front["gateway.listen"], front["payment.grpc.listen"], front["inventory.grpc.listen"]);
        let (identity, order_http, order_grpc) =
            (front["identity.http.listen"], front["order.http.listen"], front["order.grpc.listen"]);
        let own = |key: &str| pairs[key][0];
        let acquirer = port();
        let acquirer_url = behind_proxy("acquirer", format!("http://{acquirer}")).await?;
        let auth = json!({"issuer": settings::ISSUER, "jwks_url": format!("http://{identity}/.well-known/jwks.json")});
        let mut config = settings::shared();
        settings::merge(
            &mut config,
            json!({
                "gateway": {
                    "listen": own("gateway.listen"), "redis_url": redis, "auth": auth,
                    "upstreams": {"identity": identity, "order_http": order_http, "order_grpc": order_grpc},
                },
                "identity": {"http": {"listen": own("identity.http.listen")}, "database": {"url": urls["identity"]}, "redis_url": redis},
                "inventory": {"grpc": {"listen": own("inventory.grpc.listen")}, "database": {"url": urls["inventory"]}, "redis_url": redis, "auth": auth},
                "payment": {
                    "grpc": {"listen": own("payment.grpc.listen")}, "redis_url": redis, "auth": auth,
                    "database": {"url": mongodb, "name": database("payment")},
                    "processor": {"kind": "http", "http": {
                        "url": acquirer_url, "secret": settings::MERCHANT_SECRET,
                        // All that a question has: a busy machine is slow, and a second attempt would only make it slower.
                        "attempt_timeout_ms": 2_000,
                    }},
                },
                "acquirer": {
                    "http": {"listen": acquirer}, "secret": settings::MERCHANT_SECRET,
                    "database": {"url": amends_sql::sqlite_url(&dir.path().join("acquirer.db"))?},
                },
                "order": {
                    "http": {"listen": own("order.http.listen")}, "grpc": {"listen": own("order.grpc.listen")}, "redis_url": redis, "auth": auth,
                    "database": {"url": urls["order"]},
                    "service_token": {"identity_url": format!("http://{identity}")},
                    "payment": {"channel": {"url": format!("http://{payment}")}},
                    "inventory": {"channel": {"url": format!("http://{inventory}")}},
                },
            }),
        );
        settings::merge(&mut config, more);
        let file = dir.path().join("amends.toml");
        std::fs::write(&file, toml::to_string(&config)?)?;
        let file = file.display().to_string();
        let service = |name: &str, binary: &str| {
            let admin = port();
            let arguments = ["--config", &file, "--set", &format!("admin.listen={admin}")].map(str::to_owned).to_vec();
            Program::new(name, program(binary), arguments, admin)
        };
        let mut programs = vec![
            service("gateway", "gateway"),
            service("order", "order-service"),
            service("payment", "payment-service"),
            service("inventory", "inventory-service"),
            service("identity", "identity-service"),
            service("acquirer", "acquirer"),
        ];
        let mut orders = vec![order_http];
        if is_doubled {
            for (name, binary) in [
                ("gateway", "gateway"),
                ("order", "order-service"),
                ("payment", "payment-service"),
                ("inventory", "inventory-service"),
                ("identity", "identity-service"),
            ] {
                let mut program = service(&format!("{name}-2"), binary);
                for (key, replicas) in pairs.iter().filter(|(key, _)| key.starts_with(name)) {
                    program.arguments.extend(["--set".to_owned(), format!("{key}={}", replicas[1])]);
                }
                programs.push(program);
            }
        }
        for replica in 2..=order_replicas {
            let mut program = service(&format!("order-{replica}"), "order-service");
            for listener in ["http", "grpc"] {
                let address = port();
                program.arguments.extend(["--set".to_owned(), format!("order.{listener}.listen={address}")]);
                if listener == "http" {
                    orders.push(address);
                }
            }
            programs.push(program);
        }
        for program in &mut programs {
            program.launch = launches.get(program.name.as_str()).cloned().unwrap_or_default();
        }
        let mut platform = Self {
            gateway,
            orders,
            payment,
            inventory,
            acquirer: Some(acquirer),
            programs,
            proxies,
            stores: ["--distributed", "--config", &file].map(str::to_owned).to_vec(),
            identity_database: urls["identity"].clone(),
            order_database: urls["order"].clone(),
            inventory_database: urls["inventory"].clone(),
            payment_database: format!("{mongodb} {}", database("payment")),
            data: None,
            clients: Mutex::default(),
            dir,
        };
        platform.start_all().await?;
        Ok(Some(platform))
    }
}

/// What there is of everything.
struct Topology {
    order_replicas: usize,
    /// Of each service two.
    is_doubled: bool,
    /// A proxy before each server and before the acquirer.
    is_proxied: bool,
}

impl Default for Topology {
    fn default() -> Self {
        Self { order_replicas: 1, is_doubled: false, is_proxied: true }
    }
}

/// The same URL, through a proxy.
async fn proxy_before(url: &str) -> Result<(String, Proxy)> {
    let (scheme, rest) = url.split_once("://").context("a URL has a scheme")?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    let target = host
        .to_socket_addrs()
        .with_context(|| format!("{host} is not host:port"))?
        .next()
        .context("the host has no address")?;
    let proxy = Proxy::start(target).await?;
    let at = if user.is_empty() { "" } else { "@" };
    Ok((format!("{scheme}://{user}{at}{}{path}", proxy.address), proxy))
}

/// Creates a database on the server that `admin_url` names; its URL.
async fn create_database(admin_url: &str, name: &str) -> Result<String> {
    let admin = Database::connect_lazy(admin_url, &amends_sql::Options::administration())?;
    sqlx::query(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(admin.writer()).await?;
    admin.close().await;
    let (scheme, rest) = admin_url.split_once("://").context("a URL has a scheme")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let options = rest.split_once('?').map_or(String::new(), |(_, options)| format!("?{options}"));
    Ok(format!("{scheme}://{authority}/{name}{options}"))
}
