//! Which request goes where, who may send it, and how long it may take.
//!
//! Data and one lookup: longest prefix, at segment boundaries. Must not know: Pingora, tokens, addresses.

use http::Method;

/// A service behind the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Upstream {
    /// Tokens.
    Identity,
    /// Orders, REST.
    OrderHttp,
    /// Orders, gRPC.
    OrderGrpc,
}

impl Upstream {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Identity, Self::OrderHttp, Self::OrderGrpc];

    /// Its name in metrics, spans and logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity-service",
            Self::OrderHttp | Self::OrderGrpc => "order-service",
        }
    }
}

/// What we do with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Pass it on.
    Forward(Upstream),
    /// Say that we live.
    Liveness,
    /// Say whether we can take work.
    Readiness,
}

/// Who may send a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Any caller, with or without a token.
    Public,
    /// Any caller, where the configuration lets such questions through.
    Probe(Probe),
    /// A caller with a token.
    Token,
    /// A caller with a token that has one of these scopes.
    AnyScope(&'static [&'static str]),
}

/// A question about the services behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// Whether they are well.
    Health,
    /// What there is to call.
    Reflection,
}

/// How long a request may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// An exchange with the token service.
    Short,
    /// One question, one answer: `POST /v1/orders` waits for a saga.
    Answer,
    /// One question, and a stream of answers the caller reads for as long as it likes.
    Stream,
    /// Questions and answers in turn, for as long as the caller likes: the request's body ends last.
    Dialogue,
}

impl Patience {
    /// Whether it is a stream, which is counted apart.
    pub(crate) const fn is_stream(self) -> bool {
        matches!(self, Self::Stream | Self::Dialogue)
    }
}

/// What is known about a request before it is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// Its name in metrics and logs: a template, so that ids do not become labels.
    pub(crate) name: &'static str,
    /// What we do with it.
    pub(crate) target: Target,
    /// Who may send it.
    pub(crate) access: Access,
    /// How long it may take.
    pub(crate) patience: Patience,
}

/// Where orders are placed.
pub(crate) const ORDERS: &str = "/v1/orders";

// `orders:admin` sees all orders, so it reads without `orders:read`.
const READ: Access = Access::AnyScope(&["orders:read", "orders:admin"]);
const WRITE: Access = Access::AnyScope(&["orders:write"]);
const ITEMS: Access = Access::AnyScope(&["items:read"]);
const HEALTH: Access = Access::Probe(Probe::Health);
const REFLECTION: Access = Access::Probe(Probe::Reflection);

/// The methods that ask for nothing to change.
const READS: &[Method] = &[Method::GET, Method::HEAD, Method::OPTIONS];

struct Rule {
    prefix: &'static str,
    methods: &'static [Method],
    route: Route,
}

const fn rule(
    prefix: &'static str,
    methods: &'static [Method],
    target: Target,
    access: Access,
    patience: Patience,
    name: &'static str,
) -> Rule {
    Rule { prefix, methods, route: Route { name, target, access, patience } }
}

/// An empty list of methods means all. Of several rules with one prefix, the first whose methods match.
const REST: &[Rule] = &[
    rule("/healthz", READS, Target::Liveness, Access::Public, Patience::Short, "/healthz"),
    rule("/readyz", READS, Target::Readiness, Access::Public, Patience::Short, "/readyz"),
    rule("/auth", &[], Target::Forward(Upstream::Identity), Access::Public, Patience::Short, "/auth/*"),
    rule("/oauth2", &[], Target::Forward(Upstream::Identity), Access::Public, Patience::Short, "/oauth2/*"),
    rule("/.well-known", &[], Target::Forward(Upstream::Identity), Access::Public, Patience::Short, "/.well-known/*"),
    rule("/v1/orders", READS, Target::Forward(Upstream::OrderHttp), READ, Patience::Answer, "/v1/orders"),
    rule("/v1/orders", &[], Target::Forward(Upstream::OrderHttp), WRITE, Patience::Answer, "/v1/orders"),
    rule("/v1/items", READS, Target::Forward(Upstream::OrderHttp), ITEMS, Patience::Answer, "/v1/items"),
    // The order service says which method it has there; without a scope the answer would depend on who asks.
    rule("/v1/items", &[], Target::Forward(Upstream::OrderHttp), Access::Token, Patience::Answer, "/v1/items"),
    rule("/v1", &[], Target::Forward(Upstream::OrderHttp), Access::Token, Patience::Answer, "/v1/*"),
];

const fn grpc(prefix: &'static str, access: Access, patience: Patience) -> Rule {
    rule(prefix, &[], Target::Forward(Upstream::OrderGrpc), access, patience, prefix)
}

