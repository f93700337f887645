//! A client exchanges a refresh token for the next access token and the next refresh token.

use super::{
    Core, TokenError,
    authenticate::{Accepts, Presented as PresentedClient, require},
    tokens::{Issued, Subject, session_over_at},
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
        let name = self.named(&client, Accepts::AnyClient)?;
        let presented = refresh_token::read(&self.keyring, token);
        let session = match presented {
            Some(presented) => self.store.session(presented.family_id, &name).await?,
            None => None,
        };
        let (Some(presented), Some(session)) = (presented, session) else {
            // A client that is none is told so first, whatever it presents.
            require(&self.authenticate(client, Accepts::AnyClient).await?, Grant::RefreshToken)?;
            return Err(BAD_TOKEN);
        };
        let client = self.authentic(&client, Accepts::AnyClient, &name, session.client)?;
        require(&client, Grant::RefreshToken)?;
        let family = session.family;
        if family.client_id != client.client_id {
            tracing::warn!(client = client.client_id, "a client presented the refresh token of another");
            return Err(BAD_TOKEN);
        }
        let user = session.user.ok_or(BAD_TOKEN)?;
        if user.disabled || !family.is_of_password(user.password_changed_at) {
            return Err(BAD_TOKEN);
        }
        // Before the rotation: a request that asks too much must not use the token up.
        let granted = ScopeSet::narrow(&family.scopes, requested.as_ref()).ok_or(TokenError::InvalidScope)?;
        // What the user has lost since the log-in is lost here too.
        let scopes = granted.and(&self.grantable(&user, &client));
        let now = self.now();
        let mut claims = self.draft(
            Subject {
                sub: &user.username,
                client_id: &client.client_id,
                scopes: &scopes,
                sid: Some(family.sid()),
                act: None,
                not_after: None,
            },
            now,
        );
        let drafted = claims.issued(&scopes);
        let rotation = Rotation {
            presented,
            client_id: &client.client_id,
            known: Some(&family),
            access: &drafted,
            revoked_until: session_over_at(now),
        };
        let (generation, access) = match self.store.rotate(rotation, &self.settings.refresh, now).await? {
            Rotated::Current { generation, access, .. } => (generation, access),
            Rotated::Reused(revoked) => {
                tracing::warn!(
                    user = user.username,
                    client = client.client_id,
                    family = %presented.family_id,
                    "an old refresh token was used again: the session is revoked"
                );
                self.metrics.reused();
                // The store has it; what fails here, the maintenance makes up for.
                if let Err(error) = self.publish_revocations(revoked, now).await {
                    tracing::warn!(%error, "the revocation is stored and will be shared");
                }
                return Err(BAD_TOKEN);
            }
            Rotated::Refused(refusal) => {
                tracing::debug!(?refusal, "a refresh token was refused");
                return Err(BAD_TOKEN);
            }
            Rotated::Unknown => return Err(BAD_TOKEN),
        };
        // A lost answer is given again with the token that was in it: never more than is asked for now, nor than was given then.
        let scopes = access.scopes.and(&scopes);
        claims.scope = scopes.to_string();
        (claims.jti, claims.iat, claims.exp) = (access.jti, access.iat, access.exp);
        let mut issued = self.sign(&claims, scopes, now)?;
        issued.refresh_token = Some(refresh_token::write(&self.keyring, presented.family_id, generation));
        self.metrics.issued(Grant::RefreshToken.label());
        Ok(issued)
    }
}
