//! Replays a committed pact against a running provider.

use std::{collections::HashMap, net::SocketAddr, path::Path, sync::Arc};

use async_trait::async_trait;
use pact_models::prelude::ProviderState;
use pact_verifier::{
    FilterInfo, NullRequestFilterExecutor, PactSource, ProviderInfo, ProviderTransport, VerificationOptions,
    callback_executors::ProviderStateExecutor, verify_provider_async,
};
use serde_json::Value;

/// Brings the provider into the state an interaction starts from.
#[async_trait]
pub(crate) trait States: std::fmt::Debug + Send + Sync + 'static {
    /// Values that replace the pact's examples (`fromProviderState`).
    async fn enter(&self, state: &str) -> anyhow::Result<HashMap<String, Value>>;
}

#[derive(Debug)]
struct Executor<S>(S);

#[async_trait]
impl<S: States> ProviderStateExecutor for Executor<S> {
    async fn call(
        self: Arc<Self>,
        _interaction: Option<String>,
        state: &ProviderState,
        setup: bool,
        _client: Option<&reqwest::Client>,
    ) -> anyhow::Result<HashMap<String, Value>> {
        if setup { self.0.enter(&state.name).await } else { Ok(HashMap::new()) }
    }

    fn teardown(&self) -> bool {
        false
    }
}

/// Whether the provider at `address` keeps the pact; the report is printed.
pub(crate) async fn verify(
    provider: &str,
    address: SocketAddr,
    transport: &str,
    pact: &Path,
    headers: HashMap<String, String>,
    states: impl States,
) -> bool {
    let transport = ProviderTransport {
        transport: transport.to_owned(),
        port: Some(address.port()),
        path: None,
        scheme: Some("http".to_owned()),
    };
    let info = ProviderInfo {
        name: provider.to_owned(),
        host: address.ip().to_string(),
        transports: vec![transport],
        ..ProviderInfo::default()
    };
    let options: VerificationOptions<NullRequestFilterExecutor> =
        VerificationOptions { custom_headers: headers, coloured_output: false, ..VerificationOptions::default() };
    let source = vec![PactSource::File(pact.display().to_string())];
    let result = verify_provider_async(
        info,
        source,
        FilterInfo::None,
        vec![],
        &options,
        None,
        &Arc::new(Executor(states)),
        None,
    )
    .await;
    let result = result.unwrap();
    println!("{}", result.output.join("\n"));
    assert!(!result.interaction_results.is_empty(), "the pact has no interactions");
    result.result
}
