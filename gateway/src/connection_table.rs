//! Connections: how many there are, whose they are, and which of them gives way.
//!
//! An address has at most its share; when it wants one more, the one of its own that has been idle longest is closed. When there is no
//! room at all, the address with the most connections gives up an idle one for an address that has fewer, and an address that has as
//! many as any gives up one of its own that has been idle for a while. Idle is a connection over which no answer is being prepared: also
//! one that sends a request's head or body as slowly as it may. A load balancer of ours connects for many callers and has no share of
//! its own. Must not know: what is said over a connection.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::network;
use service_base::peer::Network;

/// When all connections are taken they change hands no faster than this; else callers would do nothing but connect.
const TURN: Duration = Duration::from_secs(2);

/// All connections.
#[derive(Debug)]
pub(crate) struct ConnectionTable {
    connections_max: usize,
    per_address: usize,
    trusted: Vec<Network>,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    count: usize,
    by_address: HashMap<IpAddr, Vec<Arc<Member>>>,
}

/// One connection, as others may see it.
#[derive(Debug)]
pub(crate) struct Member {
    busy: AtomicUsize,
    idle_since: Mutex<Instant>,
    gives_way: CancellationToken,
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    table: Arc<ConnectionTable>,
    network: IpAddr,
    member: Arc<Member>,
}

/// An answer is being prepared: keeps a connection from giving way while it lives.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Member>);

impl ConnectionTable {
    pub(crate) fn new(connections_max: usize, per_address: usize, trusted: Vec<Network>) -> Self {
        Self { connections_max, per_address, trusted, inside: Mutex::default() }
    }

    /// A place for a connection from there, if there is one.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<ConnectionPermit> {
        let (is_trusted, network) = (self.trusted.iter().any(|trusted| trusted.contains(peer)), network(peer));
        let mut inside = self.inside.lock();
        let held = inside.by_address.get(&network).map_or(0, Vec::len);
        if !is_trusted && held >= self.per_address {
            inside.idlest(network, Duration::ZERO)?.gives_way.cancel();
        } else if inside.count >= self.connections_max {
            let (heaviest, most) = inside.heaviest()?;
            // An address that has as many would only push out its equals, in turn and for ever.
            let other = if held + 1 < most { inside.idlest(heaviest, Duration::ZERO) } else { None };
            other.or_else(|| inside.idlest(network, TURN))?.gives_way.cancel();
        }
        let member = Arc::new(Member {
            busy: AtomicUsize::new(0),
            idle_since: Mutex::new(Instant::now()),
            gives_way: CancellationToken::new(),
        });
        inside.count += 1;
        inside.by_address.entry(network).or_default().push(Arc::clone(&member));
        drop(inside);
        Some(ConnectionPermit { table: Arc::clone(self), network, member })
    }
}

impl Inside {
    /// Takes the connection out that has been idle longest, and for `at_least`.
    fn idlest(&mut self, network: IpAddr, at_least: Duration) -> Option<Arc<Member>> {
        let members = self.by_address.get(&network)?;
        let is_idle = |member: &&Arc<Member>| !member.is_busy() && member.idle_since.lock().elapsed() >= at_least;
        let idle = members.iter().filter(is_idle);
        let idlest = Arc::clone(idle.min_by_key(|member| *member.idle_since.lock())?);
        self.remove(network, &idlest);
        Some(idlest)
    }

    fn heaviest(&self) -> Option<(IpAddr, usize)> {
        self.by_address.iter().map(|(network, members)| (*network, members.len())).max_by_key(|(_, count)| *count)
    }

    fn remove(&mut self, network: IpAddr, member: &Arc<Member>) {
        let Some(members) = self.by_address.get_mut(&network) else { return };
        if let Some(at) = members.iter().position(|other| Arc::ptr_eq(other, member)) {
            members.swap_remove(at);
            self.count -= 1;
            if members.is_empty() {
                self.by_address.remove(&network);
            }
        }
    }
}

