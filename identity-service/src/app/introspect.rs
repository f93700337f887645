//! What a token is worth now (RFC 7662).

use amends_primitives::Timestamp;

use super::{
    Core, TokenError,
    authenticate::{Accepts, Presented},
};
use crate::{
    crypto::{refresh_token, signing::AccessClaims},
    domain::refresh::{Decision, Family, decide},
};

/// The answer.
#[derive(Debug)]
pub(crate) enum Introspection {
    /// Worth nothing, for whatever reason.
    Inactive,
    /// A good access token.
    Access(AccessClaims),
    /// A good refresh token, shown to the client it belongs to.
    Refresh {
        /// Its family.
        family: Family,
        /// Its end.
        expires_at: Timestamp,
    },
}

impl Core {
    /// Looks at a token.
    ///
    /// # Errors
    /// When the client cannot be authenticated, or the store cannot be asked: it is not known to be inactive then.
    pub(crate) async fn introspect(&self, client: Presented, token: &str) -> Result<Introspection, TokenError> {
        let client = self.authenticate(client, Accepts::Confidential).await?;
        let now = self.now();
        if !refresh_token::looks_like_one(token) {
            let claims = self.read_access_token(token, now).await?;
            return Ok(claims.map_or(Introspection::Inactive, Introspection::Access));
        }
        let Some(presented) = refresh_token::read(&self.keyring, token) else { return Ok(Introspection::Inactive) };
        let Some(family) = self.store.family(presented.family_id).await? else { return Ok(Introspection::Inactive) };
        let user = self.store.user(&family.username).await?;
        let good_user = user.is_some_and(|user| !user.disabled && family.is_of_password(user.password_changed_at));
        match decide(&family, presented.generation, &client.client_id, &self.settings.refresh, now) {
            Decision::Rotate { .. } if good_user => {
                Ok(Introspection::Refresh { expires_at: family.expires_at, family })
            }
            _ => Ok(Introspection::Inactive),
        }
    }
}
