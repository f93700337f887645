//! One error for two kinds of caller: RFC 9457 problems over HTTP, `google.rpc` details over gRPC.
//!
//! A [`Code`] decides the status codes. A service turns its own errors into a [`Problem`] as the last step.

use std::{collections::BTreeMap, fmt, time::Duration};

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tonic_types::{ErrorDetails, StatusExt as _};

pub use crate::code::{Code, Domain};
use crate::{code::ErrorKind, context, sampled::Sampled};

/// Media type of a problem.
pub const CONTENT_TYPE: &str = "application/problem+json";

/// On an answer that says [`Code::Overloaded`]: what stands before a service reads it there rather than in the body, and takes it off.
pub const OVERLOADED_HEADER: HeaderName = HeaderName::from_static("x-overloaded");

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// Path of the field: `items[0].quantity`.
    pub field: String,
    /// A sentence.
    pub message: String,
}

/// An error as a caller sees it.
#[derive(Debug, Clone)]
pub struct Problem(Box<Inner>); // boxed: it is the error half of many small results

#[derive(Debug, Clone)]
struct Inner {
    code: Code,
    domain: Domain,
    detail: String,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
    location: Option<String>,
    www_authenticate: Option<String>,
    extensions: BTreeMap<&'static str, Value>,
    trace_id: Option<String>,
}

impl Problem {
    /// A problem with its stable code and a sentence.
    ///
    /// For [`Code::Internal`] the sentence is for the log only; callers get a fixed one.
    pub fn of(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            domain: Domain::default(),
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: None,
            location: None,
            www_authenticate: None,
            extensions: BTreeMap::new(),
            trace_id: context::current_trace_id(),
        }))
    }

    /// Our fault: [`Code::Internal`]. Logs `cause` and its sources once, here; callers get a fixed sentence.
    pub fn bug(cause: impl fmt::Display) -> Self {
        tracing::error!(error = %cause, "a bug, or a failure nobody planned for");
        Self::of(Code::Internal, cause.to_string())
    }

    /// A store that cannot be asked, to be tried again in a second. Logs `cause`, once a second.
    pub fn store_unavailable(cause: impl fmt::Display) -> Self {
        static SAMPLED: Sampled = Sampled::new();
        if let Some(refused_count) = SAMPLED.count("store") {
            tracing::warn!(error = %cause, refused_count, "the store cannot be asked");
        }
        Self::from(Code::StoreUnavailable).retry_after(Duration::from_secs(1))
    }

    /// A field that is wrong: [`Code::InvalidRequest`].
    pub fn invalid(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::from(Code::InvalidRequest).field(field, message)
    }

    /// Says the code in a participant's domain instead of the common one.
    #[must_use]
    pub fn domain(mut self, domain: Domain) -> Self {
        self.0.domain = domain;
        self
    }

    /// Names one field that is wrong.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>, message: impl Into<String>) -> Self {
        self.0.errors.push(FieldError { field: field.into(), message: message.into() });
        self
    }

    /// Names all fields that are wrong.
    #[must_use]
    pub fn fields(mut self, errors: impl IntoIterator<Item = FieldError>) -> Self {
        self.0.errors.extend(errors);
        self
    }

    /// When the caller may try again: `Retry-After`, in whole seconds rounded up; `google.rpc.RetryInfo`.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Where the thing is that this is about: `Location`.
    #[must_use]
    pub fn location(mut self, location: impl Into<String>) -> Self {
        self.0.location = Some(location.into());
        self
    }

    /// How to authenticate: `WWW-Authenticate`.
    #[must_use]
    pub fn www_authenticate(mut self, challenge: impl Into<String>) -> Self {
        self.0.www_authenticate = Some(challenge.into());
        self
    }

    /// A member of its own in the problem's object.
    #[must_use]
    pub fn extension(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.0.extensions.insert(key, value.into());
        self
    }

    fn kind(&self) -> ErrorKind {
        self.0.code.kind_in(self.0.domain)
    }

    /// The HTTP status.
    pub fn http_status(&self) -> StatusCode {
        self.kind().http_status()
    }

    /// The gRPC code.
    pub fn grpc_code(&self) -> tonic::Code {
        self.kind().grpc_code()
    }

    /// The stable code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The sentence a caller may see.
    pub fn detail(&self) -> &str {
        match self.kind() {
            ErrorKind::Bug => self.0.code.sentence(),
            _ => &self.0.detail,
        }
    }

    /// The fields that are wrong.
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    /// What its HTTP answer's headers say, besides the body's length.
    pub fn http_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, whole_seconds(after).into());
        }
        for (name, text) in [(header::LOCATION, &self.0.location), (header::WWW_AUTHENTICATE, &self.0.www_authenticate)]
        {
            if let Some(Ok(value)) = text.as_deref().map(HeaderValue::from_str) {
                headers.insert(name, value);
            }
        }
        headers
    }

    /// The JSON object, as RFC 9457 and its extensions `code`, `errors`, `trace_id` have it.
    pub fn to_json(&self) -> Value {
        let code = self.0.code.as_str();
        let mut object = serde_json::Map::new();
        object.insert("type".into(), format!("https://{}/errors/{code}", Domain::Amends.as_str()).into());
        // RFC 9457 wants one title per type, and the reason phrase is enough.
        object.insert("title".into(), self.http_status().canonical_reason().unwrap_or("Error").into());
        object.insert("status".into(), self.http_status().as_u16().into());
        object.insert("detail".into(), self.detail().into());
        object.insert("code".into(), code.into());
        if !self.0.errors.is_empty() {
            object.insert("errors".into(), serde_json::json!(self.0.errors));
        }
        if let Some(trace_id) = &self.0.trace_id {
            object.insert("trace_id".into(), trace_id.as_str().into());
        }
        for (key, value) in &self.0.extensions {
            object.entry(*key).or_insert_with(|| value.clone());
        }
        Value::Object(object)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.detail)?;
        for FieldError { field, message } in &self.0.errors {
            write!(f, "; {field}: {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problem {}

/// With the code's own sentence.
impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self::of(code, code.sentence())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.http_status(), self.to_json().to_string()).into_response();
        response.headers_mut().extend(self.http_headers());
        if self.0.code == Code::Overloaded {
            response.headers_mut().insert(OVERLOADED_HEADER, HeaderValue::from_static("true"));
        }
        response
    }
}

