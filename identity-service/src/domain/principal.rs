//! Who asks for tokens: users with a password, clients with a secret, and public clients with neither.

use std::{collections::BTreeSet, fmt, str::FromStr};

use amends_primitives::Timestamp;

use super::scope::ScopeSet;

/// Characters of a user name or a client id; both land in every token and every log line.
pub(crate) const NAME_LENGTH_MAX: usize = 128;

/// Whether `name` may name a user or a client: 1 to 128 visible ASCII characters, no colon (it separates Basic credentials).
pub(crate) fn is_valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_LENGTH_MAX
        && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

/// A person. `Debug` omits the password hash.
#[derive(Clone)]
pub(crate) struct User {
    /// The name, which is also the `sub` of the tokens.
    pub username: String,
    /// Argon2id, as a PHC string.
    pub password_hash: String,
    /// The most a token may permit.
    pub scopes: ScopeSet,
    /// Neither logs in nor refreshes.
    pub disabled: bool,
    /// Sessions begun earlier are over.
    pub password_changed_at: Timestamp,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("username", &self.username)
            .field("scopes", &self.scopes)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// A program. `Debug` omits the secret's fingerprint.
#[derive(Clone)]
#[expect(clippy::struct_field_names, reason = "as RFC 6749 calls it")]
pub(crate) struct Client {
    /// The id, which is also the `sub` of its own tokens.
    pub client_id: String,
    /// Keyed fingerprint of the secret; none for a public client.
    pub secret_mac: Option<String>,
    /// The most a token of its own may permit.
    pub scopes: ScopeSet,
    /// What it may ask for.
    pub grants: GrantSet,
    /// Gets no more tokens.
    pub disabled: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("client_id", &self.client_id)
            .field("scopes", &self.scopes)
            .field("grants", &self.grants)
            .field("disabled", &self.disabled)
            .finish_non_exhaustive()
    }
}

/// A way to get a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grant {
    /// For itself, RFC 6749 section 4.4.
    ClientCredentials,
    /// Section 6.
    RefreshToken,
    /// With a user's password, section 4.3; refused outside development.
    Password,
    /// RFC 8693: another token for the same subject, permitting less.
    TokenExchange,
}

impl Grant {
    /// Every grant, in the order the metadata lists them.
    pub(crate) const ALL: [Self; 4] =
        [Self::ClientCredentials, Self::RefreshToken, Self::Password, Self::TokenExchange];

    /// As `grant_type` spells it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken => "refresh_token",
            Self::Password => "password",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }

    /// A word for metrics and logs.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::TokenExchange => "token_exchange",
            other => other.as_str(),
        }
    }
}

/// Not a grant this service knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a grant type: client_credentials, refresh_token, password or urn:ietf:params:oauth:grant-type:token-exchange"
)]
pub(crate) struct UnknownGrant;

impl FromStr for Grant {
    type Err = UnknownGrant;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|grant| grant.as_str() == text).ok_or(UnknownGrant)
    }
}

/// The grants of a client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GrantSet(BTreeSet<Grant>);

impl GrantSet {
    /// Whether `grant` is among them.
    pub(crate) fn allows(&self, grant: Grant) -> bool {
        self.0.contains(&grant)
    }

    /// Reads what [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// When one is not known.
    pub(crate) fn parse(text: &str) -> Result<Self, UnknownGrant> {
        text.split(' ').filter(|word| !word.is_empty()).map(str::parse).collect::<Result<BTreeSet<_>, _>>().map(Self)
    }
}

impl FromIterator<Grant> for GrantSet {
    fn from_iter<I: IntoIterator<Item = Grant>>(grants: I) -> Self {
        Self(grants.into_iter().collect())
    }
}

impl fmt::Display for GrantSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(|grant| grant.as_str()).collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grants_there_and_back() {
        let all: GrantSet = Grant::ALL.into_iter().collect();
        assert!(Grant::ALL.into_iter().all(|grant| all.allows(grant)));
        assert_eq!(GrantSet::parse(&all.to_string()), Ok(all));
        assert_eq!(GrantSet::parse("implicit"), Err(UnknownGrant));
        assert_eq!((GrantSet::parse(""), GrantSet::parse(" ")), (Ok(GrantSet::default()), Ok(GrantSet::default())));
    }

    #[test]
    fn a_client_may_ask_for_its_own_grants_only() {
        let grants = GrantSet::parse("refresh_token password").unwrap();
        assert_eq!(Grant::ALL.map(|grant| grants.allows(grant)), [false, true, true, false]);
        assert_eq!(grants.to_string(), "refresh_token password");
    }

    #[test]
    fn a_label_is_one_word() {
        let labels = ["client_credentials", "refresh_token", "password", "token_exchange"];
        assert_eq!(Grant::ALL.map(Grant::label), labels);
    }

    #[test]
    fn names_fit_a_header_and_a_log_line() {
        assert!(is_valid_name("demo") && is_valid_name("a@b.example") && is_valid_name(&"x".repeat(128)));
        for bad in ["", "a b", "a:b", "a\n", "ä", &"x".repeat(129)] {
            assert!(!is_valid_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let user = User {
            username: "ann".into(),
            password_hash: "$argon2id$hunter2".into(),
            scopes: ScopeSet::default(),
            disabled: false,
            password_changed_at: Timestamp::default(),
        };
        let client = Client {
            client_id: "shop".into(),
            secret_mac: Some("hunter2".into()),
            scopes: ScopeSet::default(),
            grants: GrantSet::default(),
            disabled: false,
        };
        let shown = format!("{user:?} {client:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("ann") && shown.contains("shop"), "{shown}");
    }
}
