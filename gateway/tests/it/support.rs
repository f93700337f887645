//! A gateway between a caller and three services that say what they saw.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use amends_protos::orders::v1::{
    CancelOrderRequest, CancelOrderResponse, CreateOrderRequest, CreateOrderResponse, GetOrderRequest,
    GetOrderResponse, GetSagaRequest, GetSagaResponse, ListOrdersRequest, ListOrdersResponse, Order, OrderStatus,
    WatchOrderRequest, WatchOrderResponse,
    order_service_server::{OrderService, OrderServiceServer},
};
use axum::{Json, Router, body::Bytes, extract::Request, http::StatusCode, response::IntoResponse, routing::get};
use gateway::Config;
use serde_json::{Value, json};
use service_kit::Runtime;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

/// Longer than anything here takes; only a failure meets it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
const ISSUER: &str = "http://issuer.test";

/// Makes tokens as the identity service would.
pub(crate) struct Issuer(amends_testing::Issuer);

impl Issuer {
    pub(crate) fn new() -> Self {
        Self(amends_testing::Issuer::new(ISSUER))
    }

    pub(crate) fn token(&self, subject: &str, scope: &str) -> String {
        self.token_with(subject, scope, &json!({}))
    }

    /// A token whose claims are overridden.
    pub(crate) fn token_with(&self, subject: &str, scope: &str, claims: &Value) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut all = json!({"client_id": "test", "jti": format!("t-{}", COUNT.fetch_add(1, Ordering::Relaxed))});
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        self.0.token(now.try_into().unwrap(), subject, scope, &all)
    }
}

/// A gateway that runs until it is dropped.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) issuer: Arc<Issuer>,
    pub(crate) runtime: Runtime,
    pub(crate) config: Config,
    pub(crate) running: Option<JoinHandle<anyhow::Result<()>>>,
}

impl World {
    /// With the defaults.
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With a configuration of its own; the upstreams are set already.
    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let issuer = Arc::new(Issuer::new());
        let identity = serve_http(identity(&issuer)).await;
        let mut config = Config { listen: ([127, 0, 0, 1], 0).into(), ..Config::default() };
        config.auth.issuer = ISSUER.into();
        config.auth.jwks_url = format!("http://{identity}/.well-known/jwks.json");
        config.upstreams.identity = identity.to_string();
        config.upstreams.order_http = serve_http(orders()).await.to_string();
        config.upstreams.order_grpc = serve_grpc().await.to_string();
        change(&mut config);
        let runtime = Runtime::new();
        let app = gateway::build(config.clone(), &runtime).await.unwrap();
        let address = app.addresses().public;
        let running = Some(tokio::spawn(app.run()));
        Self { address, issuer, runtime, config, running }
    }

    pub(crate) fn token(&self, scope: &str) -> String {
        self.issuer.token("ann", scope)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A client that keeps one connection per host and follows nothing.
    pub(crate) fn client() -> reqwest::Client {
        client().build().unwrap()
    }

    /// The same over HTTP/2 with prior knowledge.
    pub(crate) fn client_h2() -> reqwest::Client {
        client().http2_prior_knowledge().build().unwrap()
    }

    pub(crate) async fn connect(&self) -> Raw {
        Raw(TcpStream::connect(self.address).await.unwrap())
    }

    /// A connection from another of the loopback's addresses.
    pub(crate) async fn connect_from(&self, address: [u8; 4]) -> Raw {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((address, 0).into()).unwrap();
        Raw(socket.connect(self.address).await.unwrap())
    }

    /// Waits until at least this much of one kind of resource is held.
    pub(crate) async fn until_held(&self, kind: &str, amount: usize) {
        let label = format!("kind=\"{kind}\"");
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let enough = || self.metric("gateway_held{", &[&label]).unwrap_or(0.0) >= amount as f64;
        until(|| std::future::ready(enough())).await;
    }

    /// Sends bytes on a connection of their own and reads to its end.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut connection = self.connect().await;
        connection.send(request).await;
        connection.read_to_end().await
    }

    /// Whether a line of the metrics page begins so, and has that value.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let page = self.runtime.metrics.encode();
        let line =
            page.lines().find(|line| line.starts_with(name) && labels.iter().all(|label| line.contains(label)))?;
        let line = line.split(" # ").next()?;
        line.rsplit(' ').next()?.parse().ok()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.runtime.shutdown.trigger();
    }
}

/// Asks again until the answer is yes.
pub(crate) async fn until<F: Future<Output = bool>>(mut ask: impl FnMut() -> F) {
    let asking = async {
        while !ask().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("it never comes true");
}

fn client() -> reqwest::ClientBuilder {
    service_base::client::internal().timeout(PATIENCE)
}

/// A connection without any library's opinion.
pub(crate) struct Raw(pub(crate) TcpStream);

impl Raw {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The other side may have had enough already; what it said is what counts.
        let _ = self.0.write_all(bytes.as_ref()).await;
    }

    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.0.read_to_end(&mut answer)).await;
        read.expect("the connection stays open").unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Reads one answer with a Content-Length.
    pub(crate) async fn read_answer(&mut self) -> String {
        let mut answer = Vec::new();
        let whole = async {
            loop {
                let head = answer.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
                if let Some(head) = head {
                    let text = String::from_utf8_lossy(&answer[..head]).to_lowercase();
                    let length = text.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
                    if answer.len() >= head + length.map_or(0, |length| length.parse::<usize>().unwrap()) {
                        return;
                    }
                }
                assert_ne!(self.0.read_buf(&mut answer).await.unwrap(), 0, "closed after {answer:?}");
            }
        };
        tokio::time::timeout(PATIENCE, whole).await.expect("no whole answer");
        String::from_utf8(answer).unwrap()
    }
}

