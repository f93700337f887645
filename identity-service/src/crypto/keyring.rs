//! The key encryption key and what is derived from it. It lives in configuration, never in the store, so that a copy of the
//! store alone forges nothing and reveals no key.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    error::Unspecified,
    hmac,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Bytes of a key encryption key: AES-256.
pub(crate) const KEY_LEN: usize = 32;

/// Former keys that are still accepted; more is a forgotten clean-up.
pub(crate) const FORMER_KEYS_MAX: usize = 4;

/// A sealed value cannot be opened: none of our keys made it, or it was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a stored key cannot be decrypted with identity.key_encryption_key nor any of identity.former_key_encryption_keys"
)]
pub(crate) struct CannotOpen;

/// The current key encryption key, which seals, and former ones, which only open. `Debug` shows neither.
pub(crate) struct Keyring {
    /// Never empty; the first is the current one.
    keys: Vec<Derived>,
}

struct Derived {
    /// Tells which key sealed a value; derived one-way, so no secret.
    id: String,
    seal: RandomizedNonceKey,
    refresh: hmac::Key,
    client_secret: hmac::Key,
}

impl Derived {
    fn new(master: &[u8; KEY_LEN]) -> Result<Self, Unspecified> {
        let master = hmac::Key::new(hmac::HMAC_SHA256, master);
        let derive = |purpose: &str| hmac::sign(&master, format!("amends/identity/{purpose}/v1").as_bytes());
        Ok(Self {
            id: URL_SAFE_NO_PAD.encode(&derive("key-id").as_ref()[..6]),
            seal: RandomizedNonceKey::new(&AES_256_GCM, derive("seal").as_ref())?,
            refresh: hmac::Key::new(hmac::HMAC_SHA256, derive("refresh-token").as_ref()),
            client_secret: hmac::Key::new(hmac::HMAC_SHA256, derive("client-secret").as_ref()),
        })
    }
}

impl Keyring {
    /// Derives everything from `current` and `former` keys.
    ///
    /// # Errors
    /// When the cryptographic library refuses, which it does not for keys of this length.
    pub(crate) fn new(current: &[u8; KEY_LEN], former: &[Zeroizing<[u8; KEY_LEN]>]) -> Result<Self, Unspecified> {
        let mut keys = vec![Derived::new(current)?];
        for key in former {
            keys.push(Derived::new(key)?);
        }
        Ok(Self { keys })
    }

    /// Encrypts `plain` so that only [`open`](Self::open) with the same `context` returns it.
    ///
    /// # Errors
    /// When the cryptographic library refuses.
    pub(crate) fn seal(&self, context: &str, plain: &[u8]) -> Result<String, Unspecified> {
        let key = self.current();
        let mut bytes = plain.to_vec();
        let nonce = key.seal.seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut bytes)?;
        bytes.splice(0..0, *nonce.as_ref());
        Ok(format!("v1.{}.{}", key.id, URL_SAFE_NO_PAD.encode(&bytes)))
    }

    /// Decrypts what [`seal`](Self::seal) made.
    ///
    /// # Errors
    /// When no key of ours sealed it under `context`, or it was changed.
    pub(crate) fn open(&self, context: &str, sealed: &str) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let mut parts = sealed.splitn(3, '.');
        let (Some("v1"), Some(id), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(CannotOpen);
        };
        let key = self.keys.iter().find(|key| key.id == id).ok_or(CannotOpen)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CannotOpen)?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_LEN).ok_or(CannotOpen)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CannotOpen)?;
        let mut rest = Zeroizing::new(rest.to_vec());
        let plain_len =
            key.seal.open_in_place(nonce, Aad::from(context.as_bytes()), &mut rest).map_err(|_| CannotOpen)?.len();
        rest.truncate(plain_len);
        Ok(rest)
    }

    /// Whether the current key sealed this; if not, it is worth sealing again.
    pub(crate) fn is_current(&self, sealed: &str) -> bool {
        sealed.split('.').nth(1) == Some(self.current().id.as_str())
    }

    /// The code that makes a refresh token genuine.
    pub(super) fn refresh_code(&self, message: &[u8]) -> hmac::Tag {
        hmac::sign(&self.current().refresh, message)
    }

    /// Whether any of our keys made `code`. Compares in constant time.
    pub(super) fn is_refresh_code(&self, message: &[u8], code: &[u8]) -> bool {
        self.keys.iter().any(|key| hmac::verify(&key.refresh, message, code).is_ok())
    }

    /// What is stored of a client's secret. Generated secrets have 256 bits, so a slow hash would only slow us down; and keyed,
    /// so that a copy of the store does not even allow guessing at those that were not generated.
    pub(crate) fn client_secret_mac(&self, client_id: &str, secret: &str) -> String {
        let tag = hmac::sign(&self.current().client_secret, &client_secret_message(client_id, secret));
        URL_SAFE_NO_PAD.encode(tag.as_ref())
    }

    /// Whether `stored` is the fingerprint of `secret`. Does the same work when there is none, and compares in constant time.
    pub(crate) fn is_client_secret(&self, client_id: &str, secret: &str, stored: Option<&str>) -> bool {
        let expected = stored.and_then(|stored| URL_SAFE_NO_PAD.decode(stored).ok());
        let message = client_secret_message(client_id, secret);
        let (known, code) = expected.map_or((false, vec![0; 32]), |code| (true, code));
        let equal = self
            .keys
            .iter()
            .fold(false, |found, key| hmac::verify(&key.client_secret, &message, &code).is_ok() | found);
        known && equal
    }

    fn current(&self) -> &Derived {
        &self.keys[0]
    }
}

