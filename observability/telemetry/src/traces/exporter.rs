//! The connection to a collector: OTLP over gRPC or HTTP, with or without TLS, with the headers that hosted backends ask for.
//!
//! Must not know: which spans are sent.

use std::{collections::HashMap, fmt, path::Path, str::FromStr as _, sync::Arc, time::Duration};

use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _, WithTonicConfig as _};
use tokio::runtime::Handle;
use tonic::{
    metadata::{MetadataKey, MetadataMap},
    transport::{Certificate, ClientTlsConfig},
};

use crate::{Config, InitError, config::OtlpProtocol};

/// How long the collector may take for a batch.
pub(super) const EXPORT_MAX: Duration = Duration::from_secs(5);
/// Where OTLP over HTTP takes spans (OTLP specification, "OTLP/HTTP request").
const HTTP_PATH: &str = "/v1/traces";

/// Makes exporters; each has a connection of its own.
#[derive(Clone)]
pub(super) struct Connector {
    endpoint: String,
    protocol: OtlpProtocol,
    headers: Vec<(String, String)>,
    tls: Option<Tls>,
    runtime: Handle,
}

#[derive(Clone)]
struct Tls {
    config: ClientTlsConfig,
    client: reqwest::Client,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The headers hold keys.
        f.debug_struct("Connector")
            .field("endpoint", &self.endpoint)
            .field("protocol", &self.protocol)
            .finish_non_exhaustive()
    }
}

impl Connector {
    pub(super) fn new(config: &Config, endpoint: &str, runtime: &Handle) -> Result<Self, InitError> {
        let tls = endpoint.starts_with("https://").then(|| tls(config.otlp_ca_file.as_deref())).transpose()?;
        Ok(Self {
            endpoint: endpoint.to_owned(),
            protocol: config.otlp_protocol,
            headers: config.otlp_headers.pairs().map_err(|error| InitError::Exporter(error.into()))?,
            tls,
            runtime: runtime.clone(),
        })
    }

    pub(super) fn connect(&self) -> Result<SpanExporter, InitError> {
        let _entered = self.runtime.enter();
        let exporter = match self.protocol {
            OtlpProtocol::Grpc => self.over_grpc()?.build(),
            OtlpProtocol::Http => self.over_http()?.build(),
        };
        exporter.map_err(|error| InitError::Exporter(error.into()))
    }

    fn over_grpc(
        &self,
    ) -> Result<opentelemetry_otlp::SpanExporterBuilder<opentelemetry_otlp::TonicExporterBuilderSet>, InitError> {
        let mut metadata = MetadataMap::new();
        for (name, value) in &self.headers {
            let key = MetadataKey::from_str(name).map_err(|error| InitError::Exporter(error.into()))?;
            metadata.insert(key, value.parse().map_err(|_| unfit(name))?);
        }
        let builder = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint)
            .with_timeout(EXPORT_MAX)
            .with_metadata(metadata);
        Ok(match &self.tls {
            Some(tls) => builder.with_tls_config(tls.config.clone()),
            None => builder,
        })
    }

    fn over_http(
        &self,
    ) -> Result<opentelemetry_otlp::SpanExporterBuilder<opentelemetry_otlp::HttpExporterBuilderSet>, InitError> {
        let client = match &self.tls {
            Some(tls) => tls.client.clone(),
            None => client(builder())?,
        };
        let endpoint = self.endpoint.trim_end_matches('/');
        let endpoint =
            if endpoint.ends_with(HTTP_PATH) { endpoint.to_owned() } else { format!("{endpoint}{HTTP_PATH}") };
        Ok(SpanExporter::builder()
            .with_http()
            .with_endpoint(endpoint)
            .with_protocol(Protocol::HttpBinary)
            .with_timeout(EXPORT_MAX)
            .with_headers(self.headers.iter().cloned().collect::<HashMap<_, _>>())
            .with_http_client(OnRuntime { client: Arc::new(client), runtime: self.runtime.clone() }))
    }
}

fn unfit(name: &str) -> InitError {
    InitError::Exporter(format!("the value of the header {name} cannot be sent").into())
}

#[expect(clippy::disallowed_methods, reason = "below the crate that has ours; `client` sees to the same")]
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
}

fn client(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, InitError> {
    // A proxy variable of the environment is meant for other programs.
    builder.no_proxy().timeout(EXPORT_MAX).build().map_err(|error| InitError::Exporter(error.into()))
}

/// The system's certificates, or those of one file alone.
fn tls(ca_file: Option<&Path>) -> Result<Tls, InitError> {
    let Some(file) = ca_file else {
        let config = ClientTlsConfig::new().with_native_roots();
        return Ok(Tls { config, client: client(builder())? });
    };
    let pem = std::fs::read(file).map_err(InitError::File)?;
    let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| InitError::Exporter(error.into()))?;
    Ok(Tls {
        config: ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&pem)),
        client: client(builder().tls_certs_only(roots))?,
    })
}

/// A client whose connections live on a runtime; the exporter's own thread has none.
#[derive(Debug)]
struct OnRuntime {
    client: Arc<reqwest::Client>,
    runtime: Handle,
}

#[async_trait::async_trait]
impl HttpClient for OnRuntime {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = Arc::clone(&self.client);
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request.try_into()?).await?;
            let mut response = Response::builder().status(answer.status());
            if let Some(headers) = response.headers_mut() {
                headers.extend(answer.headers().clone());
            }
            Ok::<_, HttpError>(response.body(answer.bytes().await?)?)
        });
        sent.await?
    }
}
