//! Faults injected on purpose, so that callers can be watched while things go wrong: off by default, configured at start, switched
//! at run time through the admin listener, and kept out of production.
//!
//! Must not know: which call it is, what is refused.

mod config;
pub mod http;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::Rng as _;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use service_base::{
    config::ConfigError,
    problem::{Code, Domain, Problem},
};

pub use config::FaultsConfig;

/// How long a call hangs: longer than any caller waits, and not for ever.
const HANG_MAX: Duration = Duration::from_mins(1);

/// Short: faults are injected to see callers try again.
const RETRY_AFTER_RPC: Duration = Duration::from_millis(100);

/// Adds what a service finds wrong with its faults.
pub type Check = fn(&FaultsConfig, &mut Vec<ConfigError>);

/// Cuts the connection that a request came in on. Every request carries its own, as an extension.
#[derive(Debug, Clone, Default)]
pub struct Hangup(CancellationToken);

impl Hangup {
    pub(crate) async fn pulled(&self) {
        self.0.cancelled().await;
    }

    pub(crate) fn is_pulled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn pull(&self) {
        self.0.cancel();
    }
}

/// The switch of one service. Clones share it.
#[derive(Debug, Clone)]
pub struct Faults {
    check: Check,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    config: Arc<FaultsConfig>,
    /// Calls that still go wrong, where `next_calls` bounds them.
    left: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self::new(FaultsConfig::default(), |_, _| {})
    }
}

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    RateLimited,
    Hang,
    /// Before it takes effect, or after: then the caller does not hear of it, which is what makes an outcome unknown.
    Error {
        late: bool,
    },
    Reset {
        late: bool,
    },
    Internal,
}

/// How a call that goes wrong before it takes effect ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Injected {
    /// As RESOURCE_EXHAUSTED.
    RateLimited,
    /// As UNAVAILABLE; there may be no listener any more.
    Unavailable,
    /// As INTERNAL.
    Internal,
}

/// What becomes of the answer of a call that was let in.
#[derive(Debug)]
#[must_use]
pub enum Exit {
    /// It is given.
    Answer,
    /// It is lost, and the caller is told UNAVAILABLE.
    Lost,
    /// It is lost with its connection.
    Cut(Hangup),
}

impl Exit {
    /// The answer, unless it is to be lost on its way.
    ///
    /// # Errors
    /// The answer's own, or `lost`.
    pub fn leave<T, E>(self, answer: Result<T, E>, lost: impl FnOnce() -> E) -> Result<T, E> {
        match self {
            Self::Answer => answer,
            Self::Lost => Err(lost()),
            Self::Cut(hangup) => {
                hangup.pull();
                Err(lost())
            }
        }
    }
}

/// What a gRPC caller is told whose answer is lost on purpose.
pub fn lost_rpc(domain: Domain) -> Status {
    Problem::from(Code::Injected).domain(domain).retry_after(RETRY_AFTER_RPC).into()
}

impl Faults {
    /// As configured.
    pub fn new(config: FaultsConfig, check: Check) -> Self {
        let state = State { left: config.next_calls, config: Arc::new(config) };
        Self { check, state: Arc::new(Mutex::new(state)) }
    }

    /// What is going wrong at the moment.
    pub fn current(&self) -> Arc<FaultsConfig> {
        Arc::clone(&self.state.lock().config)
    }

    /// From now on, this goes wrong.
    ///
    /// # Errors
    /// With every mistake in it; then nothing changes.
    pub fn set(&self, config: FaultsConfig) -> Result<(), Vec<ConfigError>> {
        let errors = self.mistakes(&config);
        if errors.is_empty() {
            self.switch(config);
            return Ok(());
        }
        Err(errors)
    }

