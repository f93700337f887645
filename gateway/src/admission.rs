//! What a caller may hold at once of the gateway's finite things, and how a caller that holds its share is told.
//!
//! Four things are shared, each apart from the others, so that what is slow by nature cannot take what others need for a moment:
//! permits for questions, open streams, bytes of bodies that are still arriving, and bodies too long to be read first. Connections
//! are shared in [`crate::connection_table`]. Must not know: Pingora, routes, tokens.

use std::time::Duration;

use service_base::problem::{Code, Problem};

use crate::{
    config::Limits,
    observe::Observer,
    refusal::Refusal,
    shares::{self, Denied, Owner, Share, Shares},
};

/// What a request costs us while its body arrives, whatever the body's size: its head and its state.
const BODY_BYTES_MIN: usize = 4 * 1024;
/// A caller that is told to come again should find something freed by then.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What a request holds while it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One question, one answer.
    Request,
    /// A stream of answers.
    Stream,
    /// A body that is passed on while it arrives.
    LongBody,
}

/// The gateway's finite things.
#[derive(Debug)]
pub(crate) struct Admission {
    requests: Shares,
    streams: Shares,
    bodies: Shares,
    long_bodies: Shares,
}

impl Admission {
    pub(crate) fn new(limits: &Limits, observer: &Observer) -> Self {
        let shared = |what, total, per_address, per_subject| {
            Shares::new(shares::Limits { total, per_address, per_subject }, observer.held(what))
        };
        let (body, long) = (limits.waiting_bytes_per_caller, limits.long_bodies_per_caller);
        let (address, subject) = (limits.requests_per_address, limits.requests_per_subject);
        let (streams, at_address, of_subject) =
            (limits.open_streams, limits.open_streams_per_address, limits.open_streams_per_subject);
        Self {
            requests: shared("requests", limits.requests, address, subject),
            streams: shared("streams", streams, at_address, of_subject),
            bodies: shared("waiting_bytes", limits.waiting_bytes, body, body),
            long_bodies: shared("long_bodies", limits.long_bodies, long, long),
        }
    }

    /// A permit of that kind.
    ///
    /// # Errors
    /// 429 where the caller holds its share, 503 where there is no room.
    pub(crate) fn permit(&self, kind: Kind, owner: &Owner) -> Result<Share, Refusal> {
        let (shares, what) = match kind {
            Kind::Request => (&self.requests, "requests"),
            Kind::Stream => (&self.streams, "open streams"),
            Kind::LongBody => (&self.long_bodies, "long bodies"),
        };
        shares.take(owner, 1).map_err(|denied| refusal(denied, what))
    }

    /// Room for a body of which `length` bytes have arrived, and more are awaited.
    ///
    /// # Errors
    /// As [`Admission::permit`].
    pub(crate) fn body(&self, owner: &Owner, received: u64) -> Result<Share, Refusal> {
        let bytes = usize::try_from(received).unwrap_or(usize::MAX).saturating_add(BODY_BYTES_MIN);
        self.bodies.take(owner, bytes).map_err(unfinished)
    }
}

/// Says that there is no room for more bytes of bodies that are still arriving.
pub(crate) fn unfinished(denied: Denied) -> Refusal {
    refusal(denied, "unfinished bodies")
}

/// Says that there is no room for a connection.
pub(crate) fn connections_full() -> Refusal {
    refusal(Denied::Full, "connections")
}

fn refusal(denied: Denied, what: &str) -> Refusal {
    let problem = match denied {
        Denied::ShareTaken => {
            let detail = format!("too many {what} at once from this caller; wait for one to end");
            Problem::of(Code::RateLimited, detail)
        }
        Denied::Full => Problem::of(Code::Overloaded, format!("too many {what} at once")),
    };
    problem.retry_after(RETRY_AFTER).into()
}

#[cfg(test)]
mod tests {
    use service_kit::Runtime;

    use super::*;

    #[test]
    fn each_kind_is_counted_apart() {
        let limits = Limits { requests: 1, open_streams: 2, open_streams_per_subject: 1, ..Limits::default() };
        let runtime = Runtime::new();
        let admission = Admission::new(&limits, &Observer::new(&runtime));
        let (ann, bob) = (Owner::of("ann"), Owner::of("bob"));
        let _stream = admission.permit(Kind::Stream, &ann).unwrap();
        let refused = admission.permit(Kind::Stream, &ann).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (429, Code::RateLimited));
        let _request = admission.permit(Kind::Request, &ann).unwrap();
        let refused = admission.permit(Kind::Request, &bob).unwrap_err();
        assert_eq!((refused.status().as_u16(), refused.code()), (503, Code::Overloaded));
        let page = runtime.metrics.encode();
        assert!(page.contains(r#"gateway_held{kind="streams"} 1"#), "{page}");
    }
}