/// `Retry-After` has whole seconds; zero would ask for a busy loop.
fn whole_seconds(after: Duration) -> u64 {
    (after.as_secs() + u64::from(after.subsec_nanos() > 0)).max(1)
}

impl From<Problem> for tonic::Status {
    fn from(problem: Problem) -> Self {
        let mut details = ErrorDetails::new();
        let mut metadata: std::collections::HashMap<String, String> = problem
            .0
            .extensions
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        if let Some(trace_id) = &problem.0.trace_id {
            metadata.insert("trace_id".to_owned(), trace_id.clone());
        }
        if let Some(location) = &problem.0.location {
            metadata.insert("location".to_owned(), location.clone());
        }
        details.set_error_info(problem.0.code.reason(), problem.0.domain.as_str(), metadata);
        for FieldError { field, message } in &problem.0.errors {
            details.add_bad_request_violation(field, message);
        }
        if let Some(after) = problem.0.retry_after {
            details.set_retry_info(Some(after));
        }
        Self::with_error_details(problem.grpc_code(), problem.detail(), details)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn http_callers_get_rfc_9457() {
        let problem = Problem::of(Code::InvalidRequest, "two fields are wrong")
            .field("items[0].quantity", "must be at least 1")
            .extension("order_id", "o-1")
            .extension("status", "ignored: the member exists")
            .retry_after(Duration::from_millis(1200))
            .location("/v1/orders/o-1");
        let response = problem.into_response();
        assert_eq!(response.status(), 422);
        assert_eq!(response.headers()["content-type"], CONTENT_TYPE);
        assert_eq!(response.headers()["retry-after"], "2");
        assert_eq!(response.headers()["location"], "/v1/orders/o-1");
        let body: Value = serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap();
        assert_eq!(
            body,
            serde_json::json!({
                "type": "https://amends.invalid/errors/invalid_request", "title": "Unprocessable Entity", "status": 422,
                "detail": "two fields are wrong", "code": "invalid_request", "order_id": "o-1",
                "errors": [{"field": "items[0].quantity", "message": "must be at least 1"}],
            })
        );
    }

    #[test]
    fn grpc_callers_get_google_rpc_details() {
        let status: tonic::Status = Problem::of(Code::InsufficientStock, "only 3 are left")
            .field("items[0].sku", "only 3 are left")
            .retry_after(Duration::from_secs(2))
            .into();
        assert_eq!(status.code(), tonic::Code::FailedPrecondition);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("INSUFFICIENT_STOCK", "amends.invalid"));
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "items[0].sku");
        assert_eq!(status.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_bug_keeps_its_detail_to_itself() {
        let problem = Problem::bug("connection string postgres://user:secret@host");
        assert!(!problem.to_json().to_string().contains("secret"));
        assert!(!tonic::Status::from(problem).message().contains("secret"));
    }
}
