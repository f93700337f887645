//! The request's way through the gateway, phase by phase, in the order in which they run:
//! refuse the ambiguous, find the route, authenticate, limit, receive, choose an upstream, clean, pass on, and say what happened.

mod admit;
mod answer;
mod ctx;
mod head;
mod receive;

use std::{sync::Arc, time::Duration};

use amends_auth::Verifier;
use amends_primitives::{Clock, IdSource};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, header};
use pingora_core::{
    Error, ErrorSource, ErrorType, Result, RetryType, modules::http::HttpModules, protocols::Digest,
    upstreams::peer::HttpPeer,
};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use service_base::{
    code::Code,
    context::CORRELATION_HEADER,
    metrics::TraceLabel,
    problem::OVERLOADED_HEADER,
    wire::{code_name, is_server_fault},
};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, Span};

use self::{
    admit::{open_attempt, open_span},
    answer::{judge, stream_expired},
    ctx::Ctx,
    head::origin_form,
};
use crate::{
    admission::Admission,
    config::{Config, millis},
    headers,
    health::Health,
    hygiene::Flaw,
    limits::Limiter,
    observe::{Observer, Outcome, Summary},
    routes::{Access, Route, Target, Upstream},
    throttle::Throttle,
    upstream::Resolver,
};

/// Addresses of one upstream that one request tries.
const ADDRESSES_MAX: usize = 3;

/// The gateway as Pingora runs it.
pub(crate) struct Gateway {
    pub(crate) config: Config,
    pub(crate) verifier: Verifier,
    pub(crate) limiter: Limiter,
    pub(crate) resolver: Resolver,
    pub(crate) observer: Observer,
    pub(crate) health: Health,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Refuses orders that the order service would refuse for want of room.
    pub(crate) throttle: Throttle,
    /// What callers may hold at once.
    pub(crate) admission: Admission,
    /// Counts the requests that shutdown waits for.
    pub(crate) awaited: TaskTracker,
}

impl Gateway {
    /// Has an answer over HTTP/1 say that it is the last on its connection, where it is.
    fn last_if_stopping(&self, session: &mut Session) {
        if self.health.is_stopping() {
            session.set_keepalive(None);
        }
    }

    /// Ends an attempt, for the metrics per upstream.
    fn attempt_ended(&self, ctx: &mut Ctx, outcome: Outcome) {
        if let (Some(asked), Some(upstream)) = (ctx.asked.take(), ctx.upstream()) {
            show_outcome(&std::mem::replace(&mut ctx.attempt, Span::none()), outcome);
            self.observer.answered(
                upstream.name(),
                ctx.route_name(),
                &ctx.method,
                outcome,
                asked.elapsed(),
                TraceLabel::of(&ctx.span),
            );
        }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        Ctx::fresh(&*self.ids, millis(self.config.timeouts.answer_ms))
    }

    fn init_downstream_modules(&self, _: &mut HttpModules) {
        // Pingora's default adds a compressor. Bodies pass as they are: services compress where it pays.
    }