/// Status, header lines in lower case, and body of an answer.
pub(crate) fn parse(answer: &str) -> (u16, BTreeMap<String, String>, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers =
        lines.map(|line| line.split_once(": ").unwrap()).map(|(k, v)| (k.to_lowercase(), v.to_owned())).collect();
    (status, headers, serde_json::from_str(body).unwrap_or(Value::Null))
}

pub(crate) async fn serve_http(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

pub(crate) async fn serve_http_at(address: SocketAddr, router: Router) {
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
}

async fn serve_grpc() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    serve_grpc_on(listener);
    address
}

pub(crate) fn serve_grpc_on(listener: TcpListener) {
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let (_, health) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(amends_protos::FILE_DESCRIPTOR_SET)
        .build_v1()
        .unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(OrderServiceServer::new(Double))
        .add_service(health)
        .add_service(reflection);
    tokio::spawn(server.serve_with_incoming(incoming));
}

/// A port without a listener.
pub(crate) async fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn identity(issuer: &Arc<Issuer>) -> Router {
    let jwks = issuer.0.jwks();
    Router::new()
        .route("/.well-known/jwks.json", get(move || async move { Json(jwks) }))
        .fallback(|request| echo("identity", request))
}

/// Says what it saw.
pub(crate) fn orders() -> Router {
    Router::new()
        .route("/v1/orders/slow", get(std::future::pending::<StatusCode>))
        .route("/v1/orders/broken", get(|| async { (StatusCode::INTERNAL_SERVER_ERROR, "oops").into_response() }))
        .fallback(|request| echo("orders", request))
}

async fn echo(who: &'static str, request: Request) -> Json<Value> {
    let (head, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    let mut headers = BTreeMap::<String, Vec<String>>::new();
    for (name, value) in &head.headers {
        headers.entry(name.to_string()).or_default().push(String::from_utf8_lossy(value.as_bytes()).into_owned());
    }
    Json(json!({
        "who": who, "method": head.method.as_str(), "target": head.uri.to_string(), "headers": headers,
        "body_bytes": body.len(), "body": String::from_utf8_lossy(&body[..body.len().min(200)]),
    }))
}

/// An order service that answers by the request's id.
struct Double;

fn order(id: &str, status: OrderStatus, seen: &tonic::metadata::MetadataMap) -> Order {
    // The customer field carries what the service saw of the caller's metadata.
    let seen: Vec<String> =
        seen.clone().into_headers().iter().map(|(k, v)| format!("{k}={}", v.to_str().unwrap_or("?"))).collect();
    Order { id: id.to_owned(), status: status.into(), customer_id: seen.join("\n"), ..Order::default() }
}

type Watch = Pin<Box<dyn tokio_stream::Stream<Item = Result<WatchOrderResponse, Status>> + Send>>;

#[tonic::async_trait]
impl OrderService for Double {
    async fn create_order(
        &self,
        request: tonic::Request<CreateOrderRequest>,
    ) -> Result<tonic::Response<CreateOrderResponse>, Status> {
        let order = order("new", OrderStatus::Confirmed, request.metadata());
        Ok(tonic::Response::new(CreateOrderResponse { order: Some(order), replayed: false }))
    }

    async fn get_order(
        &self,
        request: tonic::Request<GetOrderRequest>,
    ) -> Result<tonic::Response<GetOrderResponse>, Status> {
        match request.get_ref().order_id.as_str() {
            "missing" => {
                let details = ErrorDetails::with_error_info(
                    "ORDER_NOT_FOUND",
                    "amends.invalid",
                    [("k".to_owned(), "v".to_owned())],
                );
                Err(Status::with_error_details(tonic::Code::NotFound, "there is no such order: ünïcode", details))
            }
            "slow" => std::future::pending().await,
            id => {
                let order = order(id, OrderStatus::Confirmed, request.metadata());
                Ok(tonic::Response::new(GetOrderResponse { order: Some(order) }))
            }
        }
    }

    async fn list_orders(
        &self,
        _: tonic::Request<ListOrdersRequest>,
    ) -> Result<tonic::Response<ListOrdersResponse>, Status> {
        // Larger than any window, so that flow control is seen to work through the gateway.
        let orders =
            (0..4000).map(|n| Order { id: n.to_string(), customer_id: "x".repeat(500), ..Order::default() }).collect();
        Ok(tonic::Response::new(ListOrdersResponse { orders, next_page_token: String::new() }))
    }

    async fn cancel_order(
        &self,
        _: tonic::Request<CancelOrderRequest>,
    ) -> Result<tonic::Response<CancelOrderResponse>, Status> {
        Err(Status::failed_precondition("shipped"))
    }

    type WatchOrderStream = Watch;

    async fn watch_order(&self, request: tonic::Request<WatchOrderRequest>) -> Result<tonic::Response<Watch>, Status> {
        let answer = |status| Ok(WatchOrderResponse { order: Some(order("watched", status, request.metadata())) });
        let first = answer(OrderStatus::Pending);
        let rest: Vec<Result<WatchOrderResponse, Status>> = match request.get_ref().order_id.as_str() {
            "fails" => vec![Err(Status::aborted("the stream failed"))],
            "endless" => {
                let endless = tokio_stream::StreamExt::chain(tokio_stream::once(first), tokio_stream::pending());
                return Ok(tonic::Response::new(Box::pin(endless)));
            }
            _ => vec![answer(OrderStatus::Confirmed)],
        };
        let answers = std::iter::once(first).chain(rest);
        Ok(tonic::Response::new(Box::pin(tokio_stream::iter(answers.collect::<Vec<_>>()))))
    }

    async fn get_saga(&self, _: tonic::Request<GetSagaRequest>) -> Result<tonic::Response<GetSagaResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}
