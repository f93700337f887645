//! A finite thing, shared fairly between its callers.
//!
//! A caller holds at most its own limit. Once more than half is taken, a caller also holds no more than what is left, so that each
//! gets less the more callers there are, and a newcomer still finds room. Callers who hold nothing are forgotten, so the memory
//! is bounded by what there is to share. Must not know: HTTP, tokens, what is shared.

use std::{
    collections::HashMap,
    hash::BuildHasher,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;

use crate::client::network;

/// More locks than there are cores, so that they seldom meet.
const SHARDS: usize = 16;

/// Who holds a share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Owner {
    /// An unknown caller from this network: one IPv4 address, or an IPv6 /64.
    Address(IpAddr),
    /// A token's subject.
    Subject(Arc<str>),
}

impl Owner {
    /// The owner of what is asked for from there without a token.
    pub(crate) fn from(address: IpAddr) -> Self {
        Self::Address(network(address))
    }

    /// The owner of what is asked for with a token of that subject.
    pub(crate) fn of(subject: &str) -> Self {
        Self::Subject(subject.into())
    }
}

/// How much there is, and how much of it one caller may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// For all callers together.
    pub(crate) total: usize,
    /// For one address, of callers without a token.
    pub(crate) per_address: usize,
    /// For one subject, of callers with one.
    pub(crate) per_subject: usize,
}

/// Why there is no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// This caller holds as much as one caller may.
    ShareTaken,
    /// There is not enough left, for this caller or for any.
    Full,
}

/// What is shared. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Shares(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    limits: Limits,
    taken: AtomicUsize,
    /// The same, for others to see.
    shown: Gauge,
    shards: Vec<Mutex<HashMap<Owner, usize>>>,
    hasher: std::hash::RandomState,
}

/// A part that one caller holds until this is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    pool: Arc<Pool>,
    owner: Owner,
    amount: usize,
}

impl Shares {
    /// `shown` follows what is taken.
    pub(crate) fn new(limits: Limits, shown: Gauge) -> Self {
        Self(Arc::new(Pool {
            limits,
            taken: AtomicUsize::new(0),
            shown,
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: std::hash::RandomState::new(),
        }))
    }

    /// Takes `amount` for a caller.
    ///
    /// # Errors
    /// When the caller holds its share, or too little is left.
    pub(crate) fn take(&self, owner: &Owner, amount: usize) -> Result<Share, Denied> {
        self.0.take(owner, amount)?;
        Ok(Share { pool: Arc::clone(&self.0), owner: owner.clone(), amount })
    }

