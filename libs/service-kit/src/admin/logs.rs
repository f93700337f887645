//! `GET /logs?about=ID` on the admin listener: the latest lines of this process that name an order, a saga, a correlation id or a trace, and
//! those of the same traces, oldest first, one JSON object a line. 404 where `telemetry.recent_kib` is 0.

use axum::{
    Router,
    extract::Query,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Deserialize;

use service_base::problem::{Code, Problem};

/// Longer ones are no id of ours.
const ID_LENGTH_MAX: usize = 128;

#[derive(Deserialize)]
struct Asked {
    about: String,
}

pub(crate) fn router() -> Router {
    Router::new().route("/logs", get(show))
}

async fn show(Query(Asked { about }): Query<Asked>) -> Result<Response, Problem> {
    let is_id = (1..=ID_LENGTH_MAX).contains(&about.len()) && about.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_id || about.contains(['"', '\\']) {
        return Err(Problem::invalid("about", "must be the id of an order, a saga, a request or a trace"));
    }
    let lines = amends_telemetry::recent::about(&about).ok_or_else(|| Problem::from(Code::NotFound))?;
    Ok((StatusCode::OK, [(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response())
}
