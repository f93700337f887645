//! Everything that a request's head decides, before its body is read: is it clear, is there a route, who asks, may they, how often.

use std::{net::SocketAddr, time::Duration};

use http::{HeaderMap, Method, Version, header};
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use service_base::{
    context::{RequestContext, is_recording},
    peer,
    problem::{Code, Problem},
    wire::{grpc_timeout, is_grpc, known_method},
};
use tracing::{Span, field::Empty};

use super::{
    Ctx, Gateway,
    head::{declared_length, expects_continue, is_coded, path_of},
};
use crate::{
    authenticate::{authenticate, authorize},
    config::millis,
    hygiene::{self, Flaw},
    limits::{Caller, Taken},
    observe::SERVICE,
    refusal::Refusal,
    routes::{self, Access, Patience, Probe, Route, Target, Upstream},
    shares::Owner,
};

/// The upstream knows the caller's gRPC deadline too, and its answer says more than ours: let it come first.
const DEADLINE_GRACE: Duration = Duration::from_millis(250);

/// As the order service says it.
const OVERLOADED_RETRY_AFTER: Duration = Duration::from_secs(1);
const IDEMPOTENCY_KEY: &str = "idempotency-key";

impl Gateway {
    /// Learns what can be known from the head alone.
    pub(super) fn begin(&self, session: &mut Session, ctx: &mut Ctx) {
        let head = session.req_header();
        ctx.context = RequestContext::extract_outside(&head.headers, self.config.trust_callers_traces, &*self.ids);
        ctx.is_http2 = head.version == Version::HTTP_2;
        ctx.is_grpc = is_grpc(&head.headers);
        ctx.method = head.method.to_string();
        ctx.path = String::from_utf8_lossy(path_of(head.raw_path())).into_owned();
        let peer = session.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip);
        ctx.client = peer.map(|peer| peer::caller(peer, &head.headers, &self.config.trusted_proxies));
        ctx.active = Some(self.observer.began(ctx.protocol()));
        ctx.awaited = Some(self.awaited.token());
        // While orders are refused for want of room, a span for each would be more load: one that is let through has its span from then on.
        if is_order(&ctx.method, &ctx.path) && self.throttle.refuses_some(self.clock.moment()) {
            ctx.trace_id = ctx.context.trace_id();
        } else {
            open_span(ctx);
        }
    }

    /// Everything that the head alone decides: the route, and on whose account the request goes.
    pub(super) async fn admit(&self, session: &mut Session, ctx: &mut Ctx) -> Result<(Route, Owner), Refusal> {
        let head = session.req_header();
        let method = head.method.clone();
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return Err(Flaw::MethodNotAllowed.into());
        }
        if head.headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
            return Err(Flaw::AuthorizationRepeated.into());
        }
        hygiene::check_path(&ctx.path)?;
        expects_continue(head)?;
        if ctx.is_grpc && !ctx.is_http2 {
            return Err(Refusal::of(Code::BadRequest, "gRPC needs HTTP/2"));
        }
        let Some(route) = routes::find(&method, &ctx.path, ctx.is_grpc).filter(|route| self.is_served(*route)) else {
            return Err(self.unmatched(&method, ctx).await);
        };
        ctx.route = Some(route);
        if route.patience == Patience::Stream {
            // Shutdown ends it early: its caller opens another one elsewhere.
            ctx.awaited = None;
        }
        if !ctx.span.is_disabled() {
            ctx.span.record("http.route", route.name);
        }
        let (patience, is_callers) = self.patience(route, session.req_header());
        ctx.deadline = ctx.began + patience;
        ctx.is_callers_deadline = is_callers;

        let address = ctx.address();
        let owner = match route.access {
            // Health checks must be answered, however many arrive and whether or not they can be counted.
            Access::Public if !matches!(route.target, Target::Forward(_)) => Owner::from(address),
            Access::Public => {
                self.limit(Caller::Address(address)).await?;
                Owner::from(address)
            }
            Access::Probe(_) => {
                self.limit(Caller::Probe(address)).await?;
                Owner::from(address)
            }
            access => {
                let verified = authenticate(&self.verifier, address, &session.req_header().headers).await;
                match verified {
                    Ok(claims) => {
                        ctx.subject = Some(claims.sub.clone());
                        self.limit(Caller::Subject(&claims.sub)).await?;
                        authorize(&claims, access)?;
                        Owner::of(&claims.sub)
                    }
                    Err(refusal) => {
                        // A caller without a good token is counted by address, so that guessing has a price. Good tokens from
                        // the same address are not: many honest callers share one.
                        self.limit(Caller::Address(address)).await?;
                        return Err(refusal);
                    }
                }
            }
        };
        let head = session.req_header();
        if is_coded(&head.headers) {
            let detail = "the body is coded; send it as it is";
            // RFC 9110, section 15.5.16: what would be read.
            return Err(Refusal::of(Code::UnsupportedMediaType, detail).header(header::ACCEPT_ENCODING, "identity"));
        }
        if declared_length(head).is_some_and(|length| length > self.config.limits.body_bytes) {
            return Err(self.too_large());
        }
        self.throttle(ctx, &method, &head.headers)?;
        Ok((route, owner))
    }

    /// Refuses an order that the order service would refuse for want of room.
    fn throttle(&self, ctx: &mut Ctx, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        let is_order = is_order(method.as_str(), &ctx.path);
        let (true, Some(subject), Some(key)) = (is_order, &ctx.subject, headers.get(IDEMPOTENCY_KEY)) else {
            return Ok(());
        };
        let mark = self.throttle.mark(subject, key.as_bytes());
        if !self.throttle.passes(mark, self.clock.moment()) {
            let detail = "more orders arrive than can be finished in reasonable time; this request did nothing";
            return Err(Problem::of(Code::Overloaded, detail).retry_after(OVERLOADED_RETRY_AFTER).into());
        }
        ctx.mark = Some(mark);
        Ok(())
    }

    /// Whether the configuration lets requests take that route.
    fn is_served(&self, route: Route) -> bool {
        match route.access {
            Access::Probe(Probe::Health) => self.config.probes.health,
            Access::Probe(Probe::Reflection) => self.config.probes.reflection,
            Access::Public | Access::Token | Access::AnyScope(_) => true,
        }
    }

    /// Says what is wrong with a request that matches no route. Unmatched paths are rate-limited too.
    async fn unmatched(&self, method: &Method, ctx: &Ctx) -> Refusal {
        if let Err(refusal) = self.limit(Caller::Address(ctx.address())).await {
            return refusal;
        }
        if ctx.is_grpc {
            return Refusal::of(Code::MethodNotAllowed, "there is no such gRPC service here");
        }
        if routes::is_grpc_path(&ctx.path) {
            let detail = "gRPC needs HTTP/2 and the content type application/grpc";
            return Refusal::of(Code::UnsupportedMediaType, detail);
        }
        if *method != Method::GET && routes::find(&Method::GET, &ctx.path, false).is_some() {
            return Refusal::from(Problem::from(Code::MethodNotAllowed)).header(header::ALLOW, "GET, HEAD");
        }
        Problem::from(Code::NotFound).into()
    }

    async fn limit(&self, caller: Caller<'_>) -> Result<(), Refusal> {
        match self.limiter.take(caller).await {
            Ok(Taken::Yes) => Ok(()),
            Ok(Taken::No { retry_after }) => Err(Problem::from(Code::RateLimited).retry_after(retry_after).into()),
            Err(error) => {
                tracing::warn!(%error, "refusing a request whose rate nobody can say");
                Err(Refusal::unavailable("requests cannot be counted at the moment"))
            }
        }
    }

    /// How long a request may take, and whether that is the caller's own wish.
    fn patience(&self, route: Route, head: &RequestHeader) -> (Duration, bool) {
        let timeouts = &self.config.timeouts;
        let ours = millis(match route.patience {
            Patience::Short => timeouts.identity_ms,
            Patience::Answer => timeouts.answer_ms,
            Patience::Stream | Patience::Dialogue => timeouts.stream_ms,
        });
        match grpc_timeout(&head.headers).map(|theirs| theirs.saturating_add(DEADLINE_GRACE)) {
            Some(theirs) if theirs < ours => (theirs, true),
            _ => (ours, false),
        }
    }

    pub(super) fn too_large(&self) -> Refusal {
        let detail = format!("the body is larger than {} bytes", self.config.limits.body_bytes);
        Refusal::of(Code::PayloadTooLarge, detail)
    }
}

