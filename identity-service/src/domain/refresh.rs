//! Refresh tokens: one *family* a login, one *generation* a rotation. Only the newest generation is good.
//!
//! An older one means that two parties hold tokens of this family, one of them a thief, so the family is revoked. With one
//! exception: a client whose answer was lost asks again with the generation just before the newest. Within a short grace it is
//! given the newest once more. It is the *same* newest token, so the family does not branch: if it was a thief who asked, the
//! two now hold one token, and the next rotation but one gives them away. The access token is the same too (its name, its times):
//! however often an answer is asked for again, a generation has one access token that lives.

use std::time::Duration;

use amends_primitives::Timestamp;

use super::scope::ScopeSet;

/// Lifetimes of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshPolicy {
    /// A family that was not refreshed for this long is over.
    pub idle_max: Duration,
    /// A family this old is over, however busy.
    pub age_max: Duration,
    /// How long the generation before the newest is answered again. Zero: never.
    pub grace: Duration,
}

impl RefreshPolicy {
    /// When a family begun at `created_at` and rotated at `rotated_at` is over.
    pub fn expires_at(&self, created_at: Timestamp, rotated_at: Timestamp) -> Timestamp {
        (rotated_at + self.idle_max).min(created_at + self.age_max)
    }
}

/// An access token as far as it has to be issued again, should the answer with it get lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IssuedAccess {
    /// `jti`.
    pub jti: String,
    /// `iat`, in seconds since 1970.
    pub iat: i64,
    /// `exp`, in seconds since 1970.
    pub exp: i64,
    /// What it permits.
    pub scopes: ScopeSet,
}

/// What is stored of a family.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "as its table calls it")]
pub(crate) struct Family {
    /// A UUID; no secret without its code, see `crypto::refresh_token`.
    pub family_id: uuid::Uuid,
    /// The user.
    pub username: String,
    /// The client it was issued to; no other may use it.
    pub client_id: String,
    /// What was granted; a refresh may ask for less, never for more.
    pub scopes: ScopeSet,
    /// The newest, from 1.
    pub generation: u32,
    /// When the newest was made.
    pub rotated_at: Timestamp,
    /// When the user logged in.
    pub created_at: Timestamp,
    /// When it is over.
    pub expires_at: Timestamp,
    /// Logged out, or found out.
    pub revoked: bool,
    /// `password_changed_at` of the user when it began: the password it was begun with. None where a release began it that did not keep it.
    pub password_of: Option<Timestamp>,
    /// Issued with the newest generation; none where a release made that which did not keep it.
    pub access: Option<IssuedAccess>,
}

impl Family {
    /// What tokens call their session. No secret: a refresh token is more than this.
    pub(crate) fn sid(&self) -> String {
        self.family_id.to_string()
    }

    /// Whether it was begun with the password that the user has now. By which it was, not by when: a clock that was set back calls every
    /// session older than the password.
    pub(crate) fn is_of_password(&self, changed_at: Timestamp) -> bool {
        self.password_of.map_or(self.created_at >= changed_at, |began_with| began_with == changed_at)
    }

    /// The access token of the newest generation, while it is good for anything.
    pub(crate) fn living_access(&self, now: Timestamp) -> Option<&IssuedAccess> {
        self.access.as_ref().filter(|access| now.as_secs() < access.exp)
    }
}

/// What to do with a presented generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The newest: make the next one.
    Rotate {
        /// The generation to store.
        generation: u32,
        /// The new end of the family.
        expires_at: Timestamp,
    },
    /// The one before, within the grace: hand the newest out again.
    Repeat,
    /// An older one: revoke the family.
    Reused,
    /// Not good any more, or never was.
    Refused(Refusal),
}

/// Why a refresh token is no good. All of these are `invalid_grant` to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Issued to another client.
    OtherClient,
    /// Logged out or found out earlier.
    Revoked,
    /// Over.
    Expired,
    /// A generation that does not exist yet: the store was rolled back.
    FromTheFuture,
}

/// Decides about `generation`, presented by `client_id`.
pub(crate) fn decide(
    family: &Family,
    generation: u32,
    client_id: &str,
    policy: &RefreshPolicy,
    now: Timestamp,
) -> Decision {
    if family.client_id != client_id {
        return Decision::Refused(Refusal::OtherClient);
    }
    if family.revoked {
        return Decision::Refused(Refusal::Revoked);
    }
    if family.expires_at <= now {
        return Decision::Refused(Refusal::Expired);
    }
    match (family.generation.checked_sub(generation), family.generation.checked_add(1)) {
        (Some(0), Some(next)) => {
            Decision::Rotate { generation: next, expires_at: policy.expires_at(family.created_at, now) }
        }
        (Some(0), None) => Decision::Refused(Refusal::Expired),
        (Some(1), _) if is_within_grace(family.rotated_at, policy.grace, now) => Decision::Repeat,
        (Some(_), _) => Decision::Reused,
        (None, _) => Decision::Refused(Refusal::FromTheFuture),
    }
}

