//! Nothing secret is logged.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing_subscriber::fmt::MakeWriter;

use super::support::{OTHER_SECRET, PASSWORD, SHOP, SHOP_SECRET, World};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn no_password_secret_or_token_is_logged_at_any_level() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    // For the whole process: what the other tests log at the same time must be as free of secrets.
    tracing::subscriber::set_global_default(subscriber).unwrap();
    let world = World::with(|config| config.redis_url = "redis://:redis-password@127.0.0.1:1".into()).await;
    let login = world.login().await;
    world.login_from("192.0.2.1", "typed-the-password-here", "wrong-password").await;
    world.login_from("192.0.2.1", "ann", "wrong-password").await;
    let refreshed = world.refresh(login.text("refresh_token")).await;
    let credentials = world.token(SHOP, &[("grant_type", "client_credentials")]).await;
    world.token(Some(("shop", "wrong-secret")), &[("grant_type", "client_credentials")]).await;
    world.form("/oauth2/introspect", SHOP, &[("token", login.text("access_token"))]).await;
    world.form("/oauth2/revoke", None, &[("token", login.text("access_token"))]).await;
    world.advance(60);
    world.refresh(login.text("refresh_token")).await;
    world.app.core.maintain().await;
    world.app.database.close().await;
    world.login_from("192.0.2.1", "ann", PASSWORD).await;
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("logged in") && logged.contains("was used again"), "{logged}");
    let hash = "$argon2id$";
    for secret in [
        PASSWORD,
        SHOP_SECRET,
        OTHER_SECRET,
        "wrong-password",
        "wrong-secret",
        "typed-the-password-here",
        "redis-password",
        hash,
        login.text("access_token"),
        login.text("refresh_token"),
        refreshed.text("refresh_token"),
        credentials.text("access_token"),
    ] {
        let line = logged.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} in {line:?}");
    }
}
