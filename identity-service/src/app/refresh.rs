//! A client exchanges a refresh token for the next access token and the next refresh token.

use super::{
    Core, TokenError,
    authenticate::{Accepts, Presented as PresentedClient, require},
    tokens::{Issued, Subject},
};
use crate::{
    crypto::refresh_token,
    domain::{principal::Grant, scope::ScopeSet},
    ports::{Rotated, Rotation},
};

/// The one answer to every refresh token that is no good.
const BAD_TOKEN: TokenError = TokenError::InvalidGrant("the refresh token is invalid, expired or revoked");

impl Core {
    /// Rotates and issues.
    ///
    /// # Errors
    /// As RFC 6749 section 5.2 has it.
    pub(crate) async fn refresh(
        &self,
        client: PresentedClient,
        token: &str,
        requested: Option<ScopeSet>,
    ) -> Result<Issued, TokenError> {
        let client = self.authenticate(client, Accepts::Anyone).await?;
        require(&client, Grant::RefreshToken)?;
        let presented = refresh_token::read(&self.keyring, token).ok_or(BAD_TOKEN)?;
        let family = self.store.family(presented.family_id).await?.ok_or(BAD_TOKEN)?;
        if family.client_id != client.client_id {
            tracing::warn!(client = client.client_id, "a client presented the refresh token of another");
            return Err(BAD_TOKEN);
        }
        let user = self.store.user(&family.username).await?.ok_or(BAD_TOKEN)?;
        if user.disabled || family.created_at < user.password_changed_at {
            return Err(BAD_TOKEN);
        }
        // Before the rotation: a request that asks too much must not use the token up.
        let granted = ScopeSet::narrow(&family.scopes, requested.as_ref()).ok_or(TokenError::InvalidScope)?;
        // What the user has lost since the log-in is lost here too.
        let scopes = granted.and(&self.grantable(&user, &client));
        let now = self.now();
        let subject =
            Subject { sub: &user.username, client_id: &client.client_id, scopes: &scopes, act: None, not_after: None };
        let draft = self.draft(subject, now);
        let rotation = Rotation { presented, client_id: &client.client_id, access: &draft.name };
        let generation = match self.store.rotate(rotation, &self.settings.refresh, now).await? {
            Rotated::Current { generation, .. } => generation,
            Rotated::Reused(tokens) => {
                tracing::warn!(
                    user = user.username,
                    client = client.client_id,
                    family = %presented.family_id,
                    "an old refresh token was used again: the session is revoked"
                );
                self.metrics.reused();
                // The store has them; what fails here, the next maintenance does.
                let _ = self.spread(&tokens, now).await;
                return Err(BAD_TOKEN);
            }
            Rotated::Refused(refusal) => {
                tracing::debug!(?refusal, "a refresh token was refused");
                return Err(BAD_TOKEN);
            }
            Rotated::Unknown => return Err(BAD_TOKEN),
        };
        let mut issued = self.sign(&draft, scopes, now)?;
        issued.refresh_token = Some(refresh_token::write(&self.keyring, presented.family_id, generation));
        self.metrics.issued(Grant::RefreshToken.label());
        Ok(issued)
    }
}
