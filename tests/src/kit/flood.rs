//! Callers that exhaust resources: connections, streams, bodies that do not end. Each from an address of its own on the loopback
//! network, so that it can be seen whom it takes things from.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use amends::client::Client;
use anyhow::{Context, Result};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{
    Request,
    body::Frame,
    client::conn::http2::{SendRequest, handshake},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};

/// Another address of this machine than customers have.
pub const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
/// One more.
pub const ELSEWHERE_TOO: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

/// A request's body.
type Body = BoxBody<Bytes, Infallible>;

/// A client that comes from this address.
///
/// # Errors
/// When it cannot be made.
pub fn client_from(address: IpAddr, gateway: SocketAddr, patience: Duration) -> Result<Client> {
    let http = service_base::client::internal().local_address(address).timeout(patience).build()?;
    Ok(Client::over(gateway, http))
}

/// A connection from this address.
///
/// # Errors
/// When it is not accepted.
pub async fn connect_from(address: IpAddr, to: SocketAddr) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((address, 0).into())?;
    Ok(socket.connect(to).await?)
}

/// Connections that say nothing. Those that are refused or closed at once are not counted here: they are the other side's answer.
pub async fn idle_connections(from: IpAddr, to: SocketAddr, count: usize) -> Vec<TcpStream> {
    let connected = stream::iter(0..count).map(|_| connect_from(from, to)).buffer_unordered(64);
    connected.filter_map(|connection| async { connection.ok() }).collect().await
}

/// What goes on until it is dropped.
#[derive(Debug)]
pub struct Flood(Vec<JoinHandle<()>>);

impl Drop for Flood {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

/// What each stream of a flood asks for.
#[derive(Debug, Clone)]
pub enum Ask {
    /// To be told of each change of health, for ever: no token is needed.
    WatchHealth,
    /// To place an order whose body does not end.
    EndlessOrder {
        /// Whose order.
        token: String,
    },
}

impl Ask {
    fn request(&self, gateway: SocketAddr) -> Result<Request<Body>> {
        let post = |path: &str| Request::post(format!("http://{gateway}{path}"));
        Ok(match self {
            // An empty message, framed.
            Self::WatchHealth => post("/grpc.health.v1.Health/Watch")
                .header("content-type", "application/grpc")
                .header("te", "trailers")
                .body(Full::new(Bytes::from_static(&[0; 5])).boxed())?,
            Self::EndlessOrder { token } => {
                let beginning = stream::iter([Ok(Frame::data(Bytes::from_static(b"{\"items\": [")))]);
                post("/v1/orders")
                    .header("content-type", "application/json")
                    .header("authorization", format!("Bearer {token}"))
                    .header("idempotency-key", crate::check::key())
                    .body(http_body_util::BodyExt::boxed(StreamBody::new(beginning.chain(stream::pending()))))?
            }
        })
    }
}

/// HTTP/2 connections with `each` streams, which all ask and hold on to what they get. Those that are cut are made again, as a
/// stubborn caller does.
pub fn streams(from: IpAddr, gateway: SocketAddr, connections: usize, each: usize, ask: &Ask) -> Flood {
    let connection = |_| {
        let ask = ask.clone();
        tokio::spawn(async move {
            loop {
                // However it ends, it comes again.
                let _cut = one_connection(from, gateway, each, &ask).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    };
    Flood((0..connections).map(connection).collect())
}

async fn one_connection(from: IpAddr, gateway: SocketAddr, streams: usize, ask: &Ask) -> Result<()> {
    let stream = connect_from(from, gateway).await?;
    let (mut sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let driven = tokio::spawn(connection);
    let mut held = Vec::new();
    for _ in 0..streams {
        held.push(tokio::spawn(hold(sender.clone(), ask.request(gateway)?)));
    }
    let cut = driven.await;
    held.iter().for_each(JoinHandle::abort);
    sender.ready().await.context("the connection is over")?;
    Ok(cut??)
}

/// Asks, and reads the answer to its end, if it has one.
async fn hold(mut sender: SendRequest<Body>, request: Request<Body>) {
    if sender.ready().await.is_ok()
        && let Ok(answer) = sender.send_request(request).await
    {
        let mut body = answer.into_body();
        // A broken connection gives its error again and again, at once: asked on, this task would take a processor for ever.
        while let Some(Ok(_)) = body.frame().await {}
    }
}

/// HTTP/1.1 requests whose bodies arrive a byte now and then.
pub fn trickling_orders(from: IpAddr, gateway: SocketAddr, count: usize, token: &str) -> Flood {
    let trickle = |_| {
        let head = format!(
            "POST /v1/orders HTTP/1.1\r\nhost: {gateway}\r\nauthorization: Bearer {token}\r\nidempotency-key: {}\r\n\
             content-type: application/json\r\ncontent-length: 4096\r\n\r\n",
            crate::check::key()
        );
        tokio::spawn(async move {
            loop {
                if let Ok(mut connection) = connect_from(from, gateway).await
                    && connection.write_all(head.as_bytes()).await.is_ok()
                {
                    while connection.write_all(b" ").await.is_ok() {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                    }
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        })
    };
    Flood((0..count).map(trickle).collect())
}
