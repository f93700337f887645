//! Mutants that no test can notice, each with the reason. What is missing here and survives fails the command, and so does an entry that
//! no longer survives.
//!
//! Must not know: how mutants are run.

/// A survivor by its name, as cargo-mutants lists it but without the line; where one name survives twice it stands here twice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Accepted {
    pub(crate) mutant: &'static str,
    pub(crate) reason: &'static str,
}

const RESERVED: &str =
    "how much memory is reserved for a hash changes what the process keeps afterwards, not what is computed";

/// By file.
pub(crate) const ACCEPTED: &[Accepted] = &[
    Accepted {
        mutant: "gateway/src/hygiene/chunks.rs: replace | with ^ in ChunkScanner::step",
        reason: "the digit meets four bits that were just shifted in as zeros: or, exclusive or and plus are one",
    },
    Accepted {
        mutant: "gateway/src/hygiene/path.rs: replace | with ^ in decode",
        reason: "the low digit meets four bits that were just shifted in as zeros",
    },
    Accepted { mutant: "identity-service/src/crypto/password.rs: replace * with +", reason: RESERVED },
    Accepted { mutant: "identity-service/src/crypto/password.rs: replace * with /", reason: RESERVED },
    Accepted { mutant: "identity-service/src/crypto/password.rs: replace > with == in compute", reason: RESERVED },
    Accepted { mutant: "identity-service/src/crypto/password.rs: replace > with < in compute", reason: RESERVED },
    Accepted { mutant: "identity-service/src/crypto/password.rs: replace > with >= in compute", reason: RESERVED },
    Accepted {
        mutant: "libs/auth/src/verifier.rs: replace > with >= in Verifier::check_signature",
        reason: "where signatures are remembered for no time, an entry of the memory ends as it begins",
    },
    Accepted {
        mutant: "libs/saga-engine/src/plan.rs: replace match guard back with true in first_spent",
        reason: "a step waits to be undone once more only on the way back: no event leads to another such state",
    },
];

/// Splits survivors into those that are not accepted and those that are; then the entries for which none survived.
pub(crate) fn judge<'a>(
    survivors: &'a [String],
    accepted: &'a [Accepted],
) -> (Vec<&'a str>, Vec<&'a Accepted>, Vec<&'a Accepted>) {
    let mut open: Vec<&Accepted> = accepted.iter().collect();
    let (mut unexpected, mut expected) = (Vec::new(), Vec::new());
    for survivor in survivors {
        match open.iter().position(|entry| entry.mutant == survivor) {
            Some(at) => expected.push(open.remove(at)),
            None => unexpected.push(survivor.as_str()),
        }
    }
    (unexpected, expected, open)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_accepts_one_survivor() {
        let entry = |mutant, reason| Accepted { mutant, reason };
        let list = [entry("a.rs: x", "one"), entry("a.rs: x", "two"), entry("a.rs: gone", "three")];
        let survivors = ["a.rs: x", "a.rs: y", "a.rs: x", "a.rs: x"].map(str::to_owned);
        let (unexpected, expected, stale) = judge(&survivors, &list);
        assert_eq!(unexpected, ["a.rs: y", "a.rs: x"]);
        assert_eq!(expected.iter().map(|entry| entry.reason).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(stale.iter().map(|entry| entry.reason).collect::<Vec<_>>(), ["three"]);
    }

    #[test]
    fn every_entry_is_of_a_part_and_has_a_reason() {
        for entry in ACCEPTED {
            assert!(entry.reason.len() > 10 && entry.mutant.contains(".rs: "), "{entry:?}");
        }
    }
}
