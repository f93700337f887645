//! How much of what was written to a connection its other side has not acknowledged: asked of the kernel over netlink (`sock_diag(7)`),
//! since the connection itself does not say.
//!
//! Must not know: lines.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpStream},
};

#[cfg(target_os = "linux")]
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

/// `SOCK_DIAG_BY_FAMILY`, of request and answer.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`
const REQUEST: u16 = 1;
const TCP: u8 = 6;
const HEADER: usize = 16;
/// `struct inet_diag_req_v2`
const ASKED: usize = 56;
/// Of both.
const LENGTH: u32 = 72;
/// Where `idiag_wqueue` is in `struct inet_diag_msg`.
const WAITING_AT: usize = HEADER + 4 + 48 + 8;

/// Asks about connections.
#[derive(Debug)]
pub(crate) struct SendQueues(std::os::fd::OwnedFd);

impl SendQueues {
    /// Where the kernel can be asked.
    #[cfg(target_os = "linux")]
    pub(crate) fn open() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        Ok(Self(socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG))?))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn open() -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Bytes of `stream` that were written and not acknowledged. Fails once the connection is gone.
    pub(crate) fn of(&self, stream: &TcpStream) -> io::Result<u64> {
        let question = question(stream.local_addr()?, stream.peer_addr()?);
        let mut answer = [0; 1024];
        let length = self.ask(&question, &mut answer)?;
        let answer = &answer[..length];
        let kind = answer.get(4..6).map(|kind| u16::from_ne_bytes([kind[0], kind[1]]));
        match (kind, answer.get(WAITING_AT..WAITING_AT + 4)) {
            (Some(BY_FAMILY), Some(&[a, b, c, d])) => Ok(u64::from(u32::from_ne_bytes([a, b, c, d]))),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    #[cfg(target_os = "linux")]
    fn ask(&self, question: &[u8], answer: &mut [u8]) -> io::Result<usize> {
        send(&self.0, question, SendFlags::empty())?;
        // The kernel answers within the call above.
        let (_, length) = recv(&self.0, answer, RecvFlags::DONTWAIT)?;
        Ok(length)
    }

    #[cfg(not(target_os = "linux"))]
    fn ask(&self, _: &[u8], _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn question(local: SocketAddr, peer: SocketAddr) -> [u8; HEADER + ASKED] {
    let mut text = [0; HEADER + ASKED];
    text[0..4].copy_from_slice(&LENGTH.to_ne_bytes());
    text[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    text[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    // `AF_INET`, `AF_INET6`
    text[HEADER] = if local.is_ipv4() { 2 } else { 10 };
    text[HEADER + 1] = TCP;
    // Connections in any state.
    text[HEADER + 4..HEADER + 8].copy_from_slice(&u32::MAX.to_ne_bytes());
    let id = &mut text[HEADER + 8..];
    id[0..2].copy_from_slice(&local.port().to_be_bytes());
    id[2..4].copy_from_slice(&peer.port().to_be_bytes());
    for (at, address) in [(4, local.ip()), (20, peer.ip())] {
        match address {
            IpAddr::V4(address) => id[at..at + 4].copy_from_slice(&address.octets()),
            IpAddr::V6(address) => id[at..at + 16].copy_from_slice(&address.octets()),
        }
    }
    // On any interface, and without a cookie.
    id[40..48].copy_from_slice(&[0xff; 8]);
    text
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{io::Write as _, net::TcpListener};

    use super::*;

    #[test]
    fn what_is_not_acknowledged_is_known() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let queues = SendQueues::open().unwrap();
            assert_eq!(queues.of(&stream).unwrap(), 0);
            stream.set_nonblocking(true).unwrap();
            // Until nothing more fits: the reader's buffer is full, and so is the writer's.
            while stream.write(&[0; 4096]).is_ok() {}
            assert!(queues.of(&stream).unwrap() > 0);
            drop(listener);
        }
    }
}