    pub(crate) fn mistakes(&self, config: &FaultsConfig) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        config.validate(&mut errors);
        (self.check)(config, &mut errors);
        errors
    }

    pub(crate) fn switch(&self, config: FaultsConfig) {
        tracing::warn!(?config, "faults are switched");
        *self.state.lock() = State { left: config.next_calls, config: Arc::new(config) };
    }

    /// Lets a call in, or not: waits, hangs, cuts its connection, as it is drawn.
    ///
    /// # Errors
    /// When the call ends here, without effect.
    pub async fn enter(&self, hangup: Option<&Hangup>) -> Result<Exit, Injected> {
        let (delay, fault) = self.draw(|| rand::rng().random_range(0..100));
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        match (fault, hangup) {
            (Fault::None, _) => Ok(Exit::Answer),
            (Fault::RateLimited, _) => Err(Injected::RateLimited),
            (Fault::Internal, _) => Err(Injected::Internal),
            (Fault::Hang, _) => {
                tokio::time::sleep(HANG_MAX).await;
                Err(Injected::Unavailable)
            }
            (Fault::Reset { late: true }, Some(hangup)) => Ok(Exit::Cut(hangup.clone())),
            (Fault::Reset { late: false }, Some(hangup)) => {
                hangup.pull();
                Err(Injected::Unavailable)
            }
            (Fault::Error { late: true } | Fault::Reset { late: true }, _) => Ok(Exit::Lost),
            (Fault::Error { late: false } | Fault::Reset { late: false }, _) => Err(Injected::Unavailable),
        }
    }

    /// As [`enter`](Self::enter), for a gRPC call of a domain.
    ///
    /// # Errors
    /// When the call ends here, without effect.
    pub async fn enter_rpc(&self, extensions: &tonic::Extensions, domain: Domain) -> Result<Exit, Status> {
        let problem = match self.enter(extensions.get()).await {
            Ok(exit) => return Ok(exit),
            Err(Injected::RateLimited) => {
                Problem::of(Code::RateLimited, "too many calls (injected)").retry_after(RETRY_AFTER_RPC)
            }
            Err(Injected::Unavailable) => Problem::from(Code::Injected).retry_after(RETRY_AFTER_RPC),
            Err(Injected::Internal) => Problem::from(Code::Internal),
        };
        Err(problem.domain(domain).into())
    }

    /// Draws what goes wrong with the next call, and how long it waits first. `roll` is one of a hundred.
    fn draw(&self, mut roll: impl FnMut() -> u8) -> (Duration, Fault) {
        let config = {
            let mut state = self.state.lock();
            let config = Arc::clone(&state.config);
            if !config.touches_calls() {
                return (Duration::ZERO, Fault::None);
            }
            if config.next_calls > 0 {
                state.left = state.left.saturating_sub(1);
                if state.left == 0 {
                    tracing::warn!(calls = config.next_calls, "faults have gone wrong as often as asked, and stop");
                    state.config = Arc::new(config.without_call_faults());
                }
            }
            config
        };
        let delayed = config.delay_ms > 0 && roll() < config.delay_pct;
        let delay = Duration::from_millis(if delayed { config.delay_ms } else { 0 });
        let late = |roll: u8| roll >= 50;
        let fault = if roll() < config.rate_limit_pct {
            Fault::RateLimited
        } else if roll() < config.hang_pct {
            Fault::Hang
        } else if roll() < config.reset_pct {
            Fault::Reset { late: late(roll()) }
        } else if roll() < config.error_pct {
            Fault::Error { late: late(roll()) }
        } else if roll() < config.internal_pct {
            Fault::Internal
        } else {
            Fault::None
        };
        (delay, fault)
    }
}

/// Faults are configured, and this is production.
#[derive(Debug, thiserror::Error)]
#[error(
    "{section}.faults: faults are configured, and telemetry.environment is production; set \
{section}.faults.allow_in_production=true if that is what you want"
)]
pub struct FaultsInProduction {
    section: &'static str,
}

/// The switches of all services in this process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct FaultSwitches(Arc<Mutex<Switches>>);

#[derive(Debug, Default)]
struct Switches {
    production: bool,
    services: Vec<(&'static str, Faults)>,
}

impl FaultSwitches {
    /// Sets where this process runs. Call it before any service is built.
    pub fn in_environment(&self, environment: &str) {
        self.0.lock().production = environment.eq_ignore_ascii_case("production");
    }

    /// Whether this is production.
    pub fn is_production(&self) -> bool {
        self.0.lock().production
    }

    /// The switch of the service with that section, shown on the admin listener unless this is production.
    ///
    /// # Errors
    /// When this is production, and something is to go wrong that is not explicitly allowed to.
    pub fn install(
        &self,
        section: &'static str,
        config: FaultsConfig,
        check: Check,
    ) -> Result<Faults, FaultsInProduction> {
        let mut switches = self.0.lock();
        let allowed = !switches.production || config.allow_in_production;
        if !allowed && !config.is_off() {
            return Err(FaultsInProduction { section });
        }
        if !config.is_off() {
            tracing::warn!(section, ?config, "faults are injected on purpose");
        }
        let faults = Faults::new(config, check);
        if allowed {
            switches.services.push((section, faults.clone()));
        }
        Ok(faults)
    }

    pub(crate) fn services(&self) -> Vec<(&'static str, Faults)> {
        self.0.lock().services.clone()
    }
}