/// Client ids hold no zero byte, so no two pairs share a message.
fn client_secret_message(client_id: &str, secret: &str) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([client_id.as_bytes(), b"\0", secret.as_bytes()].concat())
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("current", &self.current().id).field("former", &(self.keys.len() - 1)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(current: u8, former: &[u8]) -> Keyring {
        let former: Vec<_> = former.iter().map(|byte| Zeroizing::new([*byte; KEY_LEN])).collect();
        Keyring::new(&[current; KEY_LEN], &former).unwrap()
    }

    #[test]
    fn opens_only_what_it_sealed_in_the_same_place() {
        let keys = ring(1, &[]);
        let sealed = keys.seal("key/a", b"private").unwrap();
        assert_eq!(keys.open("key/a", &sealed).unwrap().as_slice(), b"private");
        assert_ne!(sealed, keys.seal("key/a", b"private").unwrap(), "a nonce is used once");
        assert_eq!(keys.open("key/b", &sealed).unwrap_err(), CannotOpen);
        assert_eq!(ring(2, &[]).open("key/a", &sealed).unwrap_err(), CannotOpen);
        let mut changed = sealed.clone();
        let last = changed.pop().unwrap();
        changed.push(if last == 'A' { 'Q' } else { 'A' });
        for bad in [changed.as_str(), "", "v1", "v1.x", "v1.x.y", &sealed[..sealed.len() - 30], "v2.a.b"] {
            assert_eq!(keys.open("key/a", bad).unwrap_err(), CannotOpen, "{bad}");
        }
    }

    #[test]
    fn a_former_key_still_opens_and_checks_but_no_longer_makes() {
        let (old, new) = (ring(1, &[]), ring(2, &[1]));
        let sealed = old.seal("c", b"x").unwrap();
        assert_eq!(new.open("c", &sealed).unwrap().as_slice(), b"x");
        assert!(!new.is_current(&sealed) && new.is_current(&new.seal("c", b"x").unwrap()));
        assert!(new.is_client_secret("shop", "s", Some(&old.client_secret_mac("shop", "s"))));
        assert!(!old.is_client_secret("shop", "s", Some(&new.client_secret_mac("shop", "s"))));
        assert!(new.is_refresh_code(b"m", old.refresh_code(b"m").as_ref()));
    }

    #[test]
    fn a_client_secret_belongs_to_its_client() {
        let keys = ring(1, &[]);
        let mac = keys.client_secret_mac("shop", "secret");
        assert!(keys.is_client_secret("shop", "secret", Some(&mac)));
        for (id, secret) in [("shop", "Secret"), ("shop", ""), ("other", "secret")] {
            assert!(!keys.is_client_secret(id, secret, Some(&mac)));
        }
        assert!(!keys.is_client_secret("shop", "secret", None));
        assert!(!keys.is_client_secret("shop", "secret", Some("")));
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", ring(0x41, &[0x42]));
        assert!(!shown.contains("65, 65") && !shown.contains("AAAA") && shown.contains("former: 1"), "{shown}");
    }
}
