//! A user logs in with a password: through `/auth/login`, or in development through the password grant.
//!
//! The answer is the same, and takes the same time, for a wrong password, an unknown user and a disabled one.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;

use amends_primitives::Timestamp;

use super::{
    Core, Failure, TokenError,
    tokens::{Issued, Subject},
};
use crate::{
    crypto::{
        password::{Checked, PasswordError},
        refresh_token,
    },
    domain::{
        network::Network,
        principal::{Client, User, is_valid_name},
        refresh::Family,
        scope::ScopeSet,
        throttle::Failures,
    },
    ports::StoreError,
};

/// The one answer to bad credentials.
const BAD_CREDENTIALS: TokenError = TokenError::InvalidGrant("the user name or the password is wrong");

/// A login attempt.
#[derive(Debug)]
pub(crate) struct Login {
    /// The name as typed. Never logged unless it is a user's: people type passwords here.
    pub username: String,
    /// The password as typed.
    pub password: SecretString,
    /// Asks for less than all scopes.
    pub requested: Option<ScopeSet>,
    /// Where from: wrong passwords are counted, and turns at hashing are given, by it.
    pub network: Network,
}

impl Core {
    /// Checks the password and begins a session for `client`, counted under `grant`.
    ///
    /// # Errors
    /// [`TokenError::InvalidGrant`], [`TokenError::Throttled`], [`TokenError::InvalidScope`], or a failure.
    pub(crate) async fn login(&self, login: Login, client: &Client, grant: &'static str) -> Result<Issued, TokenError> {
        let done = self.try_login(login, client).await;
        self.metrics.login(match &done {
            Ok(_) => "success",
            Err(TokenError::InvalidGrant(_)) => "wrong_credentials",
            Err(TokenError::Throttled(_)) => "throttled",
            Err(TokenError::Failed(Failure::Password(PasswordError::Overloaded))) => "overloaded",
            Err(TokenError::Failed(_)) => "failed",
            Err(_) => "refused",
        });
        if done.is_ok() {
            self.metrics.issued(grant);
        }
        done
    }

    async fn try_login(&self, login: Login, client: &Client) -> Result<Issued, TokenError> {
        let pair = pair(&login.username, login.network);
        // Asked twice: here, so that an attempt that must wait takes no position in the queue; and below, after the queue, so that many
        // guesses at once are not all let through by one answer.
        self.throttled(&pair).await?;
        let user = if is_valid_name(&login.username) { self.store.user(&login.username).await? } else { None };
        let turn = self.passwords.turn(login.network).await?;
        let failures = self.throttled(&pair).await?;
        let stored = user.as_ref().map(|user| user.password_hash.as_str());
        let (checked, turn) = self.passwords.check(turn, login.password, stored).await?;
        let now = self.now();
        let (user, rehashed) = match (user, checked) {
            (Some(user), Checked::Right { rehashed }) if !user.disabled => (user, rehashed),
            (user, _) => {
                let forget_before = now - self.settings.throttle.forget_after;
                self.store.add_failure(&pair, now, forget_before).await?;
                drop(turn); // only now may the next guess look at the count
                if let Some(user) = user {
                    tracing::info!(user = user.username, disabled = user.disabled, "a log-in was refused");
                }
                return Err(BAD_CREDENTIALS);
            }
        };
        drop(turn);
        if failures.is_some() {
            self.store.clear_failures(&pair).await?;
        }
        if let Some(hash) = rehashed {
            self.store.rehash_user(&user.username, &user.password_hash, &hash).await?;
        }
        self.begin_session(&user, client, login.requested.as_ref(), now).await
    }

    async fn begin_session(
        &self,
        user: &User,
        client: &Client,
        requested: Option<&ScopeSet>,
        now: Timestamp,
    ) -> Result<Issued, TokenError> {
        let scopes = ScopeSet::narrow(&self.grantable(user, client), requested).ok_or(TokenError::InvalidScope)?;
        let family_id = self.ids.next_id();
        let draft = self.draft(
            Subject {
                sub: &user.username,
                client_id: &client.client_id,
                scopes: &scopes,
                sid: Some(family_id.to_string()),
                act: None,
                not_after: None,
            },
            now,
        );
        let family = Family {
            family_id,
            username: user.username.clone(),
            client_id: client.client_id.clone(),
            scopes: scopes.clone(),
            generation: 1,
            rotated_at: now,
            created_at: now,
            expires_at: self.settings.refresh.expires_at(now, now),
            revoked: false,
            password_of: Some(user.password_changed_at),
            access: Some(draft.issued(&scopes)),
        };
        self.store.begin_family(&family).await?;
        let mut issued = self.sign(&draft, scopes, now)?;
        issued.refresh_token = Some(refresh_token::write(&self.keyring, family.family_id, family.generation));
        tracing::info!(user = user.username, client = client.client_id, "logged in");
        Ok(issued)
    }

    /// The most a token of this user may permit in the hands of this client.
    pub(super) fn grantable(&self, user: &User, client: &Client) -> ScopeSet {
        if client.client_id == self.settings.login_client_id {
            user.scopes.clone()
        } else {
            user.scopes.and(&client.scopes)
        }
    }

    async fn throttled(&self, pair: &str) -> Result<Option<Failures>, TokenError> {
        let failures = self.store.failures(pair).await.map_err(|error: StoreError| TokenError::from(error))?;
        match self.settings.throttle.wait(failures, self.now()) {
            Some(wait) => Err(TokenError::Throttled(wait)),
            None => Ok(failures),
        }
    }
}

/// What wrong passwords are counted for: a user name and a network. A hash, because names as typed do not belong in the store.
fn pair(username: &str, network: Network) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, format!("{network}\0{username}").as_bytes()).as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_a_name_and_a_network() {
        let at = |address: &str| pair("ann", Network::of(Some(address.parse().unwrap())));
        assert_eq!(at("2001:db8:1:2::1"), at("2001:db8:1:2:ffff::9"));
        assert_ne!(at("192.0.2.1"), at("192.0.2.2"));
        assert_ne!(pair("ann", Network::Unknown), pair("bob", Network::Unknown));
        // Stored: another spelling would forget every count.
        assert_eq!(at("192.0.2.1"), URL_SAFE_NO_PAD.encode(digest(&SHA256, b"192.0.2.1\0ann").as_ref()));
    }
}
