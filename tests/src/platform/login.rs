//! Callers of a platform, and tokens that were good once.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use amends::client::Client;
use amends_primitives::{Clock, ManualClock, RandomIds, SystemClock};
use anyhow::{Result, ensure};
use reqwest::Method;
use service_base::config::{Sources, load_from};
use service_kit::Runtime;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

use super::{Platform, settings};

/// A token is good for ten minutes; what is begun with one may take a while.
const TOKEN_USED_FOR: Duration = Duration::from_mins(5);

fn still_fresh(clients: &BTreeMap<String, (Client, Instant)>, name: &str) -> Option<Client> {
    let (client, since) = clients.get(name)?;
    (since.elapsed() < TOKEN_USED_FOR).then(|| client.clone())
}

impl Platform {
    /// The demo user, logged in.
    pub async fn demo(&self) -> Result<Client> {
        self.user("demo").await
    }

    /// Another customer.
    pub async fn other(&self) -> Result<Client> {
        self.user("other").await
    }

    /// A user, logged in: once, and again before the token runs out, for tests that go on for longer than it is good.
    pub async fn user(&self, name: &str) -> Result<Client> {
        // Held while logging in: a second caller waits for the first's token instead of taking another.
        let mut clients = self.clients.lock().await;
        if let Some(client) = still_fresh(&clients, name) {
            return Ok(client);
        }
        let client = self.log_in_anew(name).await?;
        clients.insert(name.to_owned(), (client.clone(), Instant::now()));
        Ok(client)
    }

    /// Forgets whose tokens it has: the next who asks is logged in anew.
    pub async fn forget_log_ins(&self) {
        self.clients.lock().await.clear();
    }

    /// A user with a token that no other user has.
    pub async fn log_in_anew(&self, name: &str) -> Result<Client> {
        self.anonymous()?.log_in(name, settings::PASSWORD).await
    }

    /// A caller without a token.
    pub fn anonymous(&self) -> Result<Client> {
        Client::new(self.gateway)
    }

    /// An operator, who may see every order and the participants' books.
    pub async fn admin(&self) -> Result<Client> {
        let mut clients = self.clients.lock().await;
        if let Some(client) = still_fresh(&clients, "amends-operator") {
            return Ok(client);
        }
        let client = self.anonymous()?.with_token(self.client_token("amends-operator").await?);
        clients.insert("amends-operator".to_owned(), (client.clone(), Instant::now()));
        Ok(client)
    }

    /// A token of the order service itself.
    pub async fn order_service_token(&self) -> Result<String> {
        self.client_token("order-service").await
    }

    async fn client_token(&self, client_id: &str) -> Result<String> {
        let anonymous = self.anonymous()?;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", settings::CLIENT_SECRET),
        ];
        let answer = anonymous.send(anonymous.request(Method::POST, "/oauth2/token").form(&form)).await?;
        ensure!(answer.status.is_success(), "{client_id}: {} {}", answer.status, answer.body);
        Ok(answer.text("/access_token").to_owned())
    }

    /// Revokes a token (RFC 7009).
    pub async fn revoke(&self, token: &str) -> Result<()> {
        let anonymous = self.anonymous()?;
        let form = [("token", token), ("client_id", "amends-web")];
        let answer = anonymous.send(anonymous.request(Method::POST, "/oauth2/revoke").form(&form)).await?;
        ensure!(answer.status.is_success(), "{} {}", answer.status, answer.body);
        Ok(())
    }

    /// The token service's store for a second service beside it. A server has any number of them; a file has one, so that gets a copy.
    async fn shared_identity_store(&self) -> Result<String> {
        let Some(file) = amends_sql::claim::sqlite_file(&self.identity_database) else {
            return Ok(self.identity_database.clone());
        };
        let copy = self.dir.path().join(format!("identity-{}.db", crate::check::key()));
        let mut connection = SqliteConnectOptions::new().filename(file).connect().await?;
        sqlx::query("VACUUM INTO $1").bind(copy.display().to_string()).execute(&mut connection).await?;
        connection.close().await?;
        Ok(amends_sql::sqlite_url(&copy)?)
    }

    /// A token that was good an hour ago: issued by the real token service on the same store, with a clock an hour behind.
    pub async fn expired_token(&self) -> Result<String> {
        let an_hour_ago = SystemClock.now() - Duration::from_hours(1);
        let runtime = Runtime::with(Arc::new(ManualClock::new(an_hour_ago)), Arc::new(RandomIds));
        let sources = Sources::none()
            .set("identity.http.listen", "127.0.0.1:0")
            .set("identity.issuer", settings::ISSUER)
            .set("identity.key_encryption_key", settings::KEY_ENCRYPTION_KEY)
            .set("identity.database.url", self.shared_identity_store().await?);
        let app = identity_service::build(load_from("identity", &sources)?, &runtime).await?;
        let address = app.addresses().http;
        let serving = tokio::spawn(app.run());
        let client = Client::new(address)?.log_in("other", settings::PASSWORD).await?;
        runtime.shutdown.trigger();
        serving.await??;
        Ok(client.token().unwrap_or_default().to_owned())
    }
}
