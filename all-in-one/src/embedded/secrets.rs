//! The secrets of one data directory: made at the first start, kept in a file only its owner can read.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// What the services of one data directory know, and nobody else.
#[derive(Deserialize)]
pub struct Secrets {
    /// Of the demo user.
    pub demo_password: SecretString,
    /// With which the order service obtains its tokens.
    pub order_client_secret: SecretString,
    /// With which the operator's client obtains its tokens.
    pub operator_client_secret: SecretString,
    /// Base64 of 32 bytes: encrypts the token service's private keys at rest.
    pub key_encryption_key: SecretString,
}

/// How the file looks; the only place where the secrets are plain text.
#[derive(Serialize)]
struct Plain<'a> {
    demo_password: &'a str,
    order_client_secret: &'a str,
    operator_client_secret: &'a str,
    key_encryption_key: &'a str,
}

/// Whether the secrets were made now: then the demo password is told once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// Read from the file of an earlier start.
    Stored,
    /// Made by this start.
    Made,
}

impl Secrets {
    /// Reads the secrets from `path`, or makes and stores them there with mode 0600.
    ///
    /// # Errors
    /// When the file cannot be read, written, or is not what this program writes.
    pub fn load_or_make(path: &Path, demo_password: Option<SecretString>) -> anyhow::Result<(Self, Origin)> {
        match fs::read_to_string(path) {
            Ok(text) => {
                // The parser's message would quote the file, so it is not passed on.
                let mut secrets: Self = toml::from_str(&text)
                    .map_err(|_| anyhow::anyhow!("{} is damaged; restore it from a backup", path.display()))?;
                if let Some(given) = demo_password {
                    secrets.demo_password = given;
                }
                Ok((secrets, Origin::Stored))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let secrets = Self::make(demo_password);
                secrets.store(path)?;
                Ok((secrets, Origin::Made))
            }
            Err(error) => Err(anyhow::Error::new(error).context(format!("cannot read {}", path.display()))),
        }
    }

    fn make(demo_password: Option<SecretString>) -> Self {
        Self {
            demo_password: demo_password.unwrap_or_else(|| random_word(20)),
            order_client_secret: random_word(43),
            operator_client_secret: random_word(43),
            key_encryption_key: random_key(),
        }
    }

    fn store(&self, path: &Path) -> anyhow::Result<()> {
        let plain = Plain {
            demo_password: self.demo_password.expose_secret(),
            order_client_secret: self.order_client_secret.expose_secret(),
            operator_client_secret: self.operator_client_secret.expose_secret(),
            key_encryption_key: self.key_encryption_key.expose_secret(),
        };
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        file.write_all(toml::to_string(&plain)?.as_bytes())?;
        // The private keys in the identity store are useless without this file.
        file.sync_all()?;
        Ok(())
    }
}

/// Letters and digits that people do not mix up; 5.8 bits each.
fn random_word(length: usize) -> SecretString {
    const ALPHABET: &[u8] = b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";
    let mut random = rand::rng();
    (0..length).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect::<String>().into()
}

fn random_key() -> SecretString {
    use base64::Engine;
    let bytes: [u8; 32] = rand::rng().random();
    base64::engine::general_purpose::STANDARD.encode(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_made_once_and_only_the_owner_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.toml");
        let (made, origin) = Secrets::load_or_make(&path, None).unwrap();
        assert_eq!(origin, Origin::Made);
        let (read, origin) = Secrets::load_or_make(&path, None).unwrap();
        assert_eq!(origin, Origin::Stored);
        assert_eq!(made.demo_password.expose_secret(), read.demo_password.expose_secret());
        assert_eq!(made.key_encryption_key.expose_secret(), read.key_encryption_key.expose_secret());
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap()) & 0o777, 0o600);
    }

    #[test]
    fn a_given_password_wins_over_the_stored_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.toml");
        Secrets::load_or_make(&path, None).unwrap();
        let (secrets, _) = Secrets::load_or_make(&path, Some("given".to_owned().into())).unwrap();
        assert_eq!(secrets.demo_password.expose_secret(), "given");
    }

    #[test]
    fn a_damaged_file_is_named_but_not_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.toml");
        fs::write(&path, "demo_password = hunter2").unwrap();
        let error = format!("{:?}", Secrets::load_or_make(&path, None).err().unwrap());
        assert!(error.contains("secrets.toml") && !error.contains("hunter2"), "{error}");
    }
}
