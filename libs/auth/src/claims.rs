//! What a verified token says.

use std::{collections::BTreeSet, fmt};

use amends_primitives::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use super::AuthError;

/// What a verified access token says about who asks.
#[derive(Debug, Clone)]
pub struct Claims {
    /// On whose behalf: a user's name, or the client's id where no user is involved.
    pub sub: String,
    /// Through which client.
    pub client_id: String,
    /// What the token is good for.
    pub scope: Scopes,
    /// The token's own id, by which it is revoked.
    pub jti: String,
    /// The session it belongs to, by which it is revoked too; none where no user logged in.
    pub sid: Option<String>,
    /// When it was issued.
    pub iat: Timestamp,
    /// When it ends.
    pub exp: Timestamp,
    /// The token itself, to be passed on. Not shown by `Debug`.
    pub token: BearerToken,
}

impl Claims {
    /// Asks for a scope.
    ///
    /// # Errors
    /// [`AuthError::InsufficientScope`] when the token lacks it.
    pub fn require(&self, scope: &'static str) -> Result<(), AuthError> {
        if self.scope.contains(scope) { Ok(()) } else { Err(AuthError::InsufficientScope { required: scope }) }
    }
}

/// A set of scopes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scopes(BTreeSet<String>);

impl Scopes {
    /// Reads a space-separated list (RFC 6749, 3.3).
    pub fn parse(text: &str) -> Self {
        Self(text.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect())
    }

    /// Whether the scope is among them.
    pub fn contains(&self, scope: &str) -> bool {
        self.0.contains(scope)
    }

    /// All of them, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether every one of them is among `others`.
    pub fn is_subset(&self, others: &Self) -> bool {
        self.0.is_subset(&others.0)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: Into<String>> FromIterator<S> for Scopes {
    fn from_iter<I: IntoIterator<Item = S>>(scopes: I) -> Self {
        Self(scopes.into_iter().map(Into::into).collect())
    }
}

/// Space-separated, as tokens have it.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, scope) in self.iter().enumerate() {
            if n > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

/// A token as it came; shown by nothing.
#[derive(Clone)]
pub struct BearerToken(SecretString);

impl BearerToken {
    /// Wraps a token.
    pub fn new(token: impl Into<String>) -> Self {
        Self(SecretString::from(token.into()))
    }

    /// The token, to be sent on.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BearerToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_words_not_prefixes() {
        let scopes = Scopes::parse("orders:read  orders:write");
        assert!(scopes.contains("orders:read") && !scopes.contains("orders") && !scopes.contains(""));
        assert_eq!(scopes.to_string(), "orders:read orders:write");
        assert!(Scopes::parse("").is_empty() && !scopes.is_empty());
        assert_eq!(scopes.iter().collect::<Vec<_>>(), ["orders:read", "orders:write"]);
        assert_eq!(["orders:write", "orders:read"].into_iter().collect::<Scopes>(), scopes);
    }

    #[test]
    fn a_scope_that_the_token_lacks_is_refused() {
        let text = || "x".to_owned();
        let (now, token) = (Timestamp::from_millis(0), BearerToken::new("e30.e30.AA"));
        let scope = Scopes::parse("orders:read");
        let claims =
            Claims { sub: text(), client_id: text(), scope, jti: text(), sid: None, iat: now, exp: now, token };
        assert_eq!(claims.require("orders:read"), Ok(()));
        let required = "orders:write";
        assert_eq!(claims.require(required), Err(AuthError::InsufficientScope { required }));
    }

    #[test]
    fn a_subset_asks_for_nothing_that_the_whole_has_not() {
        let (both, one) = (Scopes::parse("a b"), Scopes::parse("b"));
        assert!(one.is_subset(&both) && both.is_subset(&both) && !both.is_subset(&one));
    }

    #[test]
    fn a_token_is_told_only_to_those_it_is_sent_to() {
        let token = BearerToken::new("e30.e30.AA");
        assert_eq!((token.expose(), format!("{token:?}").as_str()), ("e30.e30.AA", "BearerToken(…)"));
    }
}
