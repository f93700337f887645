//! The certificate callers see, read once at start-up.

mod validity;

use std::{path::Path, sync::Arc};

use anyhow::Context as _;
use prometheus_client::metrics::gauge::Gauge;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use service_base::metrics::Metrics;
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// Reads certificate and key.
///
/// # Errors
/// When a file cannot be read, or the two do not belong together.
pub(crate) fn acceptor(tls: &Tls, metrics: &Metrics) -> anyhow::Result<TlsAcceptor> {
    let chain = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .with_context(|| cannot_read("tls.certificate", &tls.certificate))?;
    anyhow::ensure!(!chain.is_empty(), "gateway.tls.certificate: {} has no certificate", tls.certificate.display());
    // The first of the chain to end ends it. What cannot be read here is shown as long over: better an alert too many.
    let ends = chain.iter().map(|certificate| validity::not_after(certificate).unwrap_or(0)).min().unwrap_or(0);
    let help = "When the first certificate of the chain that callers see expires";
    metrics.get_or_register::<Gauge>("tls_certificate_not_after_timestamp_seconds", help, Gauge::default).set(ends);
    let key = PrivateKeyDer::from_pem_file(&tls.key).with_context(|| cannot_read("tls.key", &tls.key))?;
    // Named, because two crates of this process bring a provider each, and rustls refuses to choose.
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("no TLS version is left to speak")?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("gateway.tls: certificate and key do not belong together")?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn cannot_read(key: &str, path: &Path) -> String {
    format!("gateway.{key}: {} cannot be read", path.display())
}
