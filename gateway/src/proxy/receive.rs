//! Receiving a request's body before anything that others need is taken for it.
//!
//! A body of up to 64 KiB is read whole first: Pingora keeps that much for a second try, and sends what it kept. Until it is here, a
//! request holds nothing but the bytes that came. A longer one is passed on while it arrives, from a small pool of its own, so that
//! however many bodies are half-sent, no request waits for a permit. gRPC messages are bodies like others; a dialogue is not read
//! first, because its caller waits for answers in between.

use std::{future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use http::{StatusCode, Version};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use tokio::time::{Instant, timeout_at};

use super::{
    Ctx, Gateway,
    head::{declared_length, expects_continue},
};
use crate::{
    admission::{Kind, connections_full, unfinished},
    config::millis,
    connection_table::Member,
    hygiene::Flaw,
    refusal::Refusal,
    routes::{Patience, Route},
    shares::Owner,
    stream::READ_BUFFER_BYTES,
};

/// What Pingora keeps of a body: its own constant, which it does not tell.
const AHEAD_BYTES_MAX: u64 = 64 * 1024;
/// No single read brings more: a DATA frame of HTTP/2 of the size we accept, or what our stream hands out at once.
const READ_BYTES_MAX: u64 = READ_BUFFER_BYTES as u64;

/// How much of a body is here.
enum Received {
    Whole,
    /// As much as is read ahead; the rest is still to come.
    Begun,
}

impl Gateway {
    /// Reads the body, then takes the permit that the request holds while it is answered. The inner error is what to answer.
    pub(super) async fn receive(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        route: Route,
        owner: &Owner,
    ) -> Result<Result<(), Refusal>> {
        let began = Instant::now();
        let is_whole = if route.patience == Patience::Dialogue {
            true
        } else {
            match self.read_ahead(session, ctx, owner).await? {
                Ok(received) => matches!(received, Received::Whole),
                Err(refusal) => return Ok(Err(refusal)),
            }
        };
        let kind = match (route.patience.is_stream(), is_whole) {
            (true, _) => Kind::Stream,
            (false, true) => Kind::Request,
            (false, false) => Kind::LongBody,
        };
        match self.admission.permit(kind, owner) {
            Ok(permit) => ctx.permit = Some(permit),
            Err(refusal) => return Ok(Err(refusal)),
        }
        ctx.busy = connection_of(session).map(|member| member.busy());
        let now = Instant::now();
        if !ctx.is_callers_deadline {
            // The services behind have the time they always have, however slowly the question came.
            ctx.deadline += now.saturating_duration_since(began);
        }
        ctx.body_since = (!is_whole).then_some(now);
        Ok(Ok(()))
    }

    async fn read_ahead(
        &self,
        session: &mut Session,
        ctx: &mut Ctx,
        owner: &Owner,
    ) -> Result<Result<Received, Refusal>> {
        if session.as_mut().is_body_done() {
            return Ok(Ok(Received::Whole));
        }
        let declared = declared_length(session.req_header());
        if declared.is_some_and(|length| length > AHEAD_BYTES_MAX) {
            go_on(session).await?;
            return Ok(Ok(Received::Begun));
        }
        // A body that has come with its head costs nothing to wait for, so that no share is asked of its caller.
        let mut room = None;
        if expects_continue(session.req_header()).is_ok_and(|expects| expects) {
            match self.admission.body(owner, 0) {
                Ok(taken) => room = Some(taken),
                Err(refusal) => return Ok(Err(refusal)),
            }
            go_on(session).await?;
        }
        session.as_mut().enable_retry_buffering();
        let connection = connection_of(session);
        let (began, mut received) = (Instant::now(), 0_u64);
        while !session.as_mut().is_body_done() {
            // One read more could be more than is kept, and what is not kept is not sent.
            if declared.is_none() && received + READ_BYTES_MAX > AHEAD_BYTES_MAX {
                return Ok(Ok(Received::Begun));
            }
            let now = Instant::now();
            let until = self.body_deadline(began, received).min(now + millis(self.config.timeouts.body_ms));
            let mut read = pin!(session.as_mut().read_request_body());
            let read = match poll_fn(|context| Poll::Ready(read.as_mut().poll(context))).await {
                Poll::Ready(read) => Ok(read),
                Poll::Pending => {
                    if room.is_none() {
                        match self.admission.body(owner, received) {
                            Ok(taken) => room = Some(taken),
                            Err(refusal) => return Ok(Err(refusal)),
                        }
                    }
                    tokio::select! {
                        biased;
                        read = timeout_at(until, read) => read,
                        () = gives_way(connection.as_deref()) => return Err(given_up(ctx)),
                    }
                }
            };
            let part = match read {
                Ok(Ok(Some(part))) => part,
                Ok(Ok(None)) => break,
                Ok(Err(error)) => return Err(error.into_down()),
                Err(_) => return Err(too_slow(ctx)),
            };
            received += part.len() as u64;
            ctx.body_bytes = received;
            if received > self.config.limits.body_bytes {
                return Ok(Err(self.too_large()));
            }
            if let Some(Err(denied)) = room.as_mut().map(|room| room.grow(part.len())) {
                return Ok(Err(unfinished(denied)));
            }
        }
        Ok(Ok(Received::Whole))
    }

    /// Whether a body that is passed on while it arrives is still in time.
    pub(super) fn check_pace(&self, ctx: &mut Ctx, is_end: bool) -> Result<()> {
        let Some(began) = ctx.body_since else { return Ok(()) };
        if is_end {
            ctx.body_since = None;
        } else if Instant::now() >= self.body_deadline(began, ctx.body_bytes) {
            return Err(too_slow(ctx));
        }
        Ok(())
    }

    /// When a body of which this much has arrived is too slow.
    fn body_deadline(&self, began: Instant, received: u64) -> Instant {
        let timeouts = &self.config.timeouts;
        let earned_ms = received.saturating_mul(1000) / self.config.limits.body_bytes_per_second.max(1);
        let allowed = millis(timeouts.body_ms).saturating_add(Duration::from_millis(earned_ms));
        began + allowed.min(millis(timeouts.body_whole_ms))
    }
}

/// Reads over what has come of a refused request's body, so that the next request can use its connection: a new connection costs more than
/// a refusal. Waits for nothing. Where the body is not here to its end, the answer says that it is the last on its connection.
pub(super) async fn read_over(session: &mut Session) {
    let mut left = AHEAD_BYTES_MAX;
    if declared_length(session.req_header()).is_some_and(|length| length > left) {
        return;
    }
    while !session.as_mut().is_body_done() {
        let read = {
            let mut read = pin!(session.as_mut().read_request_body());
            poll_fn(|context| Poll::Ready(read.as_mut().poll(context))).await
        };
        match read {
            Poll::Ready(Ok(Some(part))) if part.len() as u64 <= left => left -= part.len() as u64,
            Poll::Ready(Err(_)) => return session.set_keepalive(None),
            // The end, or more to come, or too much.
            _ => return,
        }
    }
}

/// Tells a caller who waits for it to send the body. Pingora has no such answer for HTTP/2, whose callers send without it after a while.
async fn go_on(session: &mut Session) -> Result<()> {
    let head = session.req_header();
    if head.version == Version::HTTP_11 && expects_continue(head).is_ok_and(|expects| expects) {
        let answer = ResponseHeader::build(StatusCode::CONTINUE, None)?;
        session.as_mut().write_response_header(Box::new(answer)).await.map_err(Error::into_down)?;
    }
    Ok(())
}

#[expect(clippy::unnecessary_box_returns, reason = "as Pingora makes and takes its errors")]
fn too_slow(ctx: &mut Ctx) -> Box<Error> {
    ctx.pending = Some(Flaw::BodyTooSlow.into());
    Error::explain(ErrorType::ReadTimedout, "the body took too long").into_down()
}

/// The connection a request came over: [`Guarded`](crate::stream::Guarded) leaves it where Pingora keeps a proxy's data.
fn connection_of(session: &Session) -> Option<Arc<Member>> {
    let digest = session.digest()?.proxy_digest.as_ref()?;
    digest.user_data.as_ref()?.downcast_ref::<Arc<Member>>().map(Arc::clone)
}

async fn gives_way(connection: Option<&Member>) {
    match connection {
        Some(member) => member.gives_way().await,
        None => std::future::pending().await,
    }
}

/// The connection is needed for another, and this request has not even arrived.
#[expect(clippy::unnecessary_box_returns, reason = "as Pingora makes and takes its errors")]
fn given_up(ctx: &mut Ctx) -> Box<Error> {
    ctx.pending = Some(connections_full());
    Error::explain(ErrorType::ReadTimedout, "the connection gave way to another").into_down()
}
