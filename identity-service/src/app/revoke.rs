//! Ending tokens (RFC 7009): an access token by its name, a refresh token with its whole session, which is one name too. The store
//! has it first; telling others comes after, and is made up for when it fails.

use amends_auth::Revocable;
use amends_primitives::Timestamp;

use super::{
    Core, TokenError,
    authenticate::{Accepts, Presented},
    tokens::session_over_at,
};
use crate::{
    crypto::{refresh_token, signing::Expected},
    ports::{Revocation, ShareError},
};

impl Core {
    /// Ends a token. A token that is no good already, or never was, is fine.
    ///
    /// # Errors
    /// [`TokenError::UnauthorizedClient`] for the token of another client. A failure when it cannot be stored and shared: then
    /// the caller asks again; what was stored is shared later anyway.
    pub(crate) async fn revoke(&self, client: Presented, token: &str) -> Result<(), TokenError> {
        let client = self.authenticate(client, Accepts::AnyClient).await?;
        let now = self.now();
        let revoked = if refresh_token::looks_like_one(token) {
            let Some(presented) = refresh_token::read(&self.keyring, token) else { return Ok(()) };
            let Some(family) = self.store.family(presented.family_id).await? else { return Ok(()) };
            if family.client_id != client.client_id {
                return Err(TokenError::UnauthorizedClient);
            }
            let until = session_over_at(now);
            let Some(revoked) = self.store.revoke_family(presented.family_id, until, now).await? else {
                return Ok(());
            };
            tracing::info!(user = family.username, client = client.client_id, "logged out");
            revoked
        } else {
            let expected = Expected { issuer: &self.settings.issuer, audience: &self.settings.audience };
            let Some(claims) = self.keys.read(token, expected, now) else { return Ok(()) };
            if claims.client_id != client.client_id {
                return Err(TokenError::UnauthorizedClient);
            }
            let revoked = claims.revocation();
            if !self.known.contains(Revocable::token(&claims.jti)) {
                let added = self.singles.add(&claims.sub, self.clock.moment());
                added.map_err(TokenError::TooManyRevocations)?;
            }
            self.store.revoke(&revoked, now).await?;
            tracing::info!(sub = claims.sub, jti = claims.jti, "revoked an access token");
            revoked
        };
        Ok(self.publish_revocations(revoked, now).await?)
    }

    /// Makes a stored revocation known in this process and, where configured, to the others.
    ///
    /// # Errors
    /// When the others cannot be told now. They will be, soon: the store remembers what is not shared, and the maintenance is woken.
    pub(super) async fn publish_revocations(&self, revoked: Revocation, now: Timestamp) -> Result<(), ShareError> {
        let revoked = [revoked];
        self.known.add(&revoked);
        self.metrics.revoked();
        let Some(sharing) = &self.sharing else { return Ok(()) };
        if let Err(error) = sharing.share(&revoked, now).await {
            self.unshared.notify_one();
            return Err(error);
        }
        if let Err(error) = self.store.mark_shared(&revoked).await {
            tracing::debug!(%error, "a shared revocation could not be marked; it is shared once more");
        }
        Ok(())
    }
}
