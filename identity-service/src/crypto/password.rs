//! Passwords: Argon2id on the blocking pool, few at a time.
//!
//! One hash takes some 20 ms and 19 MiB, so what arrives faster than it can be hashed waits for its turn, by the network it comes
//! from, or is told to come back. The work is the same whether the user exists or not and whatever the password is, the empty one included; else the time
//! an answer takes would tell which users exist.

use std::sync::Arc;

use argon2::{
    ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version,
    password_hash::phc::{Output, ParamsString, PasswordHash, Salt},
};
use secrecy::{ExposeSecret as _, SecretString};

use super::turns::{Turn, TurnLimits, Turns};
use crate::domain::network::Network;

/// The allocator maps what is larger than its dynamic threshold, 32 MiB at the most, and gives it back when it is freed; what is
/// smaller may stay with the thread that freed it, 19 MiB for each of the runtime's many blocking threads. So ask for more than
/// needed: what is never touched costs nothing.
const MAPPED_BLOCKS_MIN: usize = 33 * 1024;

/// A hash this small needs no such care: tests.
const SMALL_BLOCKS_MAX: usize = 64;

/// Bytes of salt and of output: what RFC 9106 recommends.
const SALT_LEN: usize = 16;
const OUTPUT_LEN: usize = 32;

/// Cost of one hash. The defaults are what OWASP recommends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashCost {
    /// Memory, in KiB.
    pub memory_kib: u32,
    /// Passes over it.
    pub passes: u32,
    /// Lanes.
    pub lanes: u32,
}

/// Why a password could be neither confirmed nor refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PasswordError {
    /// More log-ins than this process can hash.
    #[error("too many passwords are being checked")]
    Overloaded,
    /// The stored hash cannot be read, or the library failed.
    #[error("the password could not be checked")]
    Failed,
}

/// Hashes and checks passwords.
#[derive(Debug, Clone)]
pub(crate) struct Passwords {
    params: Params,
    /// Checked for users that do not exist. Its password is random and forgotten.
    dummy: Arc<str>,
    /// Each needs a core and the memory of [`HashCost`].
    turns: Turns,
    /// How many were compared with what was computed of them.
    #[cfg(test)]
    compared: Arc<std::sync::atomic::AtomicUsize>,
}

/// The answer about a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Checked {
    /// It is not the user's, or there is no such user.
    Wrong,
    /// It is. When the stored hash was made at another cost, there is a new one to store.
    Right {
        /// A PHC string at today's cost.
        rehashed: Option<String>,
    },
}

impl Passwords {
    /// Prepares the pool, and hashes one password to have something to compare with for users that do not exist.
    ///
    /// # Errors
    /// When Argon2 does not accept the cost.
    pub(crate) fn new(cost: HashCost, limits: TurnLimits) -> Result<Self, argon2::Error> {
        let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, None)?;
        let mut random = [0_u8; 32];
        aws_lc_rs::rand::fill(&mut random).map_err(|_| argon2::Error::OutOfMemory)?;
        let dummy = hash_now(&params, &random).ok_or(argon2::Error::OutOfMemory)?;
        Ok(Self {
            params,
            dummy: dummy.into(),
            turns: Turns::new(limits),
            #[cfg(test)]
            compared: Arc::default(),
        })
    }

    /// Waits for a turn, in the queue of the network that asks.
    ///
    /// # Errors
    /// [`PasswordError::Overloaded`] when that queue has its share of what may wait, or does not move.
    pub(crate) async fn turn(&self, network: Network) -> Result<Turn, PasswordError> {
        self.turns.take(network).await.map_err(|_| PasswordError::Overloaded)
    }

    /// How many wait for a turn.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.turns.waiting()
    }

    /// How many passwords were hashed to be compared.
    #[cfg(test)]
    pub(crate) fn compared(&self) -> usize {
        self.compared.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Checks `password` against `stored`, or against nothing at the same cost. The turn comes back, so that what follows from
    /// the answer (a failure to be counted) happens before the next one's turn.
    ///
    /// # Errors
    /// [`PasswordError::Failed`] when the stored hash is damaged.
    pub(crate) async fn check(
        &self,
        turn: Turn,
        password: SecretString,
        stored: Option<&str>,
    ) -> Result<(Checked, Turn), PasswordError> {
        let exists = stored.is_some();
        let stored = stored.unwrap_or(&self.dummy).to_owned();
        let today = self.params.clone();
        #[cfg(test)]
        let compared = Arc::clone(&self.compared);
        run(turn, move || {
            let password = password.expose_secret().as_bytes();
            let (right, params) = is_password(password, &stored).ok_or(PasswordError::Failed)?;
            #[cfg(test)]
            compared.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if !(right && exists) {
                return Ok(Checked::Wrong);
            }
            let cost = |params: &Params| (params.m_cost(), params.t_cost(), params.p_cost());
            let rehashed = if cost(&params) == cost(&today) { None } else { hash_now(&today, password) };
            Ok(Checked::Right { rehashed })
        })
        .await
    }

    /// Hashes a new password to a PHC string.
    ///
    /// # Errors
    /// [`PasswordError::Failed`] when the library does.
    pub(crate) async fn hash(&self, turn: Turn, password: SecretString) -> Result<String, PasswordError> {
        let params = self.params.clone();
        let hash = move || hash_now(&params, password.expose_secret().as_bytes()).ok_or(PasswordError::Failed);
        Ok(run(turn, hash).await?.0)
    }
}

