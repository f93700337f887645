//! Token exchange (RFC 8693): a client that was handed a token gets another one for the same subject, permitting at most as much
//! and living at most as long, which names the client as the one who acts. For handing on only what the next service needs.

use super::{
    Core, TokenError,
    authenticate::{Accepts, Presented, require},
    tokens::{Issued, Subject},
};
use crate::{
    crypto::signing::Actor,
    domain::{principal::Grant, scope::ScopeSet},
};

/// The only type of token taken and given.
pub(crate) const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// Clients that acted one after the other, in one token. More is a loop.
const ACTORS_MAX: usize = 4;

/// What the request asks.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    /// The token at hand.
    pub subject_token: &'a str,
    /// What is wanted; nothing: as much as the token at hand.
    pub requested: Option<ScopeSet>,
}

impl Core {
    /// Issues the token.
    ///
    /// # Errors
    /// As RFC 8693 section 2.2.2 has it.
    pub(crate) async fn exchange(&self, client: Presented, exchange: Exchange<'_>) -> Result<Issued, TokenError> {
        let client = self.authenticate(client, Accepts::Confidential).await?;
        require(&client, Grant::TokenExchange)?;
        let now = self.now();
        let bad = TokenError::InvalidRequest("the subject token is invalid, expired or revoked");
        let subject = self.read_access_token(exchange.subject_token, now).await?.ok_or(bad)?;
        let held = ScopeSet::parse(&subject.scope).map_err(|_| TokenError::InvalidScope)?;
        let scopes = ScopeSet::narrow(&held, exchange.requested.as_ref()).ok_or(TokenError::InvalidScope)?;
        let actor = Actor { sub: client.client_id.clone(), act: subject.act.map(Box::new) };
        if actor.depth() > ACTORS_MAX {
            return Err(TokenError::InvalidRequest("the subject token was exchanged too often"));
        }
        let draft = self.draft(
            Subject {
                sub: &subject.sub,
                client_id: &client.client_id,
                scopes: &scopes,
                // It ends with its subject's session.
                sid: subject.sid,
                act: Some(actor),
                not_after: Some(subject.exp),
            },
            now,
        );
        let issued = self.sign(&draft, scopes, now)?;
        self.metrics.issued(Grant::TokenExchange.label());
        Ok(issued)
    }
}
