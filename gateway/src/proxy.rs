//! The request's way through the gateway, phase by phase, in the order in which they run:
//! refuse the ambiguous, find the route, authenticate, limit, choose an upstream, clean, pass on, and say what happened.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use amends_primitives::IdSource;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri, Version, header};
use pingora_core::{
    Error, ErrorSource, ErrorType, Result,
    modules::http::HttpModules,
    protocols::{Digest, http::HttpTask},
    upstreams::peer::HttpPeer,
};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use service_kit::{
    auth::Verifier,
    context::{CORRELATION_HEADER, RequestContext},
    problem::{ErrorKind, Problem},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tracing::{Instrument as _, Span, field::Empty};

use crate::{
    authenticate::{authenticate, authorize},
    client::caller,
    config::{Config, millis},
    headers,
    health::Health,
    hygiene::{self, Flaw},
    limits::{Caller, Limiter, Taken},
    observe::{Counted, Observer, Outcome, SERVICE, Summary, is_fault, known_method},
    refusal::Refusal,
    routes::{self, Access, Patience, Route, Target, Upstream},
    stream::FramingError,
    upstream::Places,
};

/// Addresses of one upstream that one request tries.
const ADDRESSES_MAX: usize = 3;
/// The upstream knows the caller's gRPC deadline too, and its answer says more than ours: let it come first.
const DEADLINE_GRACE: Duration = Duration::from_millis(250);

/// The gateway as Pingora runs it.
pub(crate) struct Gateway {
    pub(crate) config: Config,
    pub(crate) verifier: Verifier,
    pub(crate) limiter: Limiter,
    pub(crate) places: Places,
    pub(crate) observer: Observer,
    pub(crate) health: Health,
    pub(crate) ids: Arc<dyn IdSource>,
    /// Places for requests being answered.
    pub(crate) places_left: Arc<Semaphore>,
}

/// What is known about one request. Filled phase by phase.
pub(crate) struct Ctx {
    began: Instant,
    context: RequestContext,
    span: Span,
    trace_id: String,
    method: String,
    path: String,
    client: Option<IpAddr>,
    is_grpc: bool,
    is_http2: bool,
    route: Option<Route>,
    deadline: Instant,
    subject: Option<String>,
    body_bytes: u64,
    tried: Vec<SocketAddr>,
    /// How many addresses the upstream has.
    addresses: usize,
    /// When the current attempt began.
    asked: Option<Instant>,
    grpc_code: Option<tonic::Code>,
    /// Why we refuse while the body is still on its way; `fail_to_proxy` says it.
    pending: Option<Refusal>,
    refused: Option<String>,
    /// Its place among the requests being answered.
    place: Option<OwnedSemaphorePermit>,
    /// Set once the request is known; counts it as active.
    active: Option<Counted>,
}

impl Ctx {
    fn route_name(&self) -> &'static str {
        self.route.map_or("unmatched", |route| route.name)
    }

    fn upstream(&self) -> Option<Upstream> {
        match self.route?.target {
            Target::Forward(upstream) => Some(upstream),
            Target::Liveness | Target::Readiness => None,
        }
    }

    /// Time left; never zero, which Pingora would take for "no bound" in places.
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
    }

    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
    }

    fn protocol(&self) -> &'static str {
        if self.is_grpc { "grpc" } else { "http" }
    }
}

impl Gateway {
    /// Learns what can be known from the head alone.
    fn begin(&self, session: &mut Session, ctx: &mut Ctx) {
        let head = session.req_header();
        ctx.context = RequestContext::extract(&head.headers, &*self.ids);
        ctx.is_http2 = head.version == Version::HTTP_2;
        ctx.is_grpc = is_grpc(&head.headers);
        ctx.method = head.method.to_string();
        ctx.path = String::from_utf8_lossy(path_of(head.raw_path())).into_owned();
        let peer = session.client_addr().and_then(|address| address.as_inet()).map(SocketAddr::ip);
        ctx.client = peer.map(|peer| caller(peer, &head.headers, &self.config.trusted_proxies));
        ctx.active = Some(self.observer.began(ctx.protocol()));
        ctx.span = tracing::info_span!(
            "http.request",
            otel.name = Empty,
            otel.kind = "server",
            otel.status_code = Empty,
            service = SERVICE,
            http.request.method = known_method(&ctx.method),
            http.route = Empty,
            http.response.status_code = Empty,
            rpc.response.status_code = Empty,
            url.path = ctx.path,
            peer.service = Empty,
            error.type = Empty,
            retry.attempt = Empty,
            correlation_id = %ctx.context.correlation,
        );
        ctx.context.adopt(&ctx.span);
        ctx.trace_id =
            ctx.span.in_scope(service_kit::context::current_trace_id).unwrap_or_else(|| ctx.context.trace_id());
    }