/// Hashes to a PHC string, with a salt of its own.
fn hash_now(params: &Params, password: &[u8]) -> Option<String> {
    let mut salt = [0_u8; SALT_LEN];
    aws_lc_rs::rand::fill(&mut salt).ok()?;
    let mut output = [0_u8; OUTPUT_LEN];
    compute(params, Version::V0x13, password, &salt, &mut output)?;
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params).ok()?,
        salt: Some(Salt::new(&salt).ok()?),
        hash: Some(Output::new(&output).ok()?),
    };
    Some(hash.to_string())
}

/// Whether `stored` is a hash of the password, and at what cost; `None` when it is damaged.
fn is_password(password: &[u8], stored: &str) -> Option<(bool, Params)> {
    let hash = PasswordHash::new(stored).ok().filter(|hash| hash.algorithm == ARGON2ID_IDENT)?;
    let params = Params::try_from(&hash).ok()?;
    let version = Version::try_from(hash.version?).ok()?;
    let (salt, expected) = (hash.salt?, hash.hash?);
    let mut output = vec![0_u8; expected.len()];
    compute(&params, version, password, salt.as_ref(), &mut output)?;
    // `Output` compares in constant time.
    Some((Output::new(&output).ok()? == expected, params))
}

fn compute(params: &Params, version: Version, password: &[u8], salt: &[u8], output: &mut [u8]) -> Option<()> {
    let blocks = params.block_count();
    let mut memory = Vec::new();
    memory.try_reserve_exact(if blocks > SMALL_BLOCKS_MAX { blocks.max(MAPPED_BLOCKS_MIN) } else { blocks }).ok()?;
    memory.resize(blocks, Block::new());
    let argon2 = Argon2::new(Algorithm::Argon2id, version, params.clone());
    argon2.hash_password_into_with_memory(password, salt, output, &mut memory).ok()
}

/// Runs on a blocking thread, which holds the turn: when the caller goes away the hash goes on, and still counts.
async fn run<T: Send + 'static>(
    turn: Turn,
    work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
) -> Result<(T, Turn), PasswordError> {
    tokio::task::spawn_blocking(move || work().map(|done| (done, turn))).await.map_err(|_| PasswordError::Failed)?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIGHT: HashCost = HashCost { memory_kib: 8, passes: 1, lanes: 1 };

    fn limits(concurrent_max: usize, waiting_max: usize) -> TurnLimits {
        TurnLimits { concurrent_max, waiting_max, patience: Duration::from_millis(20) }
    }

    async fn check(passwords: &Passwords, password: &str, stored: Option<&str>) -> Checked {
        passwords.check(passwords.turn(Network::Own).await.unwrap(), password.into(), stored).await.unwrap().0
    }

    #[tokio::test]
    async fn right_wrong_and_unknown_credentials() {
        let passwords = Passwords::new(LIGHT, limits(1, 1)).unwrap();
        let hash = passwords.hash(passwords.turn(Network::Own).await.unwrap(), "hunter2".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{hash}");
        assert_eq!(check(&passwords, "hunter2", Some(&hash)).await, Checked::Right { rehashed: None });
        for wrong in ["hunter3", "", "HUNTER2", "hunter2\0"] {
            assert_eq!(check(&passwords, wrong, Some(&hash)).await, Checked::Wrong);
            assert_eq!(check(&passwords, wrong, None).await, Checked::Wrong);
        }
    }

    #[tokio::test]
    async fn an_unknown_user_takes_a_hash_at_the_same_cost() {
        let mut passwords = Passwords::new(LIGHT, limits(1, 1)).unwrap();
        assert!(passwords.dummy.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", passwords.dummy);
        // That it is computed shows where it cannot be.
        passwords.dummy = "damaged".into();
        let turn = passwords.turn(Network::Own).await.unwrap();
        assert!(matches!(passwords.check(turn, "p".into(), None).await, Err(PasswordError::Failed)));
    }

    #[tokio::test]
    async fn a_hash_at_another_cost_is_checked_at_that_cost_and_made_anew() {
        let old = Passwords::new(LIGHT, limits(1, 1)).unwrap();
        let hash = old.hash(old.turn(Network::Own).await.unwrap(), "p".into()).await.unwrap();
        let today = Passwords::new(HashCost { memory_kib: 16, ..LIGHT }, limits(1, 1)).unwrap();
        let Checked::Right { rehashed: Some(new) } = check(&today, "p", Some(&hash)).await else {
            panic!("not rehashed")
        };
        assert!(new.contains("m=16,"), "{new}");
        assert_eq!(check(&today, "p", Some(&new)).await, Checked::Right { rehashed: None });
        assert_eq!(check(&today, "q", Some(&hash)).await, Checked::Wrong);
    }

    #[tokio::test]
    async fn a_damaged_hash_is_an_error_and_not_a_wrong_password() {
        let passwords = Passwords::new(LIGHT, limits(1, 1)).unwrap();
        let turn = passwords.turn(Network::Own).await.unwrap();
        assert!(matches!(passwords.check(turn, "p".into(), Some("damaged")).await, Err(PasswordError::Failed)));
    }
}
