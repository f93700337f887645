//! What the gateway answers by itself: refusals, and questions about its own health.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use pingora_core::{Error, ErrorSource, ErrorType, Result, protocols::http::HttpTask};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use service_base::{
    context::CORRELATION_HEADER,
    problem::{Code, Problem},
};

use super::{Ctx, Gateway, receive::read_over};
use crate::{hygiene::Flaw, refusal::Refusal, routes::Target, stream::FramingError};

impl Gateway {
    /// Answers with a refusal, in the caller's language.
    pub(super) async fn refuse(&self, session: &mut Session, ctx: &mut Ctx, refusal: &Refusal) -> Result<u16> {
        ctx.refused = Some(refusal.code());
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
        if !ctx.is_http2 {
            read_over(session).await;
        }
        self.last_if_stopping(session);
        if status == StatusCode::BAD_REQUEST {
            // What follows a malformed request on its connection must not be read as a second request.
            session.set_keepalive(None);
        }
        let mut answer = ResponseHeader::build(status, None)?;
        copy_headers(&headers, &mut answer)?;
        answer.insert_header(CORRELATION_HEADER, correlation)?;
        write(session, ctx, answer, body).await?;
        Ok(status.as_u16())
    }

    /// Answers a question about the gateway itself.
    pub(super) async fn answer_health(&self, session: &mut Session, ctx: &Ctx, target: Target) -> Result<()> {
        let (status, body) = match target {
            Target::Readiness => self.health.ready().await,
            Target::Liveness | Target::Forward(_) => (StatusCode::OK, Bytes::from_static(br#"{"status":"ok"}"#)),
        };
        let mut answer = ResponseHeader::build(status, None)?;
        answer.insert_header(header::CONTENT_TYPE, "application/json")?;
        answer.insert_header(header::CACHE_CONTROL, "no-store")?;
        answer.insert_header(header::CONTENT_LENGTH, body.len())?;
        answer.insert_header(CORRELATION_HEADER, ctx.context.correlation.as_str())?;
        self.last_if_stopping(session);
        write(session, ctx, answer, body).await
    }
}

/// What an error that Pingora met means for the caller; `None` when the caller is gone.
pub(super) fn judge(error: &Error, ctx: &Ctx) -> Option<Refusal> {
    use ErrorType as E;
    let cause = error.root_cause().downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    if cause.and_then(|cause| cause.downcast_ref::<FramingError>()).is_some() {
        return Some(Flaw::ChunkInvalid.into());
    }
    let timeout = || Some(Problem::from(Code::Timeout).into());
    match (error.esource(), error.etype()) {
        (ErrorSource::Downstream, E::ReadTimedout) => Some(Flaw::BodyTooSlow.into()),
        (ErrorSource::Downstream, E::InvalidHTTPHeader) => {
            Some(Refusal::of(Code::BadRequest, "the request's headers contradict each other"))
        }
        (ErrorSource::Downstream, _) => None,
        // What we wait for is the caller.
        (ErrorSource::Upstream, E::ReadTimedout | E::WriteTimedout) if ctx.body_since.is_some() => {
            Some(Flaw::BodyTooSlow.into())
        }
        (ErrorSource::Upstream, E::ReadTimedout | E::WriteTimedout) if ctx.has_stream_age() => Some(stream_expired()),
        (ErrorSource::Upstream, E::ReadTimedout | E::WriteTimedout) => timeout(),
        (
            // An attempt before this one may have been received: see below.
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
        ) if !ctx.in_doubt => Some(Refusal::unavailable("the service behind cannot be reached at the moment")),
        (ErrorSource::Upstream, _) if ctx.is_late() => timeout(),
        // It was reached, and what happened then is not known: 502, so that the caller does not take it for "nothing happened".
        (ErrorSource::Upstream, _) => Some(Problem::from(Code::BadGateway).retry_after(Duration::from_secs(1)).into()),
        (ErrorSource::Internal | ErrorSource::Unset, _) => Some(Problem::bug(error).into()),
    }
}

/// A stream has lasted as long as one may. Neither a deadline of the caller's nor a fault: a caller that still wants to know asks again.
pub(super) fn stream_expired() -> Refusal {
    Problem::from(Code::StreamExpired).retry_after(Duration::from_secs(1)).into()
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
