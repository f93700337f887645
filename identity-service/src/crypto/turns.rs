//! Turns at work of which only a bounded amount can be done at once, shared fairly by the networks that ask.
//!
//! Each network has a queue of its own. Next is a network for which the least is being done, and among those the one that has waited
//! longest for its turn; so however many wait at one network, another waits for what is under way, never for them. All queues together
//! have a bound. When it is reached, a newcomer displaces the last of the longest queue, unless its own queue is as long: so a
//! network that is alone may use all there is, and gives it up to others as they come.
//!
//! What this cannot do: tell very many networks that belong to one from very many that do not. Each has a share, and more networks than
//! positions get none.
//!
//! Must not know: what the work is.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::domain::network::Network;

/// How much at a time, and how many may wait.
#[derive(Debug, Clone, Copy)]
pub struct TurnLimits {
    /// At once.
    pub concurrent_max: usize,
    /// In all queues together.
    pub waiting_max: usize,
    /// No longer in a queue than this.
    pub patience: Duration,
}

/// There is no turn to be had in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoTurn;

/// Gives turns. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    limits: TurnLimits,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Networks at work, and how many turns each has.
    at_work: HashMap<Network, usize>,
    turns_out: usize,
    /// Networks that wait, in the order of their turns. None is empty.
    queues: VecDeque<Queue>,
    waiting: usize,
    tickets: u64,
}

#[derive(Debug)]
struct Queue {
    network: Network,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    ticket: u64,
    wake: oneshot::Sender<Turn>,
}

/// The right to work. Dropping it gives the next one its turn.
#[derive(Debug)]
pub(crate) struct Turn {
    network: Network,
    /// None in one that could not be handed over.
    state: Option<Arc<Mutex<State>>>,
}

impl Turns {
    /// All free.
    pub(crate) fn new(limits: TurnLimits) -> Self {
        Self { limits, state: Arc::default() }
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// When the queues are full and this network has its share of them, or the turn does not come within the configured wait.
    pub(crate) async fn take(&self, network: Network) -> Result<Turn, NoTurn> {
        let (mut turn, _position) = {
            let mut state = self.state.lock();
            if state.turns_out < self.limits.concurrent_max {
                // No login waits while a turn is free: a turn that ends goes to the next at once.
                state.begins(network);
                return Ok(Turn { network, state: Some(Arc::clone(&self.state)) });
            }
            let (ticket, turn) = state.enter(network, self.limits.waiting_max).ok_or(NoTurn)?;
            (turn, Position { turns: self, network, ticket })
        };
        match tokio::time::timeout(self.limits.patience, &mut turn).await {
            Ok(turn) => turn.map_err(|_displaced| NoTurn),
            Err(_elapsed) => Err(NoTurn),
        }
    }

    /// How many wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.state.lock().waiting
    }
}

impl State {
    fn begins(&mut self, network: Network) {
        *self.at_work.entry(network).or_default() += 1;
        self.turns_out += 1;
    }

    fn ends(&mut self, network: Network) {
        if let Some(turns) = self.at_work.get_mut(&network) {
            *turns -= 1;
            if *turns == 0 {
                self.at_work.remove(&network);
            }
        }
        self.turns_out -= 1;
    }

    fn enter(&mut self, network: Network, waiting_max: usize) -> Option<(u64, oneshot::Receiver<Turn>)> {
        let own = self.queues.iter().find(|queue| queue.network == network).map_or(0, |queue| queue.waiters.len());
        if self.waiting >= waiting_max {
            let longest = self.queues.iter_mut().max_by_key(|queue| queue.waiters.len())?;
            if longest.waiters.len() <= own + 1 {
                return None;
            }
            // Its sender goes with it, which is how it learns.
            longest.waiters.pop_back()?;
            self.waiting -= 1;
        }
        self.tickets += 1;
        let (wake, turn) = oneshot::channel();
        let waiter = Waiter { ticket: self.tickets, wake };
        match self.queues.iter_mut().find(|queue| queue.network == network) {
            Some(queue) => queue.waiters.push_back(waiter),
            None => self.queues.push_back(Queue { network, waiters: VecDeque::from([waiter]) }),
        }
        self.waiting += 1;
        Some((self.tickets, turn))
    }

    fn leave(&mut self, network: Network, ticket: u64) {
        let Some(at) = self.queues.iter().position(|queue| queue.network == network) else { return };
        let queue = &mut self.queues[at];
        let before = queue.waiters.len();
        queue.waiters.retain(|waiter| waiter.ticket != ticket);
        self.waiting -= before - queue.waiters.len();
        if queue.waiters.is_empty() {
            self.queues.remove(at);
        }
    }

    /// Whose turn it is. Its network goes to the end of the order.
    fn next(&mut self) -> Option<(Network, Waiter)> {
        let busy = |queue: &Queue| self.at_work.get(&queue.network).copied().unwrap_or(0);
        let (at, _) = self.queues.iter().enumerate().min_by_key(|(_, queue)| busy(queue))?;
        let mut queue = self.queues.remove(at)?;
        let waiter = queue.waiters.pop_front()?;
        self.waiting -= 1;
        let network = queue.network;
        if !queue.waiters.is_empty() {
            self.queues.push_back(queue);
        }
        Some((network, waiter))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(shared) = self.state.take() else { return };
        let mut state = shared.lock();
        // While this one still counts: the network that has just had a turn is behind those that had none.
        while let Some((network, waiter)) = state.next() {
            match waiter.wake.send(Self { network, state: Some(Arc::clone(&shared)) }) {
                Ok(()) => {
                    state.begins(network);
                    break;
                }
                // It stopped waiting a moment ago. It never had the turn: dropping it must not start the next one.
                Err(mut unused) => unused.state = None,
            }
        }
        state.ends(self.network);
    }
}