/// Whether a request places an order: what is refused for want of room.
fn is_order(method: &str, path: &str) -> bool {
    method == "POST" && path == routes::ORDERS
}

/// Begins the request's span, and takes over its trace. Its name is final: the route is looked up for it where it is not known yet.
pub(super) fn open_span(ctx: &mut Ctx) {
    let known = || {
        Method::from_bytes(ctx.method.as_bytes()).ok().and_then(|method| routes::find(&method, &ctx.path, ctx.is_grpc))
    };
    let route = ctx.route.or_else(known);
    // A load balancer asks every second; a trace of each would be most of all traces.
    if route.is_some_and(|route| !matches!(route.target, Target::Forward(_))) {
        ctx.trace_id = ctx.context.trace_id();
        return;
    }
    ctx.span = tracing::info_span!(
        "http.request",
        otel.name = span_name(ctx, route),
        otel.kind = "server",
        otel.status_code = Empty,
        service = SERVICE,
        http.request.method = known_method(&ctx.method),
        http.route = ctx.route.map(|route| route.name),
        http.response.status_code = Empty,
        rpc.status_code = Empty,
        url.path = ctx.path,
        error.type = Empty,
        correlation_id = %ctx.context.correlation,
    );
    ctx.context = ctx.context.clone().in_span(&ctx.span, SERVICE);
    ctx.trace_id = ctx.context.trace_id();
}

/// Begins the span of one attempt to have the request answered; none where nothing is recorded.
pub(super) fn open_attempt(ctx: &mut Ctx, upstream: Upstream, address: SocketAddr) {
    let (context, parent, route) = (&ctx.context, &ctx.span, ctx.route);
    ctx.attempt = context.in_scope(parent, || {
        if !is_recording() {
            return Span::none();
        }
        tracing::info_span!(
            "http.client",
            otel.name = span_name(ctx, route),
            otel.kind = "client",
            otel.status_code = Empty,
            http.request.method = known_method(&ctx.method),
            http.response.status_code = Empty,
            rpc.method = ctx.is_grpc.then(|| ctx.route_name().trim_start_matches('/')),
            rpc.status_code = Empty,
            url.template = ctx.route_name(),
            server.address = %address.ip(),
            server.port = i64::from(address.port()),
            peer.service = upstream.name(),
            service.peer.name = upstream.name(),
            retry.attempt = i64::try_from(ctx.tried.len()).unwrap_or(i64::MAX),
            error.type = Empty,
        )
    });
}

/// `METHOD route`, and for gRPC `package.Service/Method`.
fn span_name(ctx: &Ctx, route: Option<Route>) -> String {
    let route = route.map_or("unmatched", |route| route.name);
    if ctx.is_grpc {
        route.trim_start_matches('/').to_owned()
    } else {
        format!("{} {route}", known_method(&ctx.method))
    }
}
