//! Users and clients from configuration. Runs at every start, by every replica, and changes nothing that has not changed.

use std::str::FromStr as _;

use super::{Core, Failure};
use crate::{
    config::{Bootstrap, BootstrapClient, BootstrapUser},
    crypto::password::Checked,
    domain::{
        network::Network,
        principal::{Client, Grant, GrantSet, User},
        scope::ScopeSet,
    },
};

/// Why a configured user or client could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootstrapError {
    /// A user and a client share a name: their tokens could not be told apart.
    #[error("{0} is the name of a user and of a client")]
    NameTaken(String),
    /// The store or the hashing.
    #[error(transparent)]
    Failed(#[from] Failure),
}

impl From<crate::ports::StoreError> for BootstrapError {
    fn from(error: crate::ports::StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<crate::crypto::password::PasswordError> for BootstrapError {
    fn from(error: crate::crypto::password::PasswordError) -> Self {
        Self::Failed(error.into())
    }
}

impl Core {
    /// Writes them.
    ///
    /// # Errors
    /// When the store does not, or a user and a client share a name.
    pub(crate) async fn bootstrap(&self, bootstrap: &Bootstrap) -> Result<(), BootstrapError> {
        if !bootstrap.clients.iter().any(|client| client.client_id == self.settings.login_client_id) {
            self.put_login_client().await?;
        }
        for client in &bootstrap.clients {
            self.put_client(client).await?;
        }
        for user in &bootstrap.users {
            self.put_user(user).await?;
        }
        Ok(())
    }

    /// The public client that log-ins act for.
    async fn put_login_client(&self) -> Result<(), BootstrapError> {
        let grants = [Grant::RefreshToken].into_iter().chain(self.settings.password_grant.then_some(Grant::Password));
        self.store_client(Client {
            client_id: self.settings.login_client_id.clone(),
            secret_mac: None,
            scopes: ScopeSet::default(),
            grants: grants.collect(),
            disabled: false,
        })
        .await
    }

    async fn put_client(&self, client: &BootstrapClient) -> Result<(), BootstrapError> {
        let secret = &client.client_secret;
        self.store_client(Client {
            client_id: client.client_id.clone(),
            secret_mac: (!secret.is_empty())
                .then(|| self.keyring.client_secret_mac(&client.client_id, secret.expose())),
            scopes: ScopeSet::from_list(&client.scopes).unwrap_or_default(),
            grants: client.grant_types.iter().filter_map(|grant| Grant::from_str(grant).ok()).collect::<GrantSet>(),
            disabled: client.disabled,
        })
        .await
    }

    async fn store_client(&self, client: Client) -> Result<(), BootstrapError> {
        if self.store.user(&client.client_id).await?.is_some() {
            return Err(BootstrapError::NameTaken(client.client_id));
        }
        Ok(self.store.put_client(&client, self.now()).await?)
    }

    async fn put_user(&self, user: &BootstrapUser) -> Result<(), BootstrapError> {
        if self.store.client(&user.username).await?.is_some() {
            return Err(BootstrapError::NameTaken(user.username.clone()));
        }
        let now = self.now();
        let existing = self.store.user(&user.username).await?;
        let kept = match &existing {
            Some(existing) if self.is_same_password(user, existing).await? => {
                Some((existing.password_hash.clone(), existing.password_changed_at))
            }
            _ => None,
        };
        let (password_hash, password_changed_at) = match kept {
            Some(kept) => kept,
            None => (self.hash_of(user).await?, now),
        };
        let scopes = ScopeSet::from_list(&user.scopes).unwrap_or_default();
        let user = User {
            username: user.username.clone(),
            password_hash,
            scopes,
            disabled: user.disabled,
            password_changed_at,
        };
        Ok(self.store.put_user(&user, now).await?)
    }

    /// A restart with the same password must not end the user's sessions.
    async fn is_same_password(&self, user: &BootstrapUser, existing: &User) -> Result<bool, Failure> {
        if user.password.is_empty() {
            return Ok(user.password_hash.expose() == existing.password_hash);
        }
        let turn = self.passwords.turn(Network::Own).await?;
        let password = user.password.to_secret_string();
        let (checked, _turn) = self.passwords.check(turn, password, Some(&existing.password_hash)).await?;
        Ok(matches!(checked, Checked::Right { .. }))
    }

    async fn hash_of(&self, user: &BootstrapUser) -> Result<String, Failure> {
        if user.password.is_empty() {
            return Ok(user.password_hash.expose().to_owned());
        }
        let turn = self.passwords.turn(Network::Own).await?;
        Ok(self.passwords.hash(turn, user.password.to_secret_string()).await?)
    }
}