    /// Everything that is decided before anybody behind us hears of the request.
    async fn admit(&self, session: &mut Session, ctx: &mut Ctx) -> Result<Route, Refusal> {
        let head = session.req_header();
        let method = head.method.clone();
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return Err(Flaw::MethodNotAllowed.into());
        }
        if head.headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
            return Err(Flaw::AuthorizationRepeated.into());
        }
        hygiene::check_path(&ctx.path)?;
        if ctx.is_grpc && !ctx.is_http2 {
            return Err(Refusal::new(ErrorKind::Malformed, "bad_request", "gRPC needs HTTP/2"));
        }
        let Some(route) = routes::find(&method, &ctx.path, ctx.is_grpc) else {
            return Err(self.unmatched(&method, ctx).await);
        };
        ctx.route = Some(route);
        ctx.span.record("http.route", route.name);
        ctx.span.record("otel.name", format!("{} {}", known_method(&ctx.method), route.name));
        ctx.deadline = ctx.began + self.patience(route, session.req_header());

        if matches!(route.target, Target::Forward(_)) {
            ctx.place = Arc::clone(&self.places_left).try_acquire_owned().ok();
            if ctx.place.is_none() {
                let problem = Problem::new(ErrorKind::Unavailable, "overloaded", "too many requests at once");
                return Err(problem.retry_after(Duration::from_secs(1)).into());
            }
        }
        match route.access {
            // Whoever watches over us must hear from us, however many ask and whether or not they can be counted.
            Access::Public if !matches!(route.target, Target::Forward(_)) => {}
            Access::Public => self.limit(Caller::Address(client_of(ctx))).await?,
            access => {
                let verified = authenticate(&self.verifier, &session.req_header().headers).await;
                match verified {
                    Ok(claims) => {
                        ctx.subject = Some(claims.sub.clone());
                        self.limit(Caller::Subject(&claims.sub)).await?;
                        authorize(&claims, access)?;
                    }
                    Err(refusal) => {
                        // Whoever sends no good token is counted by address, so that guessing has a price. Good tokens from
                        // the same address are not: many honest callers share one.
                        self.limit(Caller::Address(client_of(ctx))).await?;
                        return Err(refusal);
                    }
                }
            }
        }
        if declared_length(session.req_header()).is_some_and(|length| length > self.config.limits.body_bytes) {
            return Err(self.too_large());
        }
        Ok(route)
    }

    /// Says what is wrong with a request no route takes. Counted too: looking for open doors has the price of knocking.
    async fn unmatched(&self, method: &Method, ctx: &Ctx) -> Refusal {
        if let Err(refusal) = self.limit(Caller::Address(client_of(ctx))).await {
            return refusal;
        }
        if ctx.is_grpc {
            return Refusal::new(ErrorKind::MethodNotAllowed, "not_found", "there is no such gRPC service here");
        }
        if routes::is_grpc_path(&ctx.path) {
            let detail = "gRPC needs HTTP/2 and the content type application/grpc";
            return Refusal::new(ErrorKind::UnsupportedMediaType, "unsupported_media_type", detail);
        }
        if *method != Method::GET && routes::find(&Method::GET, &ctx.path, false).is_some() {
            return Refusal::new(
                ErrorKind::MethodNotAllowed,
                "method_not_allowed",
                "this path does not know that method",
            )
            .header(header::ALLOW, "GET, HEAD");
        }
        Refusal::new(ErrorKind::NotFound, "not_found", "there is nothing at this path")
    }

    async fn limit(&self, caller: Caller<'_>) -> Result<(), Refusal> {
        match self.limiter.take(caller).await {
            Ok(Taken::Yes) => Ok(()),
            Ok(Taken::No { retry_after }) => {
                let detail = "too many requests; slow down";
                Err(Problem::new(ErrorKind::RateLimited, "rate_limited", detail).retry_after(retry_after).into())
            }
            Err(error) => {
                tracing::warn!(%error, "refusing a request whose rate nobody can say");
                Err(Refusal::unavailable("requests cannot be counted at the moment"))
            }
        }
    }

    fn patience(&self, route: Route, head: &RequestHeader) -> Duration {
        let timeouts = &self.config.timeouts;
        let ours = millis(match route.patience {
            Patience::Short => timeouts.identity_ms,
            Patience::Answer => timeouts.answer_ms,
            Patience::Stream => timeouts.stream_ms,
        });
        grpc_timeout(&head.headers).map_or(ours, |theirs| ours.min(theirs.saturating_add(DEADLINE_GRACE)))
    }

    fn too_large(&self) -> Refusal {
        let detail = format!("the body is larger than {} bytes", self.config.limits.body_bytes);
        Refusal::new(ErrorKind::TooLarge, "payload_too_large", detail)
    }

    /// Answers with a refusal, in the caller's language.
    async fn refuse(&self, session: &mut Session, ctx: &mut Ctx, refusal: &Refusal) -> Result<u16> {
        ctx.refused = Some(refusal.code().to_owned());
        let correlation = ctx.context.correlation.as_str();
        if ctx.is_grpc && ctx.is_http2 {
            ctx.grpc_code = Some(refusal.grpc_code());
            // Trailers-only: one block of headers that ends the stream.
            let mut answer = ResponseHeader::build(StatusCode::OK, None)?;
            copy_headers(&refusal.grpc(), &mut answer)?;
            answer.insert_header(CORRELATION_HEADER, correlation)?;
            session.write_response_tasks(vec![HttpTask::Header(Box::new(answer), true)]).await?;
            return Ok(200);
        }
        let (status, headers, body) = refusal.http(Some(&ctx.trace_id));
        if status == StatusCode::BAD_REQUEST {
            // Whoever sends nonsense once does not get to have it read as two requests.
            session.set_keepalive(None);
        }
        let mut answer = ResponseHeader::build(status, None)?;
        copy_headers(&headers, &mut answer)?;
        answer.insert_header(CORRELATION_HEADER, correlation)?;
        write(session, ctx, answer, body).await?;
        Ok(status.as_u16())
    }

    /// Answers a question about the gateway itself.
    async fn answer_health(&self, session: &mut Session, ctx: &Ctx, target: Target) -> Result<()> {
        let (status, body) = match target {
            Target::Readiness => self.health.ready().await,
            Target::Liveness | Target::Forward(_) => (StatusCode::OK, Bytes::from_static(br#"{"status":"ok"}"#)),
        };
        let mut answer = ResponseHeader::build(status, None)?;
        answer.insert_header(header::CONTENT_TYPE, "application/json")?;
        answer.insert_header(header::CACHE_CONTROL, "no-store")?;
        answer.insert_header(header::CONTENT_LENGTH, body.len())?;
        answer.insert_header(CORRELATION_HEADER, ctx.context.correlation.as_str())?;
        write(session, ctx, answer, body).await
    }

    /// What an error that Pingora met means for the caller; `None` when the caller is gone.
    fn judge(error: &Error, ctx: &Ctx) -> Option<Refusal> {
        use ErrorType as E;
        let cause = error.root_cause().downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if cause.and_then(|cause| cause.downcast_ref::<FramingError>()).is_some() {
            return Some(Flaw::ChunkInvalid.into());
        }
        let timeout = |detail: &str| Some(Refusal::new(ErrorKind::Timeout, "timeout", detail));
        match (error.esource(), error.etype()) {
            (ErrorSource::Downstream, E::ReadTimedout) => Some(Flaw::BodyTooSlow.into()),
            (ErrorSource::Downstream, E::InvalidHTTPHeader) => {
                Some(Refusal::new(ErrorKind::Malformed, "bad_request", "the request's headers contradict each other"))
            }
            (ErrorSource::Downstream, _) => None,
            (ErrorSource::Upstream, E::ReadTimedout | E::WriteTimedout) => {
                timeout("the service behind did not answer in time")
            }
            (
                ErrorSource::Upstream,
                E::ConnectTimedout
                | E::ConnectRefused
                | E::ConnectNoRoute
                | E::ConnectError
                | E::HandshakeError
                | E::SocketError
                | E::BindError
                | E::TLSHandshakeFailure
                | E::TLSHandshakeTimedout,
            ) => Some(Refusal::unavailable("the service behind cannot be reached at the moment")),
            (ErrorSource::Upstream, _) if ctx.is_late() => timeout("the service behind did not answer in time"),
            // It was reached, and what happened then is not known: 502, so that nobody takes it for "nothing happened".
            (ErrorSource::Upstream, _) => Some(
                Problem::new(
                    ErrorKind::BadGateway,
                    "dependency_unavailable",
                    "the service behind broke off its answer",
                )
                .retry_after(Duration::from_secs(1))
                .into(),
            ),
            (ErrorSource::Internal | ErrorSource::Unset, _) => Some(Problem::bug(error).into()),
        }
    }

    /// Ends an attempt, for the metrics per upstream.
    fn attempt_ended(&self, ctx: &mut Ctx, outcome: Outcome) {
        if let (Some(asked), Some(upstream)) = (ctx.asked.take(), ctx.upstream()) {
            self.observer.answered(
                upstream.name(),
                ctx.route_name(),
                &ctx.method,
                outcome,
                asked.elapsed(),
                &ctx.trace_id,
            );
        }
    }
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Ctx;

    fn new_ctx(&self) -> Ctx {
        let now = Instant::now();
        Ctx {
            began: now,
            context: RequestContext::fresh(&*self.ids),
            span: Span::none(),
            trace_id: String::new(),
            method: String::new(),
            path: String::new(),
            client: None,
            is_grpc: false,
            is_http2: false,
            route: None,
            deadline: now + millis(self.config.timeouts.answer_ms),
            subject: None,
            body_bytes: 0,
            tried: Vec::new(),
            addresses: 0,
            asked: None,
            grpc_code: None,
            pending: None,
            refused: None,
            place: None,
            active: None,
        }
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
        match admitted {
            Ok(Route { target: Target::Forward(_), .. }) => {
                origin_form(session.req_header_mut())?;
                Ok(false)
            }
            Ok(route) => {
                self.answer_health(session, ctx, route.target).await?;
                Ok(true)
            }
            Err(refusal) => {
                self.refuse(session, ctx, &refusal).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut Ctx) -> Result<Box<HttpPeer>> {
        let upstream =
            ctx.upstream().ok_or_else(|| Error::explain(ErrorType::InternalError, "a request without upstream"))?;
        match self.places.next(upstream, &ctx.tried).await {
            Ok((address, addresses)) => {
                ctx.addresses = addresses;
                ctx.asked = Some(Instant::now());
                if !ctx.tried.is_empty() {
                    self.observer.retried(upstream.name());
                    ctx.span.record("retry.attempt", ctx.tried.len());
                }
                ctx.tried.push(address);
                ctx.span.record("peer.service", upstream.name());
                Ok(self.places.peer(upstream, address, ctx.left()))
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
        ctx.span.in_scope(|| ctx.context.inject_into(&mut carried));
        request.remove_header("tracestate");
        for (name, value) in &carried {
            request.insert_header(name.clone(), value.clone())?;
        }
        if let Some(client) = ctx.client {
            request.insert_header("x-forwarded-for", client.to_string())?;
        }
        request.insert_header("x-forwarded-proto", if self.config.tls.is_some() { "https" } else { "http" })?;
        // The caller's Host is the caller's text, and nobody behind us serves more than one.
        if let Some(upstream) = ctx.upstream() {
            request.insert_header(header::HOST, self.places.authority(upstream))?;
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        _: bool,
        ctx: &mut Ctx,
    ) -> Result<()> {
        ctx.body_bytes += body.as_ref().map_or(0, |part| part.len() as u64);
        if ctx.body_bytes > self.config.limits.body_bytes {
            ctx.pending = Some(self.too_large());
            return Err(Error::explain(ErrorType::HTTPStatus(413), "the body is too large").into_down());
        }
        if ctx.is_late() {
            ctx.pending = Some(Flaw::BodyTooSlow.into());
            return Err(Error::explain(ErrorType::ReadTimedout, "the body took too long").into_down());
        }
        Ok(())
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
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
        response.remove_header("x-powered-by");
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

    /// Something may have been sent. Only a request that may safely happen twice is sent again, and only where Pingora saw
    /// that the upstream was closing a kept connection, or said that it had not begun.
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
        let may_repeat = ctx.tried.len() < ADDRESSES_MAX
            && session.response_written().is_none()
            && !session.as_ref().retry_buffer_truncated()
            && is_repeatable(session.req_header(), ctx)
            && !ctx.is_late();
        if may_repeat {
            error.retry.decide_reuse(reused);
        } else {
            error.set_retry(false);
        }
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Ctx) -> FailToProxy {
        self.attempt_ended(ctx, Outcome::Broken);
        let span = ctx.span.clone();
        let refusal = ctx.pending.take().or_else(|| span.in_scope(|| Self::judge(error, ctx)));
        // What is left of the request, and of the upstream's answer, is not worth guessing about.
        session.set_keepalive(None);
        let Some(refusal) = refusal else { return FailToProxy { error_code: 0, can_reuse_downstream: false } };
        if session.response_written().is_some_and(|written| !written.status.is_informational()) {
            // Too late for another status; a gRPC stream can still end with one.
            if ctx.is_grpc && ctx.is_http2 {
                ctx.grpc_code = Some(refusal.grpc_code());
                ctx.refused = Some(refusal.code().to_owned());
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
        ctx.span.record("http.response.status_code", status);
        if let Some(code) = ctx.grpc_code {
            ctx.span.record("rpc.response.status_code", crate::observe::code_name(code));
        }
        if status >= 500 || ctx.grpc_code.is_some_and(is_fault) {
            ctx.span.record("otel.status_code", "ERROR");
            ctx.span.record("error.type", ctx.refused.as_deref().unwrap_or("upstream"));
        }
        let summary = Summary {
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
            refused: ctx.refused.as_deref(),
            is_probe: ctx.route.is_some_and(|route| !matches!(route.target, Target::Forward(_))),
            correlation_id: ctx.context.correlation.as_str(),
            trace_id: &ctx.trace_id,
            error: error.map(ToString::to_string),
        };
        ctx.span.in_scope(|| self.observer.ended(&summary));
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

async fn write(session: &mut Session, ctx: &Ctx, answer: ResponseHeader, body: Bytes) -> Result<()> {
    let is_head = ctx.method == "HEAD";
    let mut tasks = vec![HttpTask::Header(Box::new(answer), is_head || body.is_empty())];
    if !is_head && !body.is_empty() {
        tasks.push(HttpTask::Body(Some(body), true));
    }
    session.write_response_tasks(tasks).await.map(|_| ())
}

fn copy_headers(from: &HeaderMap, into: &mut ResponseHeader) -> Result<()> {
    for (name, value) in from {
        into.append_header(name.clone(), value.clone())?;
    }
    Ok(())
}

fn client_of(ctx: &Ctx) -> IpAddr {
    ctx.client.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let rest = value.as_bytes().strip_prefix(b"application/grpc");
        // `application/grpc-web` is another protocol, which nobody here speaks.
        rest.is_some_and(|rest| rest.is_empty() || matches!(rest[0], b'+' | b';' | b' '))
    })
}

/// The path of a target in origin or absolute form, without its query.
fn path_of(target: &[u8]) -> &[u8] {
    let target = match target.iter().position(|byte| *byte == b'?') {
        Some(end) => &target[..end],
        None => target,
    };
    if target.starts_with(b"/") {
        return target;
    }
    let after_scheme = target.windows(3).position(|window| window == b"://").map_or(target, |at| &target[at + 3..]);
    after_scheme.iter().position(|byte| *byte == b'/').map_or(b"/", |at| &after_scheme[at..])
}

/// `GET http://host/path` becomes `GET /path`; the host was compared with the Host header before.
fn origin_form(head: &mut RequestHeader) -> Result<()> {
    if head.version == Version::HTTP_2 || head.raw_path().starts_with(b"/") {
        return Ok(());
    }
    let target = String::from_utf8_lossy(head.raw_path()).into_owned();
    let uri: Uri = target.parse().map_err(|error| {
        Error::because(ErrorType::InvalidHTTPHeader, "an absolute-form target that is no URI", error).into_down()
    })?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    head.set_raw_path(path.as_bytes())
}

fn declared_length(head: &RequestHeader) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a request may happen twice without harm: reads, and orders under a key, which is what the key is for.
fn is_repeatable(head: &RequestHeader, ctx: &Ctx) -> bool {
    if ctx.is_grpc {
        // Creating and cancelling are idempotent too, but only the order service can read whether the key is there.
        return matches!(ctx.route, Some(Route { access: Access::Public | Access::AnyScope(["orders:read", ..]), .. }));
    }
    head.method.is_idempotent() || head.headers.contains_key("idempotency-key")
}

/// Reads `grpc-timeout`: up to eight digits and a unit.
fn grpc_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        let check = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
            is_grpc(&headers)
        };
        assert!(check("application/grpc") && check("application/grpc+proto") && check("application/grpc;x=y"));
        assert!(!check("application/grpc-web") && !check("application/json"));
    }

    #[test]
    fn paths_come_without_query_and_host() {
        for (target, path) in
            [("/a?b=/c", "/a"), ("/", "/"), ("http://h/a?b", "/a"), ("http://h", "/"), ("http://h?x", "/")]
        {
            assert_eq!(path_of(target.as_bytes()), path.as_bytes(), "{target}");
        }
    }

    #[test]
    fn grpc_timeouts_have_a_unit() {
        let read = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-timeout", HeaderValue::from_static(text));
            grpc_timeout(&headers)
        };
        assert_eq!(read("100m"), Some(Duration::from_millis(100)));
        assert_eq!(read("2S"), Some(Duration::from_secs(2)));
        for bad in ["", "m", "1", "123456789S", "-1S", "1x", "1.5S"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
