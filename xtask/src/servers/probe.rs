//! Whether a server answers in its own protocol. A port that accepts connections is not yet a server that serves.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

const BOUND: Duration = Duration::from_secs(2);

pub(super) fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, BOUND)?;
    stream.set_read_timeout(Some(BOUND))?;
    stream.set_write_timeout(Some(BOUND))?;
    Ok(stream)
}

/// An authentication request (`R`) answers our start-up message; while it recovers, an error (`E`) does.
pub(super) fn postgres(address: SocketAddr) -> bool {
    let fields = b"user\0postgres\0database\0postgres\0\0";
    let mut message = Vec::new();
    message.extend(u32::try_from(fields.len() + 8).unwrap_or_default().to_be_bytes());
    message.extend(196_608_u32.to_be_bytes());
    message.extend(fields);
    first_bytes(address, &message, 1).is_ok_and(|answer| answer == b"R")
}

pub(super) fn redis(address: SocketAddr) -> bool {
    first_bytes(address, b"PING\r\n", 5).is_ok_and(|answer| answer == b"+PONG")
}

pub(super) fn http_ok(address: SocketAddr, path: &str) -> bool {
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    first_bytes(address, request.as_bytes(), 12).is_ok_and(|answer| answer == b"HTTP/1.1 200")
}

fn first_bytes(address: SocketAddr, question: &[u8], count: usize) -> std::io::Result<Vec<u8>> {
    let mut stream = connect(address)?;
    stream.write_all(question)?;
    let mut answer = vec![0; count];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}