/// A clock that was set back by more than the grace ends it: it cannot tell how much of it is left, and a grace that went on until
/// the clock comes by again would keep the alarm off for as long.
fn is_within_grace(rotated_at: Timestamp, grace: Duration, now: Timestamp) -> bool {
    now.since(rotated_at) < grace && (rotated_at <= now || rotated_at.since(now) < grace)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RefreshPolicy = RefreshPolicy {
        idle_max: Duration::from_secs(100),
        age_max: Duration::from_secs(250),
        grace: Duration::from_secs(10),
    };

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_millis(secs * 1000)
    }

    fn family() -> Family {
        Family {
            family_id: uuid::Uuid::nil(),
            username: "ann".into(),
            client_id: "web".into(),
            scopes: ScopeSet::default(),
            generation: 3,
            rotated_at: at(100),
            created_at: at(0),
            expires_at: at(200),
            revoked: false,
            password_of: None,
            access: None,
        }
    }

    #[test]
    fn every_generation_at_every_time() {
        let check = |generation, secs| decide(&family(), generation, "web", &POLICY, at(secs));
        assert_eq!(check(3, 150), Decision::Rotate { generation: 4, expires_at: at(250) });
        assert_eq!(check(3, 120), Decision::Rotate { generation: 4, expires_at: at(220) });
        assert_eq!(check(2, 109), Decision::Repeat);
        assert_eq!(check(2, 110), Decision::Reused);
        assert_eq!(check(1, 101), Decision::Reused);
        assert_eq!(check(0, 101), Decision::Reused);
        assert_eq!(check(4, 101), Decision::Refused(Refusal::FromTheFuture));
        assert_eq!(check(3, 200), Decision::Refused(Refusal::Expired));
        assert_eq!(check(1, 200), Decision::Refused(Refusal::Expired));
    }

    #[test]
    fn a_clock_set_back_does_not_prolong_the_grace() {
        let check = |secs| decide(&family(), 2, "web", &POLICY, at(secs));
        assert_eq!(check(91), Decision::Repeat, "replicas' clocks may differ a little");
        assert_eq!(check(90), Decision::Reused);
        assert_eq!(check(-3500), Decision::Reused);
        let strict = RefreshPolicy { grace: Duration::ZERO, ..POLICY };
        assert_eq!(decide(&family(), 2, "web", &strict, at(91)), Decision::Reused);
        assert!(
            matches!(decide(&family(), 3, "web", &POLICY, at(-3500)), Decision::Rotate { .. }),
            "the newest is good"
        );
    }

    #[test]
    fn a_session_is_of_the_password_it_began_with() {
        let began_with = |password_of| Family { password_of, ..family() };
        assert!(began_with(Some(at(50))).is_of_password(at(50)), "whatever the clock said in between");
        assert!(!began_with(Some(at(50))).is_of_password(at(-20)));
        assert!(began_with(None).is_of_password(at(0)) && !began_with(None).is_of_password(at(1)));
    }

    #[test]
    fn an_access_token_is_issued_again_only_while_it_lives() {
        let access = IssuedAccess { jti: "1".into(), iat: 100, exp: 160, scopes: ScopeSet::default() };
        let family = Family { access: Some(access.clone()), ..family() };
        assert_eq!(family.living_access(at(159)), Some(&access));
        assert_eq!(family.living_access(at(160)), None);
    }

    #[test]
    fn another_client_learns_and_harms_nothing() {
        assert_eq!(decide(&family(), 1, "other", &POLICY, at(101)), Decision::Refused(Refusal::OtherClient));
        let revoked = Family { revoked: true, ..family() };
        assert_eq!(decide(&revoked, 3, "web", &POLICY, at(101)), Decision::Refused(Refusal::Revoked));
    }

    #[test]
    fn a_family_ends_by_idleness_or_by_age() {
        assert_eq!(POLICY.expires_at(at(0), at(100)), at(200));
        assert_eq!(POLICY.expires_at(at(0), at(150)), at(250));
        assert_eq!(POLICY.expires_at(at(0), at(200)), at(250));
        let last = Family { generation: u32::MAX, ..family() };
        assert_eq!(decide(&last, u32::MAX, "web", &POLICY, at(101)), Decision::Refused(Refusal::Expired));
        assert_eq!(family().sid(), "00000000-0000-0000-0000-000000000000");
    }

    #[test]
    fn no_grace_means_none() {
        let strict = RefreshPolicy { grace: Duration::ZERO, ..POLICY };
        assert_eq!(decide(&family(), 2, "web", &strict, at(100)), Decision::Reused);
    }
}
