//! File descriptors: how many this process may have, and who gets how many of them.
//!
//! Every connection and every open file is one. A process that has run out of them accepts no connection, reads no row and cannot
//! even tell its operators. So they are given out before anything is opened: what stores and clients need is reserved, and the
//! listeners for callers share what is left. The operators' listener has its own, whatever callers do.

use std::sync::Arc;

use parking_lot::Mutex;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process has open besides listeners, stores and clients: standard streams, the runtime's wakers, signals, the log and its shipper,
/// the collector's connection, and files that are read in passing (configuration, certificates, `/proc`).
const BASE: usize = 48;
/// Operators' connections at once: a few probes and scrapers. What is beyond is turned away.
pub const OPERATORS_MAX: usize = 32;
/// A listener that could have fewer for each part of its share would be ready and serve no caller.
const PART_MIN: usize = 4;
/// More than all limits of all our listeners and stores together. A limit of a billion, which some container runtimes set, would only make
/// everything slow that goes through all possible descriptors.
const WANTED: u64 = 65_536;
/// What is told to be typed: enough for every one of our programs with its defaults.
const ENOUGH: usize = 4_096;

/// Raises the soft limit of this process towards its hard one, as far as there is use for it. To be called first in every `main`: the soft
/// limit is for programs that cannot do with high descriptors, and ours can.
pub fn raise_limit() {
    let now = getrlimit(Resource::Nofile);
    let wanted = now.maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
    if now.current.is_none_or(|current| current >= wanted) {
        return;
    }
    // Refused by systems with a limit of their own below the hard one: then the soft one stays, and what follows from it.
    let _refused = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: now.maximum });
}

/// The limit of this process, as it is now.
pub fn limit() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
}

/// What a service has open for its calls to others that are not its participants: keys, revocations, its own token.
pub const OTHERS: usize = 8;

/// Too few for what is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what}: this process may have {limit} files and connections open, and needs at least {needed}. Raise its limit: `ulimit -n {ENOUGH}` in \
     the shell that starts it, LimitNOFILE={ENOUGH} in its systemd unit, or `--ulimit nofile={ENOUGH}` for its container"
)]
pub struct TooFew {
    what: &'static str,
    limit: usize,
    needed: usize,
}

#[derive(Debug, Default)]
struct Given {
    reserved: usize,
    parts: usize,
}

#[derive(Debug)]
struct Inner {
    limit: usize,
    given: Mutex<Given>,
}

/// The descriptors of one process. Clones share the account.
#[derive(Debug, Clone)]
pub struct Descriptors(Arc<Inner>);

impl Descriptors {
    /// Of this process, by the limit it has now.
    pub fn of_process() -> Self {
        Self::limited_to(limit())
    }

    /// As many as `limit`.
    pub fn limited_to(limit: usize) -> Self {
        let given = Mutex::new(Given { reserved: BASE + OPERATORS_MAX, parts: 0 });
        Self(Arc::new(Inner { limit, given }))
    }

    /// Sets `count` aside for `what`: a configuration key, or a word for it. Before it is opened.
    ///
    /// # Errors
    /// When there are too few for all that was asked for so far.
    pub fn reserve(&self, what: &'static str, count: usize) -> Result<(), TooFew> {
        self.give(what, |given| given.reserved = given.reserved.saturating_add(count))
    }

    /// Some parts of what will be left when everything is reserved, for a listener's connections or what follows from them.
    ///
    /// # Errors
    /// When too few would be left.
    pub fn share(&self, what: &'static str, parts: usize) -> Result<Share, TooFew> {
        self.give(what, |given| given.parts += parts)?;
        Ok(Share { descriptors: self.clone(), parts })
    }

    fn give(&self, what: &'static str, give: impl FnOnce(&mut Given)) -> Result<(), TooFew> {
        let mut given = self.0.given.lock();
        give(&mut given);
        let needed = given.reserved.saturating_add(given.parts * PART_MIN);
        if needed > self.0.limit { Err(TooFew { what, limit: self.0.limit, needed }) } else { Ok(()) }
    }
}

/// A listener's share.
#[derive(Debug, Clone)]
pub struct Share {
    descriptors: Descriptors,
    parts: usize,
}

impl Share {
    /// How many that is: ask when all of the process is built, since until then others may reserve.
    pub fn size(&self) -> usize {
        let Inner { limit, given } = &*self.descriptors.0;
        let given = given.lock();
        let left = limit.saturating_sub(given.reserved);
        // In this order for exactness; in the other where the limit is none at all.
        let size = left.checked_mul(self.parts).map_or(left / given.parts.max(1), |all| all / given.parts.max(1));
        size.max(1)
    }

    /// This number of connections for a listener, unless it wants fewer.
    pub fn at_most(&self, wanted: usize) -> usize {
        wanted.min(self.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_share_what_stores_leave() {
        let descriptors = Descriptors::limited_to(1_000);
        let public = descriptors.share("gateway", 3).unwrap();
        let private = descriptors.share("orders", 1).unwrap();
        descriptors.reserve("database", 120).unwrap();
        assert_eq!((public.size(), private.size()), (600, 200));
        assert_eq!((public.at_most(8192), public.at_most(64)), (600, 64));
    }

    #[test]
    fn too_few_are_told_with_what_is_needed_and_what_to_type() {
        for limit in [0, 24, 40, 64, 128] {
            let descriptors = Descriptors::limited_to(limit);
            let all = || {
                descriptors.reserve("order.database", 60)?;
                descriptors.share("order.http", 2)
            };
            let error = all().unwrap_err().to_string();
            assert!(error.contains(&format!("may have {limit} files")), "{error}");
            assert!(error.starts_with("order.") && error.contains("`ulimit -n 4096`"), "{error}");
        }
        Descriptors::limited_to(256).reserve("order.database", 60).unwrap();
    }

    #[test]
    fn no_limit_at_all_is_no_overflow() {
        let descriptors = Descriptors::limited_to(usize::MAX);
        let share = descriptors.share("gateway", 3).unwrap();
        descriptors.share("others", 2).unwrap();
        assert_eq!(share.at_most(8192), 8192);
    }

    #[test]
    fn the_soft_limit_is_raised_as_far_as_there_is_use_for_it() {
        let hard = getrlimit(Resource::Nofile).maximum;
        raise_limit();
        let expected = hard.map_or(WANTED, |hard| hard.min(WANTED));
        assert!(limit() as u64 >= expected, "{} of {hard:?}", limit());
    }
}
