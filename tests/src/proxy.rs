//! A TCP forwarder that a test can cut and repair: for dependencies whose process the test cannot kill.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

const OPEN: u8 = 0;
const CUT: u8 = 1;
const STALLED: u8 = 2;

/// Forwards one loopback port to a server.
pub struct Proxy {
    /// Where clients connect.
    pub address: SocketAddr,
    mode: Arc<AtomicU8>,
    /// Bumped at each cut, so that connections in flight end too.
    cuts: watch::Sender<u64>,
}

impl Proxy {
    /// Starts forwarding to `target` until the runtime ends.
    ///
    /// # Errors
    /// When no port can be bound.
    pub async fn start(target: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mode = Arc::new(AtomicU8::new(OPEN));
        let (cuts, _) = watch::channel(0);
        tokio::spawn(accept(listener, target, Arc::clone(&mode), cuts.clone()));
        Ok(Self { address, mode, cuts })
    }

    /// Ends every connection and refuses new ones, as a dead server does.
    pub fn cut(&self) {
        self.switch(CUT);
    }

    /// Accepts connections and never answers, as a frozen server does.
    pub fn stall(&self) {
        self.switch(STALLED);
    }

    /// Forwards again.
    pub fn repair(&self) {
        self.switch(OPEN);
    }

    fn switch(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
        self.cuts.send_modify(|count| *count += 1);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, mode: Arc<AtomicU8>, cuts: watch::Sender<u64>) {
    while let Ok((client, _)) = listener.accept().await {
        let mut cut = cuts.subscribe();
        cut.mark_unchanged();
        match mode.load(Ordering::SeqCst) {
            CUT => drop(client),
            STALLED => {
                tokio::spawn(async move {
                    let _held_open = client;
                    let _ = cut.changed().await;
                });
            }
            _ => {
                tokio::spawn(forward(client, target, cut));
            }
        }
    }
}

async fn forward(mut client: TcpStream, target: SocketAddr, mut cut: watch::Receiver<u64>) {
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = cut.changed() => {}
    }
}
