//! A client asks for a token for itself (RFC 6749 section 4.4). It gets no refresh token: it can just ask again.

use super::{
    Core, TokenError,
    authenticate::{Accepts, Presented, require},
    tokens::{Issued, Subject},
};
use crate::domain::{principal::Grant, scope::ScopeSet};

impl Core {
    /// Issues the token.
    ///
    /// # Errors
    /// As RFC 6749 section 5.2 has it.
    pub(crate) async fn client_credentials(
        &self,
        client: Presented,
        requested: Option<ScopeSet>,
    ) -> Result<Issued, TokenError> {
        let client = self.authenticate(client, Accepts::Confidential).await?;
        require(&client, Grant::ClientCredentials)?;
        let scopes = ScopeSet::narrow(&client.scopes, requested.as_ref()).ok_or(TokenError::InvalidScope)?;
        let now = self.now();
        let client_id = &client.client_id;
        let subject = Subject { sub: client_id, client_id, scopes: &scopes, sid: None, act: None, not_after: None };
        let draft = self.draft(subject, now);
        let issued = self.sign(&draft, scopes, now)?;
        self.metrics.issued(Grant::ClientCredentials.label());
        Ok(issued)
    }
}
