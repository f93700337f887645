//! One connection to the sink, in clear or in TLS. Writes wait a moment at most.
//!
//! Must not know: lines.

use std::{
    fmt,
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    path::Path,
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

const CONNECT_MAX: Duration = Duration::from_secs(2);
/// What one write may wait for: then the caller looks whether the process ends.
const WRITE_WAIT: Duration = Duration::from_millis(50);

/// How a connection has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// The sink has closed it, and had read everything until then.
    InOrder,
    /// It was cut: what the sink had read is not known.
    Broken,
    /// It takes nothing.
    Stalled,
}

/// Where lines go.
#[derive(Clone)]
pub(crate) struct Sink {
    address: String,
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("address", &self.address).field("tls", &self.tls.is_some()).finish()
    }
}

impl Sink {
    /// At `host:port`.
    pub(crate) fn plain(address: &str) -> Self {
        Self { address: address.to_owned(), tls: None }
    }

    /// At `host:port` in TLS, trusted by the certificates in `ca_file`, or by the system's.
    pub(crate) fn tls(address: &str, ca_file: Option<&Path>) -> io::Result<Self> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        match ca_file {
            Some(file) => {
                for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
                    roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
                }
                if roots.is_empty() {
                    return Err(io::Error::other("there is no certificate in it"));
                }
            }
            None => {
                // Those that cannot be read are as if they were not there.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { address: address.to_owned(), tls: Some((Arc::new(config), name)) })
    }

    pub(super) fn connect(&self) -> io::Result<Wire> {
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in self.address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, CONNECT_MAX) {
                Ok(stream) => return self.greet(stream),
                Err(error) => last = error,
            }
        }
        // Also where it took too long: there is no connection to try again.
        Err(io::Error::other(last))
    }

    fn greet(&self, mut stream: TcpStream) -> io::Result<Wire> {
        let mut tls = None;
        if let Some((config, name)) = &self.tls {
            let mut session = ClientConnection::new(Arc::clone(config), name.clone()).map_err(io::Error::other)?;
            stream.set_read_timeout(Some(CONNECT_MAX))?;
            stream.set_write_timeout(Some(CONNECT_MAX))?;
            while session.is_handshaking() {
                session.complete_io(&mut stream).map_err(io::Error::other)?;
            }
            tls = Some(Box::new(session));
        }
        stream.set_write_timeout(Some(WRITE_WAIT))?;
        let mut wire = Wire { stream, tls, written: 0 };
        wire.flush()?;
        Ok(wire)
    }
}

pub(super) struct Wire {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
    /// Bytes that the kernel has taken, the handshake's not counted.
    written: u64,
}

impl Wire {
    pub(super) const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Writes some of it.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.tls.is_none() {
            let count = self.stream.write(bytes)?;
            self.written += count as u64;
            return if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) };
        }
        self.flush()?;
        // Sealed into the session's own buffer, which is empty; what the kernel does not take of that is flushed later.
        let Some(tls) = &mut self.tls else { return Ok(0) };
        tls.writer().write(bytes)
    }

    /// Has the kernel take everything.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return Ok(()) };
        while tls.wants_write() {
            self.written += tls.write_tls(&mut self.stream)? as u64;
        }
        Ok(())
    }

    /// Whether the other side has ended the connection, and how. A write would not tell: it succeeds once more, into nothing.
    pub(super) fn has_ended(&mut self) -> Option<Ended> {
        if self.stream.set_nonblocking(true).is_err() {
            return Some(Ended::Broken);
        }
        let read = match &mut self.tls {
            None => self.stream.read(&mut [0; 64]),
            Some(tls) => tls.read_tls(&mut self.stream).and_then(|count| {
                tls.process_new_packets().map_err(io::Error::other)?;
                Ok(count)
            }),
        };
        let ended = match read {
            Ok(0) => Some(Ended::InOrder),
            // A sink that says something is not listened to.
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(_) => Some(Ended::Broken),
        };
        if self.stream.set_nonblocking(false).is_err() { Some(Ended::Broken) } else { ended }
    }

    /// Closes it so that nothing arrives that the other side's machine does not have: what is counted as lost is lost, and what is sent
    /// again is not there twice.
    pub(super) fn abort(self) {
        // Fails where the connection is gone anyway.
        #[cfg(unix)]
        let _ = rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO));
    }
}