    async fn early_request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<()> {
        let timeouts = &self.config.timeouts;
        session.set_read_timeout(Some(millis(timeouts.body_ms)));
        session.set_write_timeout(Some(millis(timeouts.write_ms)));
        session.set_total_drain_timeout(Some(Duration::from_secs(1)));
        self.begin(session, ctx);
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Ctx) -> Result<bool> {
        let span = ctx.span.clone();
        let context = ctx.context.clone();
        let admitted = context.scope(self.admit(session, ctx).instrument(span)).await;
        if ctx.span.is_none() && !admitted.as_ref().is_err_and(|refusal| refusal.code() == Code::Overloaded) {
            open_span(ctx);
        }
        let refusal = match admitted {
            Ok((route @ Route { target: Target::Forward(_), .. }, owner)) => {
                match self.receive(session, ctx, route, &owner).await? {
                    Ok(()) => {
                        origin_form(session.req_header_mut())?;
                        return Ok(false);
                    }
                    Err(refusal) => refusal,
                }
            }
            Ok((route, _)) => {
                self.answer_health(session, ctx, route.target).await?;
                return Ok(true);
            }
            Err(refusal) => refusal,
        };
        self.refuse(session, ctx, &refusal).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        let upstream =
            ctx.upstream().ok_or_else(|| Error::explain(ErrorType::InternalError, "a request without upstream"))?;
        match self.resolver.next(upstream, &ctx.tried).await {
            Ok((address, addresses)) => {
                ctx.addresses = addresses;
                ctx.asked = Some(Instant::now());
                // Each attempt sends the body from its beginning.
                ctx.body_bytes = 0;
                if !ctx.tried.is_empty() {
                    self.observer.retried(upstream.name());
                }
                ctx.tried.push(address);
                open_attempt(ctx, upstream, address);
                let mut left = ctx.left();
                if ctx.body_since.is_some() {
                    left = left.min(millis(self.config.timeouts.body_whole_ms));
                }
                Ok(self.resolver.peer(upstream, address, left))
            }
            Err(error) => Err(Error::because(ErrorType::ConnectNoRoute, "no address", error).into_up()),
        }
    }

    async fn connected_to_upstream(
        &self,
        _: &mut Session,
        _reused: bool,
        _: &HttpPeer,
        _: std::os::unix::io::RawFd,
        _: Option<&Digest>,
        _: &mut Ctx,
    ) -> Result<()> {
        Ok(())
    }

    async fn upstream_request_filter(&self, _: &mut Session, request: &mut RequestHeader, ctx: &mut Ctx) -> Result<()> {
        for name in headers::forbidden(&request.headers, ctx.is_grpc) {
            request.remove_header(&name);
        }
        let mut carried = HeaderMap::new();
        let sender = if ctx.attempt.is_none() { &ctx.span } else { &ctx.attempt };
        sender.in_scope(|| ctx.context.inject_into(&mut carried));
        request.remove_header("tracestate");
        for (name, value) in &carried {
            request.insert_header(name.clone(), value.clone())?;
        }
        if let Some(client) = ctx.client {
            request.insert_header("x-forwarded-for", client.to_string())?;
        }
        request.insert_header("x-forwarded-proto", if self.config.tls.is_some() { "https" } else { "http" })?;
        // The caller's Host is the caller's text, and no service behind the gateway serves more than one host.
        if let Some(upstream) = ctx.upstream() {
            request.insert_header(header::HOST, self.resolver.authority(upstream))?;
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.body_bytes += body.as_ref().map_or(0, |part| part.len() as u64);
        if ctx.body_bytes > self.config.limits.body_bytes {
            ctx.pending = Some(self.too_large());
            return Err(Error::explain(ErrorType::HTTPStatus(413), "the body is too large").into_down());
        }
        if ctx.is_late() {
            ctx.pending = Some(if ctx.has_stream_age() { stream_expired() } else { Flaw::BodyTooSlow.into() });
            return Err(Error::explain(ErrorType::ReadTimedout, "the body took too long").into_down());
        }
        self.check_pace(ctx, is_end)
    }

    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Ctx,
    ) -> Result<()> {
        if response.status.is_informational() {
            return Ok(());
        }
        if let Some(code) = response.headers.get("grpc-status") {
            ctx.grpc_code = Some(tonic::Code::from_bytes(code.as_bytes()));
        }
        // What a gRPC answer is worth is known at its end.
        if !ctx.is_grpc {
            self.attempt_ended(ctx, Outcome::Answered { status: response.status.as_u16(), grpc_code: None });
        }
        self.last_if_stopping(session);
        response.remove_header("x-powered-by");
        ctx.is_shed = response.remove_header(&OVERLOADED_HEADER).is_some();
        if let Some(mark) = ctx.mark.take() {
            self.throttle.answered(mark, !ctx.is_shed, self.clock.moment());
        }
        response.insert_header(CORRELATION_HEADER, ctx.context.correlation.as_str())?;
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        _: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Ctx,
    ) -> Result<Option<Duration>> {
        if ctx.is_late() {
            return Err(Error::explain(ErrorType::ReadTimedout, "the answer took too long").into_up());
        }
        Ok(None)
    }

