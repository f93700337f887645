//! The merchants' interface: JSON over HTTP/1.1, one verb a file. The README documents it.
//!
//! From the outside in: who asks; work that goes on although its caller has hung up, as it does at a real acquirer; faults; the verb.
//!
//! Must not know: SQL, how an answer is decided.

mod capture;
mod charge;
mod fields;
mod look_up;
mod merchant;
mod movements;
mod refund;
mod run_detached;
mod void;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::from_fn_with_state,
    routing::{get, post},
};
use service_base::problem::{Code, Problem};
use service_kit::{Runtime, faults::Faults, shutdown::Shutdown};

use crate::{
    SERVICE,
    acquirer::{Acquirer, Reply},
    config::Config,
    ledger::LedgerError,
    store::SqlLedger,
};

pub(crate) use run_detached::STOP_MAX;

/// A request has a few hundred bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// What the verbs need. Clones share it.
#[derive(Clone)]
pub(crate) struct Api {
    acquirer: Acquirer,
    ledger: SqlLedger,
    shutdown: Shutdown,
}

impl Api {
    pub(crate) const fn new(acquirer: Acquirer, ledger: SqlLedger, shutdown: Shutdown) -> Self {
        Self { acquirer, ledger, shutdown }
    }

    /// The answer, or silence for as long as the rules say and this process lives.
    async fn given<T>(&self, reply: Reply<T>) -> Result<T, Problem> {
        match reply {
            Reply::Given(answer) => Ok(answer),
            Reply::Never => {
                tokio::select! {
                    () = tokio::time::sleep(self.acquirer.rules().hang) => {}
                    () = self.shutdown.triggered() => {}
                }
                Err(Problem::of(Code::Timeout, "the issuer did not answer in time"))
            }
        }
    }
}

pub(crate) fn router(api: Api, config: &Config, faults: Faults, runtime: &Runtime) -> Router {
    let router = Router::new()
        .route("/v1/charges", post(charge::charge))
        .route("/v1/authorizations", post(charge::authorize))
        .route("/v1/captures", post(capture::capture))
        .route("/v1/voids", post(void::void))
        .route("/v1/refunds", post(refund::refund))
        .route("/v1/keys", get(look_up::look_up))
        .route("/v1/movements", get(movements::list))
        .with_state(api)
        .layer(from_fn_with_state(faults, service_kit::faults::http::inject))
        .layer(from_fn_with_state(run_detached::Work::new(config, runtime), run_detached::run_detached))
        .layer(from_fn_with_state(merchant::Merchant::new(&config.secret), merchant::known))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    service_kit::http::app(router, SERVICE, runtime)
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Unavailable(_) | LedgerError::Contended => Self::store_unavailable(error),
            LedgerError::KeyTaken => fields::reused(),
            LedgerError::Corrupt { .. } | LedgerError::Failed(_) => Self::bug(error),
        }
    }
}
