//! What the gateway knows about one request, from its first byte to its line in the log.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use amends_primitives::IdSource;
use service_base::{code::Code, context::RequestContext, latest::Mark};
use service_kit::observe::Active;
use tokio::time::Instant;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::Span;

use crate::{
    connection_table::Busy,
    refusal::Refusal,
    routes::{Route, Target, Upstream},
    shares::Share,
};

/// What is known about one request. Filled phase by phase.
pub(crate) struct Ctx {
    pub(super) began: Instant,
    pub(super) context: RequestContext,
    pub(super) span: Span,
    /// Of the current attempt, under the request's.
    pub(super) attempt: Span,
    pub(super) trace_id: String,
    pub(super) method: String,
    pub(super) path: String,
    pub(super) client: Option<IpAddr>,
    pub(super) is_grpc: bool,
    pub(super) is_http2: bool,
    pub(super) route: Option<Route>,
    pub(super) deadline: Instant,
    /// The deadline is the caller's own, sooner than ours.
    pub(super) is_callers_deadline: bool,
    pub(super) subject: Option<String>,
    pub(super) body_bytes: u64,
    /// When a body began that is passed on while it arrives; `None` once it has ended, or was read first.
    pub(super) body_since: Option<Instant>,
    pub(super) tried: Vec<SocketAddr>,
    /// How many addresses the upstream has.
    pub(super) addresses: usize,
    /// When the current attempt began.
    pub(super) asked: Option<Instant>,
    pub(super) grpc_code: Option<tonic::Code>,
    /// Why we refuse while the body is still on its way; `fail_to_proxy` says it.
    pub(super) pending: Option<Refusal>,
    pub(super) refused: Option<Code>,
    /// Set for what the throttle has let through.
    pub(super) mark: Option<Mark>,
    /// The service behind refused it for want of room.
    pub(super) is_shed: bool,
    /// Its permit among the requests being answered.
    pub(super) permit: Option<Share>,
    /// Keeps its connection from being closed for another.
    pub(super) busy: Option<Busy>,
    /// Shutdown waits for this request; not set for streams.
    pub(super) awaited: Option<TaskTrackerToken>,
    /// An attempt may have been received, and its answer was lost.
    pub(super) in_doubt: bool,
    /// Set once the request is known; counts it as active.
    pub(super) active: Option<Active>,
}

impl Ctx {
    pub(super) fn fresh(ids: &dyn IdSource, patience: Duration) -> Self {
        let now = Instant::now();
        Self {
            began: now,
            context: RequestContext::fresh(ids),
            span: Span::none(),
            attempt: Span::none(),
            trace_id: String::new(),
            method: String::new(),
            path: String::new(),
            client: None,
            is_grpc: false,
            is_http2: false,
            route: None,
            deadline: now + patience,
            is_callers_deadline: false,
            subject: None,
            body_bytes: 0,
            body_since: None,
            tried: Vec::new(),
            addresses: 0,
            asked: None,
            grpc_code: None,
            pending: None,
            refused: None,
            mark: None,
            is_shed: false,
            permit: None,
            busy: None,
            awaited: None,
            in_doubt: false,
            active: None,
        }
    }

    pub(super) fn route_name(&self) -> &'static str {
        self.route.map_or("unmatched", |route| route.name)
    }

    pub(super) fn upstream(&self) -> Option<Upstream> {
        match self.route?.target {
            Target::Forward(upstream) => Some(upstream),
            Target::Liveness | Target::Readiness => None,
        }
    }

    /// Time left; never zero, which Pingora would take for "no bound" in places.
    pub(super) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    /// Whether this is a stream, bounded by our own rule and not by the caller's.
    pub(super) fn has_stream_age(&self) -> bool {
        !self.is_callers_deadline && self.route.is_some_and(|route| route.patience.is_stream())
    }

    pub(super) fn protocol(&self) -> &'static str {
        if self.is_grpc { "grpc" } else { "http" }
    }

    /// For counting; all whose address is not known are counted as one.
    pub(super) fn address(&self) -> IpAddr {
        self.client.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
    }
}