    fn upstream_response_trailer_filter(&self, _: &mut Session, trailers: &mut HeaderMap, ctx: &mut Ctx) -> Result<()> {
        if let Some(code) = trailers.get("grpc-status") {
            ctx.grpc_code = Some(tonic::Code::from_bytes(code.as_bytes()));
        }
        Ok(())
    }

    /// Nothing was sent, so any request may go to another address; to the same one it would be refused the same way.
    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, ctx: &mut Ctx, mut error: Box<Error>) -> Box<Error> {
        self.attempt_ended(ctx, Outcome::Unreachable);
        let others = ctx.tried.len() < ctx.addresses.min(ADDRESSES_MAX);
        error.set_retry(others && !ctx.is_late());
        error
    }

    /// Something may have been sent. A request that the upstream says it has not begun is sent again. One that may safely happen twice is
    /// sent again where the connection broke before any answer; one that is harmless twice, but not meant so, only where Pingora saw that
    /// the upstream was closing a kept connection.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Ctx,
        reused: bool,
    ) -> Box<Error> {
        self.attempt_ended(ctx, Outcome::Broken);
        let mut error = error.more_context(format!("upstream {peer}"));
        // GOAWAY and REFUSED_STREAM name the streams that were not processed.
        let is_untouched = matches!(error.retry, RetryType::Decided(true)) && *error.etype() == ErrorType::H2Error;
        ctx.in_doubt |= !is_untouched;
        let may_repeat = ctx.tried.len() < ADDRESSES_MAX
            && session.response_written().is_none_or(|written| written.status.is_informational())
            && !session.as_ref().retry_buffer_truncated()
            && !ctx.is_late();
        match repeats(session.req_header(), ctx) {
            _ if !may_repeat => error.set_retry(false),
            _ if is_untouched => error.set_retry(true),
            Repeats::Meant if is_broken(&error) => error.set_retry(true),
            Repeats::Meant | Repeats::Harmless => error.retry.decide_reuse(reused),
            Repeats::Never => error.set_retry(false),
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        self.attempt_ended(ctx, Outcome::Broken);
        let span = ctx.span.clone();
        let context = ctx.context.clone();
        let refusal = ctx.pending.take().or_else(|| context.in_scope(&span, || judge(error, ctx)));
        // What is left of the request, and of the upstream's answer, is not worth guessing about.
        session.set_keepalive(None);
        let Some(refusal) = refusal else { return FailToProxy { error_code: 0, can_reuse_downstream: false } };
        if session.response_written().is_some_and(|written| !written.status.is_informational()) {
            // Too late for another status; a gRPC stream can still end with one.
            if ctx.is_grpc && ctx.is_http2 {
                ctx.grpc_code = Some(refusal.grpc_code());
                ctx.refused = Some(refusal.code());
                let mut trailers = refusal.grpc();
                trailers.remove(header::CONTENT_TYPE);
                let _ = session.write_response_trailers(trailers).await;
            }
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        }
        let error_code = self.refuse(session, ctx, &refusal).await.unwrap_or(0);
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Ctx) {
        let status = session.response_written().map_or(0, |response| response.status.as_u16());
        let is_answered = error.is_none() || ctx.grpc_code.is_some();
        let answered = Outcome::Answered { status, grpc_code: ctx.grpc_code };
        self.attempt_ended(ctx, if is_answered { answered } else { Outcome::Broken });
        let is_gone = status == 0 || error.is_some_and(|error| *error.esource() == ErrorSource::Downstream);
        if is_gone && ctx.is_grpc && ctx.grpc_code.is_none() {
            ctx.grpc_code = Some(tonic::Code::Cancelled);
        }
        ctx.span.record("http.response.status_code", i64::from(status));
        if let Some(code) = ctx.grpc_code {
            ctx.span.record("rpc.status_code", service_base::wire::code_name(code));
        }
        if status == 0 || status >= 500 || ctx.grpc_code.is_some_and(service_base::wire::is_server_fault) {
            ctx.span.record("otel.status_code", "ERROR");
            ctx.span.record("error.type", ctx.refused.map_or("upstream", Code::as_str));
        }
        let placed =
            session.response_written().and_then(|response| response.headers.get(header::LOCATION)?.to_str().ok());
        let summary = Summary {
            order: order_of(&ctx.path).or_else(|| placed.and_then(order_of)),
            protocol: ctx.protocol(),
            method: &ctx.method,
            path: &ctx.path,
            route: ctx.route_name(),
            status,
            grpc_code: ctx.grpc_code,
            took: ctx.began.elapsed(),
            request_bytes: ctx.body_bytes,
            response_bytes: session.body_bytes_sent() as u64,
            client: ctx.client,
            subject: ctx.subject.as_deref(),
            upstream: ctx.upstream().filter(|_| !ctx.tried.is_empty()).map(Upstream::name),
            refused: ctx.refused,
            is_shed: ctx.is_shed || ctx.refused == Some(Code::Overloaded),
            is_probe: ctx.route.is_some_and(|route| !matches!(route.target, Target::Forward(_))),
            correlation_id: ctx.context.correlation.as_str(),
            trace_id: &ctx.trace_id,
            error: error.map(ToString::to_string),
        };
        ctx.context.in_scope(&ctx.span, || self.observer.ended(&summary));
    }

    /// Said once, in our own line.
    fn suppress_error_log(&self, _: &Session, _: &Ctx, _: &Error) -> bool {
        true
    }

    /// Counted, and a field of the span.
    fn suppress_proxy_warn_log(&self, _: &Session, _: &Ctx, _: &Error, _: ProxyWarnLogContext) -> bool {
        true
    }
}

