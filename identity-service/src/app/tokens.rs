//! Making access tokens: the one place that decides on their claims.

use secrecy::SecretString;

use amends_primitives::Timestamp;

use amends_auth::Revocable;

use super::{Core, keys::KeysError};
use crate::{
    config::{ACCESS_LIFE_MAX, VERIFIER_LEEWAY_MAX},
    crypto::signing::{AccessClaims, Actor, Expected},
    domain::{refresh::IssuedAccess, scope::ScopeSet},
    ports::{Revocation, accepted_until},
};

/// For whom and for what a token is.
#[derive(Debug, Clone)]
pub(crate) struct Subject<'a> {
    /// The user, or the client itself.
    pub sub: &'a str,
    /// Who asked.
    pub client_id: &'a str,
    /// What it permits.
    pub scopes: &'a ScopeSet,
    /// The session it belongs to.
    pub sid: Option<String>,
    /// Who acts for the subject.
    pub act: Option<Actor>,
    /// It may not outlive this, in seconds since 1970.
    pub not_after: Option<i64>,
}

/// What a token endpoint answers with. `Debug` shows no token.
#[derive(Debug)]
pub(crate) struct Issued {
    /// The access token.
    pub access_token: SecretString,
    /// Seconds it lives.
    pub expires_in: i64,
    /// What it permits.
    pub scopes: ScopeSet,
    /// To get the next one with.
    pub refresh_token: Option<SecretString>,
}

impl Core {
    /// Drafts a token: what it will say. Of a session, that is stored before it is signed.
    pub(crate) fn draft(&self, subject: Subject<'_>, now: Timestamp) -> AccessClaims {
        let end = (now + self.settings.access_life).as_secs();
        AccessClaims {
            iss: self.settings.issuer.clone(),
            aud: self.settings.audience.clone(),
            sub: subject.sub.to_owned(),
            client_id: subject.client_id.to_owned(),
            scope: subject.scopes.to_string(),
            jti: self.ids.next_id().to_string(),
            sid: subject.sid,
            iat: now.as_secs(),
            exp: subject.not_after.map_or(end, |not_after| not_after.min(end)),
            act: subject.act,
        }
    }

    /// Signs a draft.
    ///
    /// # Errors
    /// When there is no key.
    pub(crate) fn sign(&self, claims: &AccessClaims, scopes: ScopeSet, now: Timestamp) -> Result<Issued, KeysError> {
        let access_token = self.keys.sign(claims, now)?.into();
        // Less than its whole life where a lost answer is given again; and what the clock says of one that it was set back before is not
        // more than that.
        let expires_in = (claims.exp - now.as_secs()).min(claims.exp - claims.iat);
        Ok(Issued { access_token, expires_in, scopes, refresh_token: None })
    }

    /// The claims of one of our access tokens, if it has neither expired nor been revoked.
    ///
    /// # Errors
    /// When the store cannot be asked about revocation.
    pub(crate) async fn read_access_token(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<AccessClaims>, crate::ports::StoreError> {
        let expected = Expected { issuer: &self.settings.issuer, audience: &self.settings.audience };
        match self.keys.read(token, expected, now) {
            Some(claims) if !self.store.is_revoked(claims.revocable()).await? => Ok(Some(claims)),
            _ => Ok(None),
        }
    }
}

impl AccessClaims {
    /// What the token is revoked by.
    pub(super) fn revocable(&self) -> Revocable<'_> {
        Revocable { jti: &self.jti, sid: self.sid.as_deref() }
    }

    /// What is stored of it with its session, so that it can be issued again.
    pub(super) fn issued(&self, scopes: &ScopeSet) -> IssuedAccess {
        IssuedAccess { jti: self.jti.clone(), iat: self.iat, exp: self.exp, scopes: scopes.clone() }
    }

    /// The revocation of the token alone.
    pub(super) fn revocation(&self) -> Revocation {
        Revocation { name: self.jti.clone(), expires_at: accepted_until(self.exp) }
    }
}

/// Until when a session's revocation is kept, if it is revoked at `now`: longer than any of its tokens can be accepted, whatever their
/// life was configured to be when they were issued.
pub(super) fn session_over_at(now: Timestamp) -> Timestamp {
    now + ACCESS_LIFE_MAX + VERIFIER_LEEWAY_MAX
}
