//! Ending tokens (RFC 7009): an access token by its name, a refresh token with its whole session.

use amends_primitives::Timestamp;

use super::{
    Core, TokenError,
    authenticate::{Accepts, Presented},
    tokens::name_of,
};
use crate::{
    crypto::{refresh_token, signing::Expected},
    ports::{ShareError, TokenName},
};

impl Core {
    /// Ends a token. A token that is no good already, or never was, is fine.
    ///
    /// # Errors
    /// [`TokenError::UnauthorizedClient`] for the token of another client. A failure when it cannot be stored and shared: then
    /// the caller asks again; what was stored is shared later anyway.
    pub(crate) async fn revoke(&self, client: Presented, token: &str) -> Result<(), TokenError> {
        let client = self.authenticate(client, Accepts::Anyone).await?;
        let now = self.now();
        let revoked = if refresh_token::looks_like_one(token) {
            let Some(presented) = refresh_token::read(&self.keyring, token) else { return Ok(()) };
            let Some(family) = self.store.family(presented.family_id).await? else { return Ok(()) };
            if family.client_id != client.client_id {
                return Err(TokenError::UnauthorizedClient);
            }
            let revoked = self.store.revoke_family(presented.family_id, now).await?;
            tracing::info!(user = family.username, client = client.client_id, "logged out");
            revoked
        } else {
            let expected = Expected { issuer: &self.settings.issuer, audience: &self.settings.audience };
            let Some(claims) = self.keys.read(token, expected, now) else { return Ok(()) };
            if claims.client_id != client.client_id {
                return Err(TokenError::UnauthorizedClient);
            }
            let name = name_of(&claims);
            self.store.revoke(&name, now).await?;
            tracing::info!(sub = claims.sub, jti = claims.jti, "revoked an access token");
            vec![name]
        };
        Ok(self.spread(&revoked, now).await?)
    }

    /// Makes stored revocations known in this process and, where configured, to the others.
    ///
    /// # Errors
    /// When the others cannot be told now. They will be: the store remembers what is not shared.
    pub(super) async fn spread(&self, tokens: &[TokenName], now: Timestamp) -> Result<(), ShareError> {
        self.known.add(tokens);
        self.metrics.revoked(tokens.len());
        let Some(sharing) = &self.sharing else { return Ok(()) };
        if tokens.is_empty() {
            return Ok(());
        }
        sharing.share(tokens, now).await?;
        if let Err(error) = self.store.mark_shared(tokens).await {
            tracing::debug!(%error, "shared revocations could not be marked; they are shared once more");
        }
        Ok(())
    }
}