/// A position in a queue; leaving it, also by cancellation, frees it.
struct Position<'a> {
    turns: &'a Turns,
    network: Network,
    ticket: u64,
}

impl Drop for Position<'_> {
    fn drop(&mut self) {
        self.turns.state.lock().leave(self.network, self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use tokio::{sync::mpsc, task::JoinHandle};

    use super::*;

    fn turns(concurrent_max: usize, waiting_max: usize) -> Turns {
        Turns::new(TurnLimits { concurrent_max, waiting_max, patience: Duration::from_secs(2) })
    }

    fn network(n: u8) -> Network {
        Network::of(Some([192, 0, 2, n].into()))
    }

    /// Those who wait, and whose turn it was, in order.
    struct Crowd {
        turns: Turns,
        tell: mpsc::UnboundedSender<(u8, Turn)>,
        had: mpsc::UnboundedReceiver<(u8, Turn)>,
    }

    impl Crowd {
        fn at(turns: &Turns) -> Self {
            let (tell, had) = mpsc::unbounded_channel();
            Self { turns: turns.clone(), tell, had }
        }

        /// Comes to wait. Whether it had a turn is known when it ends.
        async fn comes(&self, n: u8) -> JoinHandle<bool> {
            let (turns, tell) = (self.turns.clone(), self.tell.clone());
            let comer = tokio::spawn(async move {
                match turns.take(network(n)).await {
                    Ok(turn) => tell.send((n, turn)).is_ok(),
                    Err(NoTurn) => false,
                }
            });
            tokio::task::yield_now().await;
            comer
        }

        /// Whose turn it is, one after the other, each ending before the next.
        async fn in_turn(&mut self, count: usize) -> Vec<u8> {
            let mut order = Vec::new();
            for _ in 0..count {
                order.push(self.had.recv().await.unwrap().0);
            }
            order
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_place_with_many_waiting_holds_up_no_other() {
        let turns = turns(1, 64);
        let mut crowd = Crowd::at(&turns);
        let working = turns.take(network(1)).await.unwrap();
        for _ in 0..6 {
            crowd.comes(1).await;
        }
        crowd.comes(2).await;
        crowd.comes(3).await;
        crowd.comes(3).await;
        drop(working);
        assert_eq!(crowd.in_turn(9).await, [2, 1, 3, 1, 3, 1, 1, 1, 1]);
        assert_eq!((turns.waiting(), turns.state.lock().turns_out), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_with_more_turns_gets_the_next_one_later() {
        let turns = turns(3, 64);
        let mut crowd = Crowd::at(&turns);
        let (first, _second, _third) =
            tokio::join!(turns.take(network(1)), turns.take(network(1)), turns.take(network(2)));
        crowd.comes(1).await;
        crowd.comes(2).await;
        crowd.comes(3).await;
        drop(first);
        assert_eq!(crowd.in_turn(3).await, [3, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_queue_gives_way_and_equal_ones_do_not() {
        let turns = turns(1, 4);
        let mut crowd = Crowd::at(&turns);
        let working = turns.take(network(1)).await.unwrap();
        let flood = [crowd.comes(1).await, crowd.comes(1).await, crowd.comes(1).await, crowd.comes(1).await];
        assert!(!crowd.comes(1).await.await.unwrap(), "the queue is full");
        for n in [2, 3, 4] {
            crowd.comes(n).await;
        }
        assert!(!crowd.comes(5).await.await.unwrap(), "each network has one position, and there are no more");
        drop(working);
        assert_eq!(crowd.in_turn(4).await, [2, 1, 3, 4]);
        let [first, second, third, fourth] = flood;
        assert!(first.await.unwrap());
        for displaced in [second, third, fourth] {
            assert!(!displaced.await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_goes_away_or_waits_too_long_leaves_no_trace() {
        let turns = turns(1, 2);
        let mut crowd = Crowd::at(&turns);
        let working = turns.take(network(1)).await.unwrap();
        let gone = crowd.comes(2).await;
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        assert_eq!(turns.waiting(), 0);
        let patient = crowd.comes(2).await;
        assert!(!patient.await.unwrap(), "the clock of the test runs on when all wait");
        assert!(turns.state.lock().queues.is_empty());
        crowd.comes(3).await;
        drop(working);
        assert_eq!(crowd.in_turn(1).await, [3]);
        let free = turns.take(network(4)).await.unwrap();
        assert_eq!(turns.state.lock().turns_out, 1);
        drop(free);
        assert!(turns.state.lock().at_work.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn without_positions_no_login_waits() {
        let turns = turns(1, 0);
        let working = turns.take(network(1)).await.unwrap();
        assert_eq!(turns.take(network(2)).await.unwrap_err(), NoTurn);
        drop(working);
        turns.take(network(2)).await.unwrap();
    }
}