const GRPC: &[Rule] = &[
    grpc("/amends.orders.v1.OrderService/CreateOrder", WRITE, Patience::Answer),
    grpc("/amends.orders.v1.OrderService/CancelOrder", WRITE, Patience::Answer),
    grpc("/amends.orders.v1.OrderService/GetOrder", READ, Patience::Answer),
    grpc("/amends.orders.v1.OrderService/ListOrders", READ, Patience::Answer),
    grpc("/amends.orders.v1.OrderService/GetSaga", READ, Patience::Answer),
    grpc("/amends.orders.v1.OrderService/WatchOrder", READ, Patience::Stream),
    // A method of a newer order service: it decides.
    grpc("/amends.orders.v1.OrderService", Access::Token, Patience::Answer),
    grpc("/grpc.health.v1.Health/Watch", HEALTH, Patience::Stream),
    grpc("/grpc.health.v1.Health", HEALTH, Patience::Answer),
    grpc("/grpc.reflection.v1.ServerReflection", REFLECTION, Patience::Dialogue),
    grpc("/grpc.reflection.v1alpha.ServerReflection", REFLECTION, Patience::Dialogue),
];

/// The route of a request, if there is one.
pub(crate) fn find(method: &Method, path: &str, is_grpc: bool) -> Option<Route> {
    let rules = if is_grpc { GRPC } else { REST };
    let mut found: Option<&Rule> = None;
    for rule in rules.iter().filter(|rule| covers(rule.prefix, path)) {
        let fits = rule.methods.is_empty() || rule.methods.contains(method);
        if fits && found.is_none_or(|best| rule.prefix.len() > best.prefix.len()) {
            found = Some(rule);
        }
    }
    let mut route = found?.route;
    if route.name.starts_with("/v1/") && !is_grpc {
        route.name = template(path).unwrap_or(route.name);
    }
    Some(route)
}

/// Whether a path is one of gRPC's: such a request over plain HTTP deserves to be told so.
pub(crate) fn is_grpc_path(path: &str) -> bool {
    GRPC.iter().any(|rule| covers(rule.prefix, path))
}

fn covers(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn template(path: &str) -> Option<&'static str> {
    let mut segments = path.trim_start_matches('/').split('/').skip(1);
    match (segments.next(), segments.next(), segments.next(), segments.next()) {
        (Some("orders"), Some(id), None, _) if !id.is_empty() => Some("/v1/orders/{id}"),
        (Some("orders"), Some(_), Some("cancel"), None) => Some("/v1/orders/{id}/cancel"),
        (Some("orders"), Some(_), Some("saga"), None) => Some("/v1/orders/{id}/saga"),
        (Some("items"), Some(sku), None, _) if !sku.is_empty() => Some("/v1/items/{sku}"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(method: &Method, path: &str) -> Option<(&'static str, Target, Access)> {
        find(method, path, false).map(|route| (route.name, route.target, route.access))
    }

    #[test]
    fn the_longest_prefix_wins_at_segment_boundaries() {
        let orders = Target::Forward(Upstream::OrderHttp);
        let identity = Target::Forward(Upstream::Identity);
        assert_eq!(row(&Method::GET, "/v1/orders"), Some(("/v1/orders", orders, READ)));
        assert_eq!(row(&Method::POST, "/v1/orders"), Some(("/v1/orders", orders, WRITE)));
        assert_eq!(row(&Method::GET, "/v1/orders/7"), Some(("/v1/orders/{id}", orders, READ)));
        assert_eq!(row(&Method::POST, "/v1/orders/7/cancel"), Some(("/v1/orders/{id}/cancel", orders, WRITE)));
        assert_eq!(row(&Method::GET, "/v1/orders/7/saga"), Some(("/v1/orders/{id}/saga", orders, READ)));
        assert_eq!(row(&Method::GET, "/v1/items/a"), Some(("/v1/items/{sku}", orders, ITEMS)));
        assert_eq!(row(&Method::GET, "/v1/ordersx"), Some(("/v1/*", orders, Access::Token)));
        assert_eq!(row(&Method::POST, "/auth/login"), Some(("/auth/*", identity, Access::Public)));
        assert_eq!(row(&Method::GET, "/.well-known/jwks.json"), Some(("/.well-known/*", identity, Access::Public)));
        assert_eq!(row(&Method::GET, "/healthz"), Some(("/healthz", Target::Liveness, Access::Public)));
        for nothing in ["/", "/v2/orders", "/V1/orders", "/authx", "/admin", "/metrics"] {
            assert_eq!(row(&Method::GET, nothing), None, "{nothing}");
        }
        assert_eq!(row(&Method::POST, "/healthz"), None);
    }

    #[test]
    fn grpc_has_its_own_table() {
        let find = |path| find(&Method::POST, path, true).map(|route| (route.access, route.patience));
        assert_eq!(find("/amends.orders.v1.OrderService/CreateOrder"), Some((WRITE, Patience::Answer)));
        assert_eq!(find("/amends.orders.v1.OrderService/WatchOrder"), Some((READ, Patience::Stream)));
        assert_eq!(find("/amends.orders.v1.OrderService/New"), Some((Access::Token, Patience::Answer)));
        assert_eq!(find("/grpc.health.v1.Health/Check"), Some((HEALTH, Patience::Answer)));
        assert_eq!(find("/grpc.health.v1.Health/Watch"), Some((HEALTH, Patience::Stream)));
        let dialogue = find("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo");
        assert_eq!(dialogue, Some((REFLECTION, Patience::Dialogue)));
        assert_eq!(find("/amends.payments.v1.PaymentService/Charge"), None);
        assert_eq!(find("/v1/orders"), None);
        assert!(is_grpc_path("/amends.orders.v1.OrderService/CreateOrder") && !is_grpc_path("/v1/orders"));
    }
}
