//! The registry of telemetry: what every span, attribute, metric and log field of the product is called, of which type it is and where
//! it must be. It is read from the YAML files beside `src`, which have the form of OpenTelemetry Weaver.
//!
//! [`names`] and [`fields`] make the Rust constants and `observability/FIELDS.md` from it; [`check`] says what is wrong with telemetry
//! that was received.
//!
//! Must not know: any service. No service needs it: it is for tests and generators.

pub mod check;
pub mod fields;
mod form;
pub mod names;
mod resolve;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, ensure};

pub use resolve::mistakes_in;

/// Namespaces of our own. In log records their names are written with underscores, which Kibana's users type more easily; names of the
/// conventions keep their dots.
pub const OWN_NAMESPACES: [&str; 4] = ["order.", "saga.", "payment.", "reservation."];

/// All there is, references resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    /// By name.
    pub attributes: BTreeMap<String, Attribute>,
    /// What an exported span says of its process.
    pub resource: Vec<Use>,
    /// Spans, in the order of the files.
    pub spans: Vec<Span>,
    /// Metrics, by the name they have on the page.
    pub metrics: BTreeMap<String, Metric>,
    /// Events that have a name: the others are lines for operators, whose fields are in [`Registry::lines`].
    pub events: Vec<Event>,
    /// What every log record has.
    pub record: Vec<Use>,
    /// What lines for operators may have besides.
    pub lines: Vec<Use>,
}

/// An attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// Its name in spans and in code.
    pub name: String,
    /// The type of its value.
    pub kind: Kind,
    /// What it says.
    pub brief: String,
    /// `stable` or `development`.
    pub stability: String,
    /// Values, as they are written.
    pub examples: Vec<String>,
    /// Whether it is one of the OpenTelemetry conventions.
    pub is_semconv: bool,
    /// Its name since it was renamed. The old one is still in the index template, and nowhere else.
    pub renamed_to: Option<String>,
}

impl Attribute {
    /// Its name in a log record.
    pub fn in_record(&self) -> String {
        if OWN_NAMESPACES.iter().any(|namespace| self.name.starts_with(namespace)) {
            self.name.replace('.', "_")
        } else {
            self.name.clone()
        }
    }

    /// Its name among a metric's labels.
    pub fn label(&self) -> String {
        self.name.replace('.', "_")
    }
}

/// The type of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    String,
    /// A whole number.
    Int,
    /// A number.
    Double,
    /// Yes or no.
    Boolean,
    /// One of these texts: value and meaning.
    Enum(Vec<(String, String)>),
}

impl Kind {
    /// The type's name in the registry.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Double => "double",
            Self::Boolean => "boolean",
            Self::Enum(_) => "enum",
        }
    }
}

/// An attribute where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// The attribute's name.
    pub attribute: String,
    /// Whether it must be there.
    pub level: Level,
}

/// Whether something must be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Level {
    /// Always.
    Required,
    /// Where the sentence is true.
    Conditionally(String),
    /// Where it is known.
    Recommended,
    /// Where it is asked for.
    OptIn,
}

/// A kind of span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its id in the registry.
    pub id: String,
    /// `server`, `client` or `internal`.
    pub kind: String,
    /// How it is named, with attributes in braces; where it is absent, in any way.
    pub name: Option<String>,
    /// The attributes by which it is recognised among those of its kind.
    pub told_by: Vec<String>,
    /// What it is.
    pub brief: String,
    /// Its attributes.
    pub attributes: Vec<Use>,
}

/// A metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// Its name in the registry.
    pub name: String,
    /// Its name on the page, without the suffixes of samples.
    pub shown: String,
    /// `counter`, `updowncounter`, `gauge` or `histogram`.
    pub instrument: String,
    /// In which unit.
    pub unit: String,
    /// What it counts.
    pub brief: String,
    /// Its labels.
    pub labels: Vec<Use>,
}

impl Metric {
    /// Its type on the page.
    pub fn page_type(&self) -> &str {
        match self.instrument.as_str() {
            "updowncounter" => "gauge",
            other => other,
        }
    }
}

/// An event with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its name in the registry.
    pub name: String,
    /// The message by which it is recognised.
    pub message: String,
    /// Its target, where it has one of its own.
    pub target: Option<String>,
    /// What it tells.
    pub brief: String,
    /// Its fields.
    pub attributes: Vec<Use>,
}

/// Where the registry is.
fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folder `observability`, where what is generated goes.
pub fn observability() -> PathBuf {
    folder().parent().map(Path::to_path_buf).unwrap_or_default()
}

impl Registry {
    /// Reads the registry of this clone.
    ///
    /// # Errors
    /// With every mistake in it.
    pub fn load() -> anyhow::Result<Self> {
        let semconv = read(&observability().join("semconv"))?;
        let own = read(&folder())?;
        Self::from_yaml(&semconv, &own)
    }

    /// From files' names and texts: of the conventions, and our own.
    ///
    /// # Errors
    /// With every mistake in them.
    pub fn from_yaml(semconv: &[(String, String)], own: &[(String, String)]) -> anyhow::Result<Self> {
        let parse = |files: &[(String, String)]| -> anyhow::Result<Vec<form::Group>> {
            let mut groups = Vec::new();
            for (name, text) in files {
                let file: form::File = yaml_serde::from_str(text).with_context(|| format!("{name} cannot be read"))?;
                groups.extend(file.groups);
            }
            Ok(groups)
        };
        let (semconv, own) = (parse(semconv)?, parse(own)?);
        let (registry, mistakes) = resolve::resolve(&semconv, &own);
        ensure!(mistakes.is_empty(), "the registry has mistakes:\n{}", mistakes.join("\n"));
        Ok(registry)
    }

    /// An attribute that is used here; resolving has made sure that it is there.
    pub(crate) fn attribute(&self, used: &Use) -> &Attribute {
        &self.attributes[&used.attribute]
    }
}

/// The files of groups in a folder, in the order of their names.
fn read(folder: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The manifest is for Weaver: which registry this is, and what it builds on.
        if path.extension().is_some_and(|extension| extension == "yaml") && name != "manifest.yaml" {
            found.push((name, fs::read_to_string(&path)?));
        }
    }
    found.sort();
    Ok(found)
}
