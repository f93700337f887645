//! A refusal, as the caller can read it: a problem for HTTP callers, a trailers-only status for gRPC callers.
//!
//! Must not know: why it came to that.

use std::{borrow::Cow, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use service_base::{
    context::CORRELATION_HEADER,
    problem::{Code, Problem},
};

use crate::hygiene::Flaw;

/// Why a request goes no further.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    /// Boxed, because every step on a request's way may return one.
    problem: Box<Problem>,
    /// Where HTTP has a status that the vocabulary shared by our services does not need.
    status: StatusCode,
    headers: Vec<(HeaderName, Cow<'static, str>)>,
}

impl Refusal {
    /// A refusal with its stable code and a sentence.
    pub(crate) fn of(code: Code, detail: impl Into<String>) -> Self {
        Problem::of(code, detail).into()
    }

    /// What lies behind us cannot be asked.
    pub(crate) fn unavailable(detail: impl Into<String>) -> Self {
        Problem::of(Code::DependencyUnavailable, detail).retry_after(Duration::from_secs(1)).into()
    }

    /// Adds a header for HTTP callers.
    #[must_use]
    pub(crate) fn header(mut self, name: HeaderName, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The HTTP status.
    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The gRPC status.
    pub(crate) fn grpc_code(&self) -> tonic::Code {
        self.problem.grpc_code()
    }

    /// The stable code.
    pub(crate) fn code(&self) -> Code {
        self.problem.code()
    }

    /// The sentence.
    pub(crate) fn detail(&self) -> &str {
        self.problem.detail()
    }

    /// Status, headers and body for an HTTP caller.
    pub(crate) fn http(&self, trace_id: Option<&str>) -> (StatusCode, HeaderMap, Bytes) {
        let mut object = self.problem.to_json();
        object["status"] = self.status.as_u16().into();
        object["title"] = self.status.canonical_reason().unwrap_or("Error").into();
        if let Some(trace_id) = trace_id {
            object["trace_id"] = trace_id.into();
        }
        let mut headers = self.problem.http_headers();
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        let body = Bytes::from(object.to_string());
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        (self.status, headers, body)
    }

    /// The headers of a gRPC answer that is over before it began.
    pub(crate) fn grpc(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let status = tonic::Status::from((*self.problem).clone());
        if let Err(error) = status.add_header(&mut headers) {
            tracing::error!(%error, "a gRPC status that fits in no header");
            headers.insert("grpc-status", HeaderValue::from(i32::from(self.grpc_code())));
        }
        headers
    }

    /// The whole answer as HTTP/1.1, after which the connection is closed: for requests that never were requests.
    pub(crate) fn raw(&self, correlation_id: &str) -> Vec<u8> {
        let (status, mut headers, body) = self.http(None);
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        if let Ok(value) = HeaderValue::from_str(correlation_id) {
            headers.insert(CORRELATION_HEADER, value);
        }
        let mut answer =
            format!("HTTP/1.1 {} {}\r\n", status.as_u16(), status.canonical_reason().unwrap_or("")).into_bytes();
        for (name, value) in &headers {
            answer.extend_from_slice(name.as_str().as_bytes());
            answer.extend_from_slice(b": ");
            answer.extend_from_slice(value.as_bytes());
            answer.extend_from_slice(b"\r\n");
        }
        answer.extend_from_slice(b"\r\n");
        answer.extend_from_slice(&body);
        answer
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self { status: problem.http_status(), problem: Box::new(problem), headers: Vec::new() }
    }
}

impl From<Flaw> for Refusal {
    fn from(flaw: Flaw) -> Self {
        let mut refusal = Self::of(flaw.code(), flaw.sentence());
        refusal.status = StatusCode::from_u16(flaw.status()).unwrap_or(StatusCode::BAD_REQUEST);
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_refusal_two_languages() {
        let refusal = Refusal::of(Code::RateLimited, "too many requests").header(header::ALLOW, "GET");
        let (status, headers, body) = refusal.http(Some("abc"));
        assert_eq!(status, 429);
        assert_eq!(
            (&headers["allow"], &headers["content-type"]),
            (&"GET".parse().unwrap(), &"application/problem+json".parse().unwrap())
        );
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&body["code"], &body["trace_id"]), (&"rate_limited".into(), &"abc".into()));

        let headers = refusal.grpc();
        assert_eq!(headers["grpc-status"], "8");
        assert_eq!(headers["grpc-message"], "too%20many%20requests");
        assert!(headers.contains_key("grpc-status-details-bin"));
    }

    #[test]
    fn a_flaw_keeps_its_own_status() {
        let (status, _, body) = Refusal::from(Flaw::HeadTooLarge).http(None);
        assert_eq!(status, 431);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["title"], "Request Header Fields Too Large");
        assert!(
            String::from_utf8(Refusal::from(Flaw::HostMissing).raw("c-1"))
                .unwrap()
                .starts_with("HTTP/1.1 400 Bad Request\r\n")
        );
    }
}
