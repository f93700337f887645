//! How often a caller may ask: a token bucket per subject, or per address where the caller has no good token.
//!
//! The bucket is kept as one number, the time at which it will be full again (GCRA), so that it is the same arithmetic in
//! this process and in a Redis script. Here it is a moment of the monotonic clock. In Redis it is one atomic script on Redis's own
//! clock: many requests at once, on any number of replicas, cannot get past it together. That clock may be set; a bucket that was
//! further ahead than any can be was filled by the clock as it was, and counts as one that is empty now. Must not know: HTTP, tokens.

use std::{collections::HashMap, hash::BuildHasher, net::IpAddr, sync::Arc, time::Duration};

use amends_primitives::Clock;
use parking_lot::Mutex;
use service_base::kv::{Redis, Unavailable};

use crate::{
    client::network,
    config::{Rate, RateLimits},
};

/// More locks than there are cores, so that they seldom meet.
const SHARDS: usize = 16;
/// Callers remembered per shard: with two numbers and a short text each, 16 shards stay below 30 MiB.
const CALLERS_PER_SHARD_MAX: usize = 8192;

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Caller<'a> {
    /// A token's subject.
    Subject(&'a str),
    /// A caller without a good token, from that address.
    Address(IpAddr),
    /// A question about health, or about what is served, from there.
    Probe(IpAddr),
}

/// Whether there was a token in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Yes.
    Yes,
    /// No; the next token arrives after this time.
    No { retry_after: Duration },
}

/// The buckets.
pub(crate) struct Limiter {
    rates: RateLimits,
    buckets: Buckets,
}

#[expect(clippy::large_enum_variant, reason = "there is one in a process")]
enum Buckets {
    Local { clock: Arc<dyn Clock>, shards: Vec<Mutex<HashMap<Box<str>, i64>>>, hasher: std::hash::RandomState },
    Shared { redis: Redis, script: redis::Script },
}

/// `KEYS[1]` the caller; `ARGV` what one request adds and how far ahead the bucket may be, in microseconds.
/// Answers 0, or how long to wait. Numbers stay below 2^53, which is as far as Lua counts.
const SCRIPT: &str = r"
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local cost, ahead_max = tonumber(ARGV[1]), tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', KEYS[1])) or now, now)
local ahead_of_its_time = full_at - now > ahead_max + cost
if ahead_of_its_time then full_at = now + ahead_max + cost end
local wait = math.max(full_at - now - ahead_max, 0)
if wait == 0 then full_at = full_at + cost end
if wait == 0 or ahead_of_its_time then
  redis.call('SET', KEYS[1], string.format('%.0f', full_at), 'PX', math.ceil((full_at - now) / 1000) + 1)
end
return wait
";

impl Limiter {
    /// Buckets in this process.
    pub(crate) fn local(rates: RateLimits, clock: Arc<dyn Clock>) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { rates, buckets: Buckets::Local { clock, shards, hasher: std::hash::RandomState::new() } }
    }

    /// Buckets in Redis, one set for all replicas.
    pub(crate) fn shared(rates: RateLimits, redis: Redis) -> Self {
        Self { rates, buckets: Buckets::Shared { redis, script: redis::Script::new(SCRIPT) } }
    }

    /// Takes one token.
    ///
    /// # Errors
    /// When the shared buckets cannot be asked.
    pub(crate) async fn take(&self, caller: Caller<'_>) -> Result<Taken, Unavailable> {
        if !self.rates.enabled {
            return Ok(Taken::Yes);
        }
        let (rate, key) = match caller {
            Caller::Subject(subject) => (self.rates.subject, format!("s:{subject}")),
            Caller::Address(address) => (self.rates.address, format!("a:{}", network(address))),
            Caller::Probe(address) => (self.rates.probe, format!("p:{}", network(address))),
        };
        match &self.buckets {
            Buckets::Local { clock, shards, hasher } => {
                let now = clock.moment().as_micros();
                let shard = usize::try_from(hasher.hash_one(&key) % (SHARDS as u64)).unwrap_or(0);
                Ok(take_local(&mut shards[shard].lock(), key, rate, now))
            }
            Buckets::Shared { redis, script } => {
                let mut call = script.key(format!("amends:rate:{key}"));
                call.arg(cost_micros(rate)).arg(ahead_max_micros(rate));
                let wait: u64 = redis.invoke(&call).await?;
                Ok(if wait == 0 { Taken::Yes } else { Taken::No { retry_after: Duration::from_micros(wait) } })
            }
        }
    }
}

fn cost_micros(rate: Rate) -> i64 {
    1_000_000 / i64::from(rate.per_second.max(1))
}

