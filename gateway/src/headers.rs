//! Which of a caller's headers go on to the services behind us.
//!
//! No service trusts a header because it came from inside; still, a header from outside that names a user must not even arrive.
//! Must not know: routes, tokens.

use http::{HeaderMap, HeaderName, header};

/// Families of headers that claim who asks, or through whom. Compared with `_` read as `-`, as some servers do.
const CLAIMS: &[&str] = &[
    "x-user-",
    "x-client-",
    "x-amends-",
    "x-forwarded-",
    "x-auth-",
    "x-internal-",
    "x-envoy-",
    "x-original-",
    "x-rewrite-",
];
/// Headers that claim the same under a name of their own.
const CLAIM_NAMES: &[&str] = &[
    "forwarded",
    "x-real-ip",
    "x-user",
    "x-client",
    "x-forwarded",
    "x-subject",
    "x-roles",
    "x-scopes",
    "x-scope",
    "x-tenant",
    "x-remote-user",
    "remote-user",
    "x-authenticated-user",
    "x-consumer-id",
    "x-consumer-username",
    "x-jwt-payload",
    "x-http-method-override",
    "x-method-override",
    "x-http-method",
    "true-client-ip",
    "cf-connecting-ip",
    "via",
];
/// Headers about one connection, of which Pingora leaves some to us where both sides are HTTP/2.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "upgrade",
    "trailer",
    "http2-settings",
    // Met by us: the body is here, or on its way, before the upstream hears of the request.
    "expect",
];

/// Removes what may not go on. `is_grpc` keeps `te: trailers`, without which gRPC servers may refuse to answer.
pub(crate) fn forbidden(headers: &HeaderMap, is_grpc: bool) -> Vec<HeaderName> {
    headers
        .keys()
        .filter(|name| {
            let plain = name.as_str().replace('_', "-");
            let plain = plain.as_str();
            CLAIMS.iter().any(|family| plain.starts_with(family))
                || CLAIM_NAMES.contains(&plain)
                || HOP_BY_HOP.contains(&plain)
                || (**name == header::TE && !is_grpc)
                // `X_Correlation_ID` beside ours: one of two that some servers read as one.
                || (plain != name.as_str() && headers.contains_key(plain))
        })
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn identity_and_hop_by_hop_headers_end_here() {
        let mut headers = HeaderMap::new();
        let outside = [
            "x-user-id",
            "x-client-id",
            "x-amends-subject",
            "x-forwarded-for",
            "x-forwarded-user",
            "x_user_id",
            "x-real-ip",
            "forwarded",
            "x-roles",
            "connection",
            "keep-alive",
            "proxy-authorization",
            "upgrade",
            "te",
            "x-http-method-override",
        ];
        let inside = [
            "authorization",
            "content-type",
            "idempotency-key",
            "prefer",
            "accept",
            "traceparent",
            "x-userless",
            "x_own",
        ];
        for name in outside.iter().chain(&inside) {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("1"));
        }
        let mut removed: Vec<String> = forbidden(&headers, false).iter().map(ToString::to_string).collect();
        let mut expected = outside.map(str::to_owned).to_vec();
        removed.sort();
        expected.sort();
        assert_eq!(removed, expected);
        assert!(!forbidden(&headers, true).contains(&header::TE));
    }
}