    /// How much is taken now.
    #[cfg(test)]
    pub(crate) fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    fn owners(&self) -> usize {
        self.0.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

impl Share {
    /// Takes more for the same caller.
    ///
    /// # Errors
    /// As [`Shares::take`]; what was held is still held.
    pub(crate) fn grow(&mut self, amount: usize) -> Result<(), Denied> {
        self.pool.take(&self.owner, amount)?;
        self.amount += amount;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut shard = self.pool.shard(&self.owner).lock();
        if let Some(held) = shard.get_mut(&self.owner) {
            *held -= self.amount.min(*held);
            if *held == 0 {
                shard.remove(&self.owner);
            }
        }
        self.pool.taken.fetch_sub(self.amount, Ordering::Relaxed);
        self.pool.shown.dec_by(i64::try_from(self.amount).unwrap_or(0));
    }
}

impl Pool {
    fn shard(&self, owner: &Owner) -> &Mutex<HashMap<Owner, usize>> {
        let shard = usize::try_from(self.hasher.hash_one(owner) % (SHARDS as u64)).unwrap_or(0);
        &self.shards[shard]
    }

    fn take(&self, owner: &Owner, amount: usize) -> Result<(), Denied> {
        let share = match owner {
            Owner::Address(_) => self.limits.per_address,
            Owner::Subject(_) => self.limits.per_subject,
        };
        let mut shard = self.shard(owner).lock();
        let held = shard.get(owner).copied().unwrap_or(0);
        if held.saturating_add(amount) > share {
            return Err(Denied::ShareTaken);
        }
        let total = self.limits.total;
        let fits = |taken: usize| {
            let left = total.checked_sub(taken)?.checked_sub(amount)?;
            let is_crowded = taken > total / 2;
            (!is_crowded || held <= left).then_some(taken + amount)
        };
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).map_err(|_| Denied::Full)?;
        self.shown.inc_by(i64::try_from(amount).unwrap_or(0));
        shard.insert(owner.clone(), held + amount);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shares(total: usize, per_address: usize, per_subject: usize) -> Shares {
        Shares::new(Limits { total, per_address, per_subject }, Gauge::default())
    }

    fn address(text: &str) -> Owner {
        Owner::from(text.parse().unwrap())
    }

    #[test]
    fn one_caller_gets_its_share_and_no_more() {
        let shares = shares(8, 2, 3);
        let (here, there) = (address("192.0.2.1"), address("192.0.2.2"));
        let held: Vec<Share> = (0..2).map(|_| shares.take(&here, 1).unwrap()).collect();
        assert_eq!(shares.take(&here, 1).unwrap_err(), Denied::ShareTaken);
        let other = shares.take(&there, 1).unwrap();
        let ann: Vec<Share> = (0..3).map(|_| shares.take(&Owner::of("ann"), 1).unwrap()).collect();
        assert_eq!(shares.take(&Owner::of("ann"), 1).unwrap_err(), Denied::ShareTaken);
        drop(held);
        shares.take(&here, 2).unwrap();
        drop((other, ann));
        assert_eq!((shares.taken(), shares.owners()), (0, 0), "callers who hold nothing are forgotten");
    }

    #[test]
    fn an_ipv6_network_is_one_caller() {
        let shares = shares(8, 1, 1);
        let _held = shares.take(&address("2001:db8::1"), 1).unwrap();
        assert_eq!(shares.take(&address("2001:db8::2"), 1).unwrap_err(), Denied::ShareTaken);
        shares.take(&address("2001:db8:0:1::1"), 1).unwrap();
        let _mapped = shares.take(&address("::ffff:192.0.2.1"), 1).unwrap();
        assert_eq!(shares.take(&address("192.0.2.1"), 1).unwrap_err(), Denied::ShareTaken);
    }

    #[test]
    fn a_crowd_of_greedy_callers_leaves_room_for_a_newcomer() {
        let shares = shares(400, 100, 100);
        let greedy: Vec<Owner> = (0..20).map(|n| Owner::of(&format!("greedy-{n}"))).collect();
        let mut held = Vec::new();
        loop {
            let more: Vec<Share> = greedy.iter().filter_map(|owner| shares.take(owner, 1).ok()).collect();
            if more.is_empty() {
                break;
            }
            held.extend(more);
        }
        let left = 400 - shares.taken();
        assert!((10..=40).contains(&left), "{left} left");
        shares.take(&Owner::of("newcomer"), 1).unwrap();
        drop(held);
        assert_eq!((shares.taken(), shares.owners()), (0, 0));
    }

    #[test]
    fn a_lone_caller_may_take_all_of_a_small_pool() {
        let shares = shares(2, 9, 9);
        let _held: Vec<Share> = (0..2).map(|_| shares.take(&Owner::of("ann"), 1).unwrap()).collect();
        assert_eq!(shares.take(&Owner::of("bob"), 1).unwrap_err(), Denied::Full);
    }

    #[test]
    fn what_grows_beyond_the_share_keeps_what_it_had() {
        let shares = shares(10, 4, 4);
        let mut held = shares.take(&Owner::of("ann"), 1).unwrap();
        held.grow(3).unwrap();
        assert_eq!(held.grow(1), Err(Denied::ShareTaken));
        assert_eq!(shares.taken(), 4);
        drop(held);
        assert_eq!((shares.taken(), shares.owners()), (0, 0));
    }

    #[test]
    fn many_threads_together_never_take_more_than_there_is() {
        let shares = shares(64, 8, 8);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let shares = shares.clone();
                scope.spawn(move || {
                    for round in 0..2_000 {
                        let owner = Owner::of(&format!("{}", (thread + round) % 12));
                        let held: Vec<Share> = (0..10).filter_map(|_| shares.take(&owner, 1).ok()).collect();
                        assert!(held.len() <= 8 && shares.taken() <= 64);
                    }
                });
            }
        });
        assert_eq!((shares.taken(), shares.owners()), (0, 0));
    }
}
