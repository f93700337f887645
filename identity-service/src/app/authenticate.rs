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
        let client_id = match (presented.client_id, accepts) {
            (Some(client_id), _) if is_valid_name(&client_id) => client_id,
            (None, Accepts::AnyClient) if presented.client_secret.is_none() => self.settings.login_client_id.clone(),
            _ => return Err(TokenError::InvalidClient),
        };
        let client = self.store.client(&client_id).await?;
        let stored = client.as_ref().and_then(|client| client.secret_mac.as_deref());
        let authentic = match (&presented.client_secret, accepts) {
            (Some(secret), _) => self.keyring.is_client_secret(&client_id, secret.expose_secret(), stored),
            (None, Accepts::AnyClient) => stored.is_none(),
            (None, Accepts::Confidential) => false,
        };
        client.filter(|client| authentic && !client.disabled).ok_or(TokenError::InvalidClient)
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
