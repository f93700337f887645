//! A proxy that records what it is asked and does nothing: what it receives has leaked to a stranger.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Mutex,
};

/// A listening recorder, until the runtime ends.
#[derive(Debug)]
pub struct Recorder {
    /// Where it listens.
    pub address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    /// Listens on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let heard = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let record = Arc::clone(&record);
                tokio::spawn(async move {
                    let mut said = vec![0; 16 * 1024];
                    // One that connects and says nothing has told nothing, but has come.
                    let read = tokio::time::timeout(Duration::from_secs(2), caller.read(&mut said)).await;
                    let length = read.map_or(0, |read| read.unwrap_or(0));
                    record.lock().await.push(String::from_utf8_lossy(&said[..length]).into_owned());
                    let _gone = caller.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n").await;
                });
            }
        });
        Ok(Self { address, heard })
    }

    /// All that it was told, a connection an entry.
    pub async fn heard(&self) -> Vec<String> {
        self.heard.lock().await.clone()
    }
}
