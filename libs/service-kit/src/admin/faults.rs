//! `/faults` on the admin listener: what goes wrong, by the services' sections.
//!
//! | | |
//! |---|---|
//! | `GET` | `{"payment": {"error_pct": 0, …}}` |
//! | `PUT` | the same; services that are not named stay as they are, fields that are not given are off |
//! | `DELETE` | everything off |
//!
//! Answers with what goes wrong afterwards. Where no service has a switch, there is nothing at this path.

use std::collections::BTreeMap;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    routing::get,
};

use crate::{
    faults::{FaultSwitches, Faults, FaultsConfig},
    http::JsonBody,
};
use service_base::problem::{Code, FieldError, Problem};

/// Two lists of a hundred names fit.
const BODY_BYTES_MAX: usize = 64 * 1024;

type Told = BTreeMap<String, FaultsConfig>;

pub(crate) fn router(switches: FaultSwitches) -> Router {
    Router::new()
        .route("/faults", get(show).put(set).delete(clear))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(switches)
}

async fn show(State(switches): State<FaultSwitches>) -> Result<Json<Told>, Problem> {
    Ok(told(&mounted(&switches)?))
}

async fn clear(State(switches): State<FaultSwitches>) -> Result<Json<Told>, Problem> {
    let services = mounted(&switches)?;
    for (_, faults) in &services {
        let allow_in_production = faults.current().allow_in_production;
        faults.switch(FaultsConfig { allow_in_production, ..FaultsConfig::default() });
    }
    Ok(told(&services))
}

async fn set(State(switches): State<FaultSwitches>, JsonBody(wanted): JsonBody<Told>) -> Result<Json<Told>, Problem> {
    let services = mounted(&switches)?;
    let mut switched = Vec::new();
    let mut wrong = Vec::new();
    for (name, config) in wanted {
        let Some((_, faults)) = services.iter().find(|(section, _)| *section == name) else {
            wrong.push(FieldError { field: name, message: "is no service with faults in this process".to_owned() });
            continue;
        };
        let mistakes = faults.mistakes(&config).into_iter();
        wrong.extend(
            mistakes.map(|error| FieldError { field: format!("{name}.{}", error.key), message: error.message }),
        );
        switched.push((faults, config));
    }
    // All or nothing.
    if !wrong.is_empty() {
        return Err(Problem::of(Code::InvalidRequest, "these faults cannot be injected").fields(wrong));
    }
    for (faults, config) in switched {
        faults.switch(config);
    }
    Ok(told(&services))
}

fn mounted(switches: &FaultSwitches) -> Result<Vec<(&'static str, Faults)>, Problem> {
    let services = switches.services();
    if services.is_empty() {
        return Err(Problem::from(Code::NotFound));
    }
    Ok(services)
}

fn told(services: &[(&'static str, Faults)]) -> Json<Told> {
    Json(services.iter().map(|(section, faults)| ((*section).to_owned(), (*faults.current()).clone())).collect())
}
