//! Addresses of stores, which may hold a password: in the place for one, or among the parameters, as PostgreSQL's drivers allow.

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

/// Makes a wrapper of a [`SecretString`] out of texts, and has `Debug` and serialisation show no more of it than its method `shown`.
#[macro_export]
macro_rules! shown_in_part {
    ($type:ident) => {
        impl From<&str> for $type {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl ::std::fmt::Debug for $type {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.shown())
            }
        }

        impl ::serde::Serialize for $type {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.shown())
            }
        }
    };
}

/// A URL that may hold a secret. `Debug` and serialisation show where it leads, and neither user, password nor parameters; of what is not
/// a URL they show nothing. A SQLite URL, which leads to a file, is shown whole.
#[derive(Clone, Default, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(SecretString);

impl SecretUrl {
    /// The URL itself. Look twice at where it goes.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// For libraries that keep secrets in this type.
    pub const fn secret(&self) -> &SecretString {
        &self.0
    }

    fn shown(&self) -> String {
        let text = self.expose();
        if text.is_empty() || text.starts_with("sqlite:") {
            return text.to_owned();
        }
        // An `@` elsewhere than behind a user is a mistake by which a parser takes a part of the password for the host or the path.
        let is_plain = |url: &Url| {
            let users = usize::from(!url.username().is_empty() || url.password().is_some());
            url.has_host() && text.matches('@').count() == users
        };
        let known = Url::parse(text).ok().filter(is_plain);
        known.map_or_else(
            || "(secret)".to_owned(),
            |url| {
                let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
                format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
            },
        )
    }
}

impl From<String> for SecretUrl {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

crate::shown_in_part!(SecretUrl);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_holds_no_secret() {
        for (url, shown) in [
            ("", ""),
            ("sqlite:data/order.db", "sqlite:data/order.db"),
            ("postgres://db.example:5432/orders", "postgres://db.example:5432/orders"),
            ("postgres://shop:hunter2@db.example/orders", "postgres://db.example/orders"),
            ("postgres://db.example/orders?user=shop&password=hunter2", "postgres://db.example/orders"),
            ("redis://:hunter2@[::1]:6379/0#hunter2", "redis://[::1]:6379/0"),
            ("postgres://shop:12/34@db.example/orders", "(secret)"),
            ("postgres://shop:12#x@db.example/orders", "(secret)"),
            ("postgres://shop:12?x@db.example/orders", "(secret)"),
            // Several hosts are no URL to a parser.
            ("mongodb://shop:hunter2@a.example:27017,b.example:27017/payments", "(secret)"),
            ("hunter2", "(secret)"),
        ] {
            let url = SecretUrl::from(url);
            assert_eq!(format!("{url:?}"), shown);
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
        }
    }
}
