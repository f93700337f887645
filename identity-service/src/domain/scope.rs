//! Scopes (RFC 6749 section 3.3): what a token permits. A grant only ever narrows them.

use std::{collections::BTreeSet, fmt};

/// Scopes in one request: far more than this platform has, and the list lands in every token.
pub(crate) const SCOPES_MAX: usize = 32;
/// Characters of one scope; ours have at most 15.
pub(crate) const SCOPE_LENGTH_MAX: usize = 64;

/// The text is not a list of scopes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidScope {
    /// A character RFC 6749 does not allow, or two spaces in a row.
    #[error(
        "a scope is one or more printable ASCII characters without quotes and backslashes, separated by single spaces"
    )]
    Malformed,
    /// More scopes, or longer ones, than accepted.
    #[error("at most {SCOPES_MAX} scopes of at most {SCOPE_LENGTH_MAX} characters are accepted")]
    TooMany,
}

/// A set of scopes, in alphabetical order wherever it is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ScopeSet(BTreeSet<String>);

impl ScopeSet {
    /// Reads `a b c`. The empty text is the empty set.
    ///
    /// # Errors
    /// When the text is not a list of scopes, or too long a one.
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidScope> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut scopes = BTreeSet::new();
        for scope in text.split(' ') {
            if scope.is_empty() || !scope.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E)) {
                return Err(InvalidScope::Malformed);
            }
            scopes.insert(scope.to_owned());
            if scopes.len() > SCOPES_MAX || scope.len() > SCOPE_LENGTH_MAX {
                return Err(InvalidScope::TooMany);
            }
        }
        Ok(Self(scopes))
    }

    /// Reads a list of single scopes, as configuration has it.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub(crate) fn from_list<S: AsRef<str>>(list: &[S]) -> Result<Self, InvalidScope> {
        if list.iter().any(|scope| scope.as_ref().contains(' ') || scope.as_ref().is_empty()) {
            return Err(InvalidScope::Malformed);
        }
        Self::parse(&list.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "))
    }

    /// Whether every scope of `self` is in `other`.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.is_subset(&other.0)
    }

    /// The scopes in both.
    #[must_use]
    pub(crate) fn and(&self, other: &Self) -> Self {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// What a token gets when `requested` is asked of `allowed`: exactly what is asked, or all of it when nothing is asked.
    /// `None` when more is asked than allowed: a silent cut would surprise the caller later.
    pub(crate) fn narrow(allowed: &Self, requested: Option<&Self>) -> Option<Self> {
        match requested {
            None => Some(allowed.clone()),
            Some(requested) if requested.is_within(allowed) => Some(requested.clone()),
            Some(_) => None,
        }
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, scope) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> ScopeSet {
        ScopeSet::parse(text).unwrap()
    }

    #[test]
    fn reads_what_the_grammar_allows_and_nothing_else() {
        assert_eq!(set("b a b").to_string(), "a b");
        assert_eq!(set(""), ScopeSet::default());
        for bad in [" ", "a  b", " a", "a ", "a\tb", "a\"b", "a\\b", "ä", "a\nb"] {
            assert_eq!(ScopeSet::parse(bad), Err(InvalidScope::Malformed), "{bad:?}");
        }
        for good in ["!", "#", "[", "]", "~", "orders:read"] {
            assert_eq!(set(good).to_string(), good);
        }
        for bad in ["\u{7f}", "\u{1f}"] {
            assert_eq!(ScopeSet::parse(bad), Err(InvalidScope::Malformed), "{bad:?}");
        }
        let most = (0..SCOPES_MAX).map(|n| format!("s{n}")).collect::<Vec<_>>();
        assert!(ScopeSet::from_list(&most).is_ok() && ScopeSet::parse(&"x".repeat(SCOPE_LENGTH_MAX)).is_ok());
        let many = (0..=SCOPES_MAX).map(|n| format!("s{n}")).collect::<Vec<_>>();
        assert_eq!(ScopeSet::from_list(&many), Err(InvalidScope::TooMany));
        assert_eq!(ScopeSet::parse(&"x".repeat(SCOPE_LENGTH_MAX + 1)), Err(InvalidScope::TooMany));
        assert_eq!(ScopeSet::from_list(&["a", "b"]), Ok(set("a b")));
        for bad in ["a b", ""] {
            assert_eq!(ScopeSet::from_list(&["a", bad]), Err(InvalidScope::Malformed), "{bad:?}");
        }
    }

    #[test]
    fn narrowing_never_widens() {
        let allowed = set("a b");
        assert_eq!(ScopeSet::narrow(&allowed, None), Some(allowed.clone()));
        assert_eq!(ScopeSet::narrow(&allowed, Some(&set("b"))), Some(set("b")));
        assert_eq!(ScopeSet::narrow(&allowed, Some(&set("b c"))), None);
        assert_eq!(allowed.and(&set("b c")), set("b"));
        assert!(set("b").is_within(&allowed) && set("").is_within(&allowed) && !set("a c").is_within(&allowed));
    }
}
