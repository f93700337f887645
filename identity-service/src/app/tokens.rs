//! Making access tokens: the one place that decides what stands in one.

use secrecy::SecretString;

use amends_primitives::Timestamp;

use super::{Core, keys::KeysError};
use crate::{
    config::VERIFIER_LEEWAY_MAX,
    crypto::signing::{AccessClaims, Actor, Expected},
    domain::scope::ScopeSet,
    ports::TokenName,
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

/// A token that has a name but is not signed yet: the name is stored first.
#[derive(Debug)]
pub(crate) struct Draft {
    /// What it will say.
    pub claims: AccessClaims,
    /// What it is called.
    pub name: TokenName,
}

impl Core {
    /// Drafts a token.
    pub(crate) fn draft(&self, subject: Subject<'_>, now: Timestamp) -> Draft {
        let iat = now.as_secs();
        let end = (now + self.settings.access_life).as_secs();
        let claims = AccessClaims {
            iss: self.settings.issuer.clone(),
            aud: self.settings.audience.clone(),
            sub: subject.sub.to_owned(),
            client_id: subject.client_id.to_owned(),
            scope: subject.scopes.to_string(),
            jti: self.ids.next_id().to_string(),
            iat,
            exp: subject.not_after.map_or(end, |not_after| not_after.min(end)),
            act: subject.act,
        };
        Draft { name: name_of(&claims), claims }
    }

    /// Signs a draft.
    ///
    /// # Errors
    /// When there is no key.
    pub(crate) fn sign(&self, draft: &Draft, scopes: ScopeSet, now: Timestamp) -> Result<Issued, KeysError> {
        let access_token = self.keys.sign(&draft.claims, now)?.into();
        Ok(Issued { access_token, expires_in: draft.claims.exp - draft.claims.iat, scopes, refresh_token: None })
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
            Some(claims) if !self.store.is_revoked(&claims.jti).await? => Ok(Some(claims)),
            _ => Ok(None),
        }
    }
}

/// The name of a token and how long it matters: verifiers accept it a little longer than it says.
pub(crate) fn name_of(claims: &AccessClaims) -> TokenName {
    let end = Timestamp::from_millis(claims.exp.saturating_mul(1000));
    TokenName { jti: claims.jti.clone(), expires_at: end + VERIFIER_LEEWAY_MAX }
}