/// Says in an attempt's span how it ended.
fn show_outcome(attempt: &Span, outcome: Outcome) {
    let error = match outcome {
        Outcome::Answered { status, grpc_code } => {
            attempt.record("http.response.status_code", i64::from(status));
            if let Some(code) = grpc_code {
                attempt.record("rpc.status_code", code_name(code));
            }
            match grpc_code {
                Some(code) if is_server_fault(code) => Some(code_name(code)),
                _ if status >= 500 => Some("5xx"),
                _ => None,
            }
        }
        Outcome::Unreachable => Some("unreachable"),
        Outcome::Broken => Some("broken"),
    };
    if let Some(error) = error {
        attempt.record("otel.status_code", "ERROR").record("error.type", error);
    }
}

/// The order that a path names. What is no id is a caller's text, which no line repeats in the place of one.
fn order_of(path: &str) -> Option<&str> {
    let id = path.strip_prefix("/v1/orders/")?.split('/').next()?;
    (id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')).then_some(id)
}

/// Whether a request may happen twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeats {
    /// Reads, orders under a key, which is what the key is for, and cancelling, which twice is once.
    Meant,
    /// Tokens: one that is made and lost on its way cannot be used, and expires.
    Harmless,
    /// Everything else.
    Never,
}

fn repeats(head: &RequestHeader, ctx: &Ctx) -> Repeats {
    let meant = if ctx.is_grpc {
        // Creating and cancelling are idempotent too, but only the order service can read whether the key is there.
        let reads = Access::AnyScope(&["orders:read", "orders:admin"]);
        ctx.route.is_some_and(|Route { access, .. }| access == reads || matches!(access, Access::Probe(_)))
    } else {
        let is_cancel = ctx.upstream() == Some(Upstream::OrderHttp) && ctx.path.ends_with("/cancel");
        head.method.is_idempotent() || head.headers.contains_key("idempotency-key") || is_cancel
    };
    match ctx.upstream() {
        _ if meant => Repeats::Meant,
        Some(Upstream::Identity) => Repeats::Harmless,
        _ => Repeats::Never,
    }
}

/// Whether the connection to the upstream broke, as it does when a replica goes away; a time-out is something else.
fn is_broken(error: &Error) -> bool {
    use ErrorType as E;
    *error.esource() == ErrorSource::Upstream
        && matches!(error.etype(), E::ConnectionClosed | E::ReadError | E::WriteError | E::H2Error)
}
