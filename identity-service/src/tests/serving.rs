//! The service as others meet it: over TCP, with the verifier and the client every service uses.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use amends_auth::{AuthError, InvalidToken, ServiceToken, ServiceTokenConfig, Verifier, VerifierConfig};
use amends_primitives::SystemClock;
use service_base::metrics::Metrics;
use service_kit::Runtime;

use amends_testing::TestDatabase;

use super::support::{PASSWORD, SHOP_SECRET, config};
use crate::build;

struct Served {
    address: SocketAddr,
    runtime: Runtime,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
    revocations: Arc<dyn amends_auth::Revocations>,
    _database: TestDatabase,
}

async fn serve() -> Served {
    service_kit::main::install_crypto();
    let database = TestDatabase::sqlite();
    let runtime = Runtime::new();
    let app = build(config(&database), &runtime).await.unwrap();
    let (address, revocations) = (app.addresses().http, app.revocations());
    let running = tokio::spawn(app.run());
    Served { address, runtime, running, revocations, _database: database }
}

#[tokio::test]
async fn tokens_are_accepted_by_verifiers_until_they_are_revoked() {
    let served = serve().await;
    let base = format!("http://{}", served.address);
    let verifier_config =
        VerifierConfig { jwks_url: format!("{base}/.well-known/jwks.json"), ..VerifierConfig::default() };
    let verifier =
        Verifier::new(verifier_config, Arc::new(SystemClock), &Metrics::new(), Arc::clone(&served.revocations))
            .unwrap();

    let service_token = ServiceToken::new(
        ServiceTokenConfig {
            identity_url: base.clone(),
            client_id: "shop".into(),
            client_secret: SHOP_SECRET.into(),
            scope: "payments:write".into(),
        },
        Arc::new(SystemClock),
    )
    .unwrap();
    let bearer = service_token.bearer().await.unwrap();
    let claims = verifier.verify(&bearer).await.unwrap();
    assert_eq!((claims.sub.as_str(), claims.client_id.as_str()), ("shop", "shop"));
    claims.require("payments:write").unwrap();
    assert!(claims.require("payments:read").is_err());

    let client = service_base::client::internal().build().unwrap();
    let login = client
        .post(format!("{base}/auth/login"))
        .json(&serde_json::json!({ "username": "ann", "password": PASSWORD }))
        .send()
        .await
        .unwrap();
    let body: serde_json::Value = login.json().await.unwrap();
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(verifier.verify(token).await.unwrap().sub, "ann");
    let revoked = client.post(format!("{base}/oauth2/revoke")).form(&[("token", token)]).send().await.unwrap();
    assert_eq!(revoked.status(), 200);
    assert_eq!(verifier.verify(token).await.unwrap_err(), AuthError::Invalid(InvalidToken::Revoked));

    served.runtime.shutdown.trigger();
    tokio::time::timeout(Duration::from_secs(5), served.running).await.unwrap().unwrap().unwrap();
    assert!(client.get(format!("{base}/.well-known/jwks.json")).send().await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn the_address_of_a_caller_is_known() {
    let served = serve().await;
    let client = service_base::client::internal().build().unwrap();
    let guess = async |forwarded: &str| {
        let request = client
            .post(format!("http://{}/auth/login", served.address))
            .header("x-forwarded-for", forwarded)
            .json(&serde_json::json!({ "username": "ann", "password": "guess" }));
        request.send().await.unwrap().status().as_u16()
    };
    for _ in 0..6 {
        assert_eq!(guess("198.51.100.1").await, 401);
    }
    assert_eq!(guess("198.51.100.1").await, 429);
    assert_eq!(guess("198.51.100.2").await, 401, "through the gateway, each caller has its own count");
    served.runtime.shutdown.trigger();
    served.running.await.unwrap().unwrap();
}
