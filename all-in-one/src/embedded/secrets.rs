//! The secrets of one data directory: made at the first start, kept in a file only its owner can read.

use std::{fs, io, path::Path};

use anyhow::Context as _;
use rand::Rng;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use service_base::files::{self, Access};

use crate::data_dir;

/// What only the services of one data directory know.
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
    /// Reads the secrets from `path`, or makes and stores them there with mode 0600. Only for the holder of the directory's lock, which
    /// a test that is alone on its directory does without.
    ///
    /// An empty file is as good as none: older versions left one when the disk was full. It is made anew, unless the token service's
    /// store is beside it, whose private keys cannot be read without the key that was lost.
    ///
    /// # Errors
    /// When the file cannot be read or written, is not what this program writes, or is missing beside a store that needs it.
    pub fn load_or_make(path: &Path, demo_password: Option<SecretString>) -> anyhow::Result<(Self, Origin)> {
        if let Some(mut secrets) = Self::read(path)? {
            if let Some(given) = demo_password {
                secrets.demo_password = given;
            }
            return Ok((secrets, Origin::Stored));
        }
        refuse_if_needed(path)?;
        let secrets = Self::make(demo_password);
        secrets.store(path)?;
        Ok((secrets, Origin::Made))
    }

    /// Reads the secrets from `path`; `None` when there are none yet.
    ///
    /// # Errors
    /// When the file cannot be read, or is not what this program writes.
    pub fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        match fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => Ok(None),
            // The parser's message would quote the file, so it is not passed on.
            Ok(text) => toml::from_str(&text).map(Some).map_err(|_| {
                anyhow::anyhow!(
                    "{} is damaged: restore it from a backup (`amends restore`), or, where no store was made yet, remove it",
                    path.display()
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Some that are kept nowhere.
    pub(super) fn passing() -> Self {
        Self::make(None)
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
        // The private keys in the identity store are useless without this file.
        files::write_whole(path, toml::to_string(&plain)?.as_bytes(), Access::Owner)
    }
}

fn refuse_if_needed(path: &Path) -> anyhow::Result<()> {
    let store = path.with_file_name(data_dir::IDENTITY_FILE);
    let has_content = fs::metadata(&store).is_ok_and(|metadata| metadata.len() > 0);
    anyhow::ensure!(
        !has_content,
        "{secrets} is missing or empty, and the signing keys in {store} cannot be read without the key that was in it: bring it back from \
         a backup (`amends restore`). Without one, move {store} away together with its -wal and -shm, and start again: users and clients \
         are made anew from the configuration, everybody has to log in again, and orders and payments stay as they are",
        secrets = path.display(),
        store = store.display(),
    );
    Ok(())
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
    fn an_empty_file_without_a_store_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets.toml");
        fs::write(&path, "").unwrap();
        assert_eq!(Secrets::load_or_make(&path, None).unwrap().1, Origin::Made);
        assert_eq!(Secrets::load_or_make(&path, None).unwrap().1, Origin::Stored);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a draft was left");
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap()) & 0o777, 0o600);
    }

    #[test]
    fn lost_secrets_beside_a_store_are_not_made_anew() {
        for left in [None, Some("")] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("secrets.toml");
            fs::write(dir.path().join(data_dir::IDENTITY_FILE), "keys").unwrap();
            if let Some(text) = left {
                fs::write(&path, text).unwrap();
            }
            let error = Secrets::load_or_make(&path, None).err().unwrap().to_string();
            assert!(error.contains("missing or empty") && error.contains("amends restore"), "{error}");
            assert_eq!(fs::read(&path).ok().as_deref(), left.map(str::as_bytes));
        }
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
