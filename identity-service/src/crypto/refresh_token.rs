//! The text of a refresh token: family, generation, and a code only this service can make.
//!
//! Because the code is computed, nothing of a token is stored: a family is one row however often it rotates, old generations
//! are recognised for as long as the row is there, and the newest token can be made again when an answer was lost.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use secrecy::SecretString;
use uuid::Uuid;

use super::keyring::Keyring;

/// Makes tokens recognisable to people and to scanners for leaked secrets.
const PREFIX: &str = "amr_";
const SIGNED_LEN: usize = 16 + 4;
const CODE_LEN: usize = 32;

/// A genuine refresh token's content. Whether it is still good, the store knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Presented {
    /// The family.
    pub family_id: Uuid,
    /// Which rotation.
    pub generation: u32,
}

/// Whether the text looks like one of ours, to tell it from an access token without trying.
pub(crate) fn looks_like_one(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// Writes the token for a generation of a family.
pub(crate) fn write(keys: &Keyring, family_id: Uuid, generation: u32) -> SecretString {
    let mut bytes = signed_part(family_id, generation).to_vec();
    let code = keys.refresh_code(&bytes);
    bytes.extend_from_slice(code.as_ref());
    SecretString::from(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)))
}

/// Reads a token; `None` when it is not genuine.
pub(crate) fn read(keys: &Keyring, text: &str) -> Option<Presented> {
    let encoded = text.strip_prefix(PREFIX)?;
    if encoded.len() != (SIGNED_LEN + CODE_LEN).div_ceil(3) * 4 - 2 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let (signed, code) = bytes.split_at_checked(SIGNED_LEN)?;
    if !keys.is_refresh_code(signed, code) {
        return None;
    }
    let (family, generation) = signed.split_at_checked(16)?;
    Some(Presented {
        family_id: Uuid::from_slice(family).ok()?,
        generation: u32::from_be_bytes(generation.try_into().ok()?),
    })
}

fn signed_part(family_id: Uuid, generation: u32) -> [u8; SIGNED_LEN] {
    let mut part = [0; SIGNED_LEN];
    part[..16].copy_from_slice(family_id.as_bytes());
    part[16..].copy_from_slice(&generation.to_be_bytes());
    part
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn there_and_back_and_nothing_else() {
        let keys = Keyring::new(&[1; 32], &[]).unwrap();
        let family_id = Uuid::from_u128(7);
        let token = write(&keys, family_id, 3);
        let text = token.expose_secret();
        assert_eq!(read(&keys, text), Some(Presented { family_id, generation: 3 }));
        assert_eq!(text, write(&keys, family_id, 3).expose_secret(), "a lost one can be made again");
        for index in 0..text.len() {
            let mut changed = text.to_owned().into_bytes();
            changed[index] = if changed[index] == b'x' { b'y' } else { b'x' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(read(&keys, &changed), None, "{changed}");
        }
        for bad in ["", "amr_", &text[..text.len() - 1], &format!("{text}A"), "eyJhbGciOi"] {
            assert_eq!(read(&keys, bad), None, "{bad}");
        }
        assert_eq!(read(&Keyring::new(&[2; 32], &[]).unwrap(), text), None);
        assert!(!format!("{token:?}").contains("amr_"));
    }
}