fn ahead_max_micros(rate: Rate) -> i64 {
    cost_micros(rate) * i64::from(rate.burst.max(1) - 1)
}

fn take_local(buckets: &mut HashMap<Box<str>, i64>, key: String, rate: Rate, now: i64) -> Taken {
    let full_at = buckets.get(key.as_str()).copied().unwrap_or(now).max(now);
    let wait = full_at - now - ahead_max_micros(rate);
    if wait > 0 {
        return Taken::No { retry_after: Duration::from_micros(wait.unsigned_abs()) };
    }
    if buckets.len() >= CALLERS_PER_SHARD_MAX && !buckets.contains_key(key.as_str()) {
        // A full bucket is the same as none.
        buckets.retain(|_, full_at| *full_at > now);
        // Still no room: this number of callers at once is an attack, and forgetting one of them costs less than memory.
        if buckets.len() >= CALLERS_PER_SHARD_MAX
            && let Some(any) = buckets.keys().next().cloned()
        {
            buckets.remove(&any);
        }
    }
    buckets.insert(key.into_boxed_str(), full_at + cost_micros(rate));
    Taken::Yes
}

#[cfg(test)]
mod tests {
    use amends_primitives::ManualClock;

    use super::*;

    fn rates(per_second: u32, burst: u32) -> RateLimits {
        let rate = Rate { per_second, burst };
        RateLimits { enabled: true, subject: rate, address: rate, probe: rate }
    }

    #[tokio::test]
    async fn a_burst_then_one_at_a_time() {
        let clock = Arc::new(ManualClock::default());
        let limiter = Limiter::local(rates(10, 3), clock.clone());
        let ask = || async { limiter.take(Caller::Subject("ann")).await.unwrap() };
        for _ in 0..3 {
            assert_eq!(ask().await, Taken::Yes);
        }
        assert_eq!(ask().await, Taken::No { retry_after: Duration::from_millis(100) });
        assert_eq!(limiter.take(Caller::Subject("bob")).await.unwrap(), Taken::Yes, "others are not affected");
        clock.advance(Duration::from_millis(100));
        assert_eq!(ask().await, Taken::Yes);
        assert!(matches!(ask().await, Taken::No { .. }));
        clock.advance(Duration::from_mins(1));
        for _ in 0..3 {
            assert_eq!(ask().await, Taken::Yes, "no more than a burst is saved up");
        }
        assert!(matches!(ask().await, Taken::No { .. }));
    }

    #[tokio::test]
    async fn setting_the_clock_limits_no_caller() {
        for step in [30, 600, 3600].map(Duration::from_secs) {
            let clock = Arc::new(ManualClock::default());
            let limiter = Limiter::local(rates(10, 3), clock.clone());
            let ask = || async { limiter.take(Caller::Subject("ann")).await.unwrap() };
            for set in [ManualClock::step_back, ManualClock::step_forward] {
                for _ in 0..3 {
                    assert_eq!(ask().await, Taken::Yes);
                }
                set(&clock, step);
                assert_eq!(
                    ask().await,
                    Taken::No { retry_after: Duration::from_millis(100) },
                    "nor is a token given away"
                );
                clock.advance(Duration::from_millis(300));
            }
        }
    }

    #[tokio::test]
    async fn an_ipv6_network_is_one_caller() {
        let limiter = Limiter::local(rates(1, 1), Arc::new(ManualClock::default()));
        let ask = |address: &str| limiter.take(Caller::Address(address.parse().unwrap()));
        assert_eq!(ask("2001:db8::1").await.unwrap(), Taken::Yes);
        assert!(matches!(ask("2001:db8::2").await.unwrap(), Taken::No { .. }));
        assert_eq!(ask("2001:db8:0:1::1").await.unwrap(), Taken::Yes);
        assert_eq!(ask("192.0.2.1").await.unwrap(), Taken::Yes);
        assert!(matches!(ask("::ffff:192.0.2.1").await.unwrap(), Taken::No { .. }));
    }

    #[test]
    fn memory_is_bounded() {
        let mut buckets = HashMap::new();
        let rate = Rate { per_second: 1, burst: 1 };
        for caller in 0..CALLERS_PER_SHARD_MAX + 10 {
            assert_eq!(take_local(&mut buckets, caller.to_string(), rate, 0), Taken::Yes);
        }
        assert_eq!(buckets.len(), CALLERS_PER_SHARD_MAX);
        assert_eq!(take_local(&mut buckets, "later".to_owned(), rate, 2_000_000), Taken::Yes);
        assert_eq!(buckets.len(), 1, "full buckets are forgotten");
    }
}
