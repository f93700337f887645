//! One address before several replicas, as a service has in a cluster: each connection goes to the next replica that accepts it. It knows
//! nothing of requests, and no connection of a replica that ends is moved to another.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

/// Listens on a free port until the runtime ends, and forwards to `replicas` in turn. Its address.
///
/// # Errors
/// When no port can be bound.
pub async fn before(replicas: Vec<SocketAddr>) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let next = AtomicUsize::new(0);
        while let Ok((caller, _)) = listener.accept().await {
            let first = next.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(forward(caller, replicas.clone(), first));
        }
    });
    Ok(address)
}

async fn forward(mut caller: TcpStream, replicas: Vec<SocketAddr>, first: usize) {
    for turn in 0..replicas.len() {
        let replica = replicas[(first + turn) % replicas.len()];
        if let Ok(mut server) = TcpStream::connect(replica).await {
            let _ = (caller.set_nodelay(true), server.set_nodelay(true));
            // The side that closes first closes for both.
            let _closed = copy_bidirectional(&mut caller, &mut server).await;
            return;
        }
    }
}