impl Member {
    /// Says that an answer is being prepared, until the returned value is dropped.
    pub(crate) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(self))
    }

    /// Whether an answer is being prepared.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Acquire) > 0
    }

    /// Waits until another connection needs the place more.
    pub(crate) async fn gives_way(&self) {
        self.gives_way.cancelled().await;
    }
}

impl ConnectionPermit {
    pub(crate) fn member(&self) -> &Arc<Member> {
        &self.member
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.table.inside.lock().remove(self.network, &self.member);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.idle_since.lock() = Instant::now();
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(connections_max: usize, per_address: usize) -> Arc<ConnectionTable> {
        let trusted = vec!["10.0.0.0/8".parse().unwrap()];
        Arc::new(ConnectionTable::new(connections_max, per_address, trusted))
    }

    fn enter(table: &Arc<ConnectionTable>, address: &str) -> Option<ConnectionPermit> {
        table.enter(address.parse().unwrap())
    }

    fn gives_way(permit: &ConnectionPermit) -> bool {
        permit.member.gives_way.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_idle_connection_of_an_address_gives_way() {
        let table = table(10, 3);
        let mut permits = Vec::new();
        for _ in 0..3 {
            permits.push(enter(&table, "192.0.2.1").unwrap());
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        // The first was busy until now, so the second has been idle longest.
        drop(permits[0].member.busy());
        let newcomer = enter(&table, "192.0.2.1").unwrap();
        assert_eq!(permits.iter().map(gives_way).collect::<Vec<_>>(), [false, true, false]);
        assert!(!gives_way(&newcomer));
        assert_eq!(table.inside.lock().count, 3);
        drop((permits, newcomer));
        assert_eq!(table.inside.lock().by_address.len(), 0, "addresses without connections are forgotten");
    }

    #[tokio::test]
    async fn busy_connections_do_not_give_way() {
        let table = table(10, 2);
        let permits = [enter(&table, "2001:db8::1").unwrap(), enter(&table, "2001:db8::2").unwrap()];
        let busy: Vec<Busy> = permits.iter().map(|permit| permit.member.busy()).collect();
        assert!(enter(&table, "2001:db8::3").is_none(), "a /64 is one address");
        assert!(enter(&table, "2001:db8:0:1::1").is_some());
        drop(busy);
        assert!(enter(&table, "2001:db8::3").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_house_takes_from_the_address_that_has_most() {
        let table = table(4, 3);
        let many: Vec<ConnectionPermit> = (0..3).map(|_| enter(&table, "192.0.2.1").unwrap()).collect();
        let one = enter(&table, "192.0.2.2").unwrap();
        let other = enter(&table, "192.0.2.3").unwrap();
        assert_eq!(many.iter().filter(|permit| gives_way(permit)).count(), 1);
        assert!(!gives_way(&one));
        assert!(enter(&table, "192.0.2.2").is_none(), "of equals, the one who came first stays");
        assert!(!gives_way(&other));
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_full_house_equals_take_turns() {
        let table = table(2, 9);
        let permits = [enter(&table, "192.0.2.1").unwrap(), enter(&table, "192.0.2.1").unwrap()];
        assert!(enter(&table, "192.0.2.1").is_none());
        tokio::time::advance(TURN).await;
        let _busy = permits[0].member.busy();
        let newcomer = enter(&table, "192.0.2.1").unwrap();
        assert_eq!(permits.iter().map(gives_way).collect::<Vec<_>>(), [false, true]);
        assert!(enter(&table, "192.0.2.1").is_none(), "the newcomer has its turn first");
        drop(newcomer);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trusted_balancer_has_no_share_of_its_own() {
        let table = table(4, 1);
        let _permits: Vec<ConnectionPermit> = (0..4).map(|_| enter(&table, "10.0.0.1").unwrap()).collect();
        assert!(enter(&table, "10.0.0.1").is_none());
        assert!(enter(&table, "192.0.2.1").is_some());
    }
}
