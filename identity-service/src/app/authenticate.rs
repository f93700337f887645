//! Who a client is (RFC 6749 section 2.3).

use secrecy::{ExposeSecret as _, SecretString};

use super::{Core, TokenError};
use crate::domain::principal::{Client, Grant, is_valid_name};

/// What a request says about its client.
#[derive(Debug, Default)]
pub(crate) struct Presented {
    /// The id, from the header or the body.
    pub client_id: Option<String>,
    /// The secret, from the header or the body.
    pub client_secret: Option<SecretString>,
}

/// Whom an endpoint serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepts {
    /// Clients with a secret.
    Confidential,
    /// Also public ones, which only give their id; without an id it is the log-in client.
    AnyClient,
}

impl Core {
    /// Finds out who the client is.
    ///
    /// # Errors
    /// [`TokenError::InvalidClient`], whatever it is that does not fit.
    pub(crate) async fn authenticate(&self, presented: Presented, accepts: Accepts) -> Result<Client, TokenError> {
        let client_id = self.named(&presented, accepts)?;
        let stored = self.store.client(&client_id).await?;
        self.authentic(&presented, accepts, &client_id, stored)
    }

    /// Which client the request says that it is.
    ///
    /// # Errors
    /// [`TokenError::InvalidClient`], where it says nothing that could be meant.
    pub(super) fn named(&self, presented: &Presented, accepts: Accepts) -> Result<String, TokenError> {
        match (&presented.client_id, accepts) {
            (Some(client_id), _) if is_valid_name(client_id) => Ok(client_id.clone()),
            (None, Accepts::AnyClient) if presented.client_secret.is_none() => {
                Ok(self.settings.login_client_id.clone())
            }
            _ => Err(TokenError::InvalidClient),
        }
    }

    /// Whether it is the client of that name, as stored.
    ///
    /// # Errors
    /// [`TokenError::InvalidClient`], where it is not, or there is none.
    pub(super) fn authentic(
        &self,
        presented: &Presented,
        accepts: Accepts,
        client_id: &str,
        stored: Option<Client>,
    ) -> Result<Client, TokenError> {
        let secret_mac = stored.as_ref().and_then(|client| client.secret_mac.as_deref());
        let authentic = match (&presented.client_secret, accepts) {
            (Some(secret), _) => self.keyring.is_client_secret(client_id, secret.expose_secret(), secret_mac),
            (None, Accepts::AnyClient) => secret_mac.is_none(),
            (None, Accepts::Confidential) => false,
        };
        stored.filter(|client| authentic && !client.disabled).ok_or(TokenError::InvalidClient)
    }
}

impl Core {
    /// The public client that `/auth/login` acts for.
    ///
    /// # Errors
    /// When it is disabled, or the store cannot be asked.
    pub(crate) async fn login_client(&self) -> Result<Client, TokenError> {
        self.authenticate(Presented::default(), Accepts::AnyClient).await
    }
}

/// Whether the client may use the grant.
///
/// # Errors
/// [`TokenError::UnauthorizedClient`] when not.
pub(crate) fn require(client: &Client, grant: Grant) -> Result<(), TokenError> {
    if client.grants.allows(grant) { Ok(()) } else { Err(TokenError::UnauthorizedClient) }
}
