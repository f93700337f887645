//! Keys as text, values that text spells, and files of text.

use std::path::Path;

use serde_json::Value;

use super::ENV_PREFIX;

/// A field's name, or an element's number as `[n]` glued on by [`join`].
pub(super) fn segment(segment: &serde_path_to_error::Segment) -> Option<String> {
    use serde_path_to_error::Segment;
    match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Seq { index } => Some(format!("[{index}]")),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

pub(super) fn join(section: &str, path: &[String]) -> String {
    path.iter().fold(section.to_owned(), |key, part| if part.starts_with('[') { key + part } else { key + "." + part })
}

pub(super) fn unknown_field(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field `")?.split('`').next()
}

/// What a text spells: JSON, or a TOML value. Never text again.
pub(super) fn spelt(text: &str) -> Option<Value> {
    let value = serde_json::from_str(text).ok().or_else(|| {
        let table: toml::Table = format!("value = {text}").parse().ok()?;
        serde_json::to_value(table.get("value")?).ok()
    })?;
    (!value.is_string()).then_some(value)
}

/// `AMENDS_ORDER__HTTP__LISTEN` → `order.http.listen`.
pub(super) fn env_key(name: &str) -> Option<String> {
    let rest = name.strip_prefix(ENV_PREFIX)?;
    rest.contains("__").then(|| rest.to_lowercase().replace("__", "."))
}

pub(super) fn read_toml(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    let table: toml::Table = text.parse().map_err(|error| format!("is not TOML: {error}"))?;
    serde_json::to_value(table).map_err(|error| error.to_string())
}
