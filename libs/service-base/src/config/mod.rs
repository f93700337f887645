//! Configuration: one TOML file < the environment < `--set` flags, with every mistake reported at once and by its key.
//!
//! Values from the environment and from flags are text. They become numbers, switches and lists where the field asks for
//! one, and stay text where it asks for text, so that the password `12345` is not a number.
//!
//! Tables are merged key by key. A list replaces the one below it, unless its section calls it a [`NamedList`]. A key that was renamed is
//! read under its former name too, in every source.
//!
//! The only place that reads the process's environment.

mod lists;
mod renamed;
mod secret_url;
mod telemetry;
mod text;
mod tree;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

pub use lists::NamedList;
use renamed::Renamed;
pub use secret_url::SecretUrl;
use text::{env_key, read_toml};
use tree::Tree;

/// The environment's prefix: `AMENDS_ORDER__HTTP__LISTEN` is `order.http.listen`.
pub const ENV_PREFIX: &str = "AMENDS_";

/// One section of the configuration: a documented struct with a default for every field that has one.
pub trait Section: Serialize + DeserializeOwned + Default {
    /// Plain environment names and the full key each stands for: `("PAYMENT_DELAY_MS", "payment.faults.delay_ms")`.
    const ALIASES: &'static [(&'static str, &'static str)] = &[];

    /// Lists that are merged by the names of their entries. All others replace what stands below them: an element of theirs has no
    /// name, or a list of one's own is meant instead of the one there is.
    const NAMED_LISTS: &'static [NamedList] = &[];

    /// Former names of keys, which are still accepted, and their names now, both relative to the section:
    /// `("token.access_seconds", "token.access_secs")`. A source that gives both is mistaken.
    const RENAMED: &'static [(&'static str, &'static str)] = &[];

    /// Adds what types alone cannot say: ranges, fields that exclude each other. Keys are relative to the section.
    fn validate(&self, errors: &mut Vec<ConfigError>);
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigError {
    /// The full key: `order.http.listen`. In [`Section::validate`], relative to the section.
    pub key: String,
    /// What is wrong with it.
    pub message: String,
}

impl ConfigError {
    /// `key` is wrong because of `message`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }

    /// Adds that `key` is wrong because of `message`, unless it is `good`.
    pub fn unless(good: bool, key: impl Into<String>, message: &str, errors: &mut Vec<Self>) {
        if !good {
            errors.push(Self::new(key, message));
        }
    }

    /// Adds what `validate` finds in the table `prefix` of a section: its keys are relative to that table.
    pub fn within(prefix: &str, errors: &mut Vec<Self>, validate: impl FnOnce(&mut Vec<Self>)) {
        let mut inner = Vec::new();
        validate(&mut inner);
        errors.extend(inner.into_iter().map(|error| Self { key: format!("{prefix}.{}", error.key), ..error }));
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

/// All mistakes, one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, s) = (self.0.len(), if self.0.len() == 1 { "" } else { "s" });
        write!(f, "the configuration has {count} mistake{s}")?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Where configuration comes from. Tests fill it by hand; `main` uses [`Sources::from_process`].
#[derive(Clone, Default)]
pub struct Sources {
    /// Lower than all the rest: what a composition of several services decides for them, by section.
    pub base: Map<String, Value>,
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// `--set key=value`, in order; the last wins.
    pub sets: Vec<(String, String)>,
}

impl Sources {
    /// This process's environment, and what the command line gave.
    pub fn from_process(file: Option<PathBuf>, sets: Vec<(String, String)>) -> Self {
        // A name or value that is not Unicode cannot be one of ours.
        let env =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        Self { base: Map::new(), file, env, sets }
    }

    /// Nothing but defaults.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds one `key=value`, as `--set` would. For tests and for compositions in one process.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        self.sets.push((key.into(), value.to_string()));
        self
    }
}

/// The environment and the flags may hold secrets.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("file", &self.file).finish_non_exhaustive()
    }
}

/// Reads the section of that name from a file, an environment and flags. See [`load_from`] for more than one section.
///
/// # Errors
/// With every mistake there is in this section.
pub fn load<T: Section>(
    section: &str,
    file: Option<&Path>,
    env: impl IntoIterator<Item = (String, String)>,
    sets: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigErrors> {
    let sources = Sources {
        base: Map::new(),
        file: file.map(Path::to_path_buf),
        env: env.into_iter().collect(),
        sets: sets.into_iter().collect(),
    };
    load_from(section, &sources)
}

/// Reads the section of that name.
///
/// # Errors
/// With every mistake there is in this section.
pub fn load_from<T: Section>(section: &str, sources: &Sources) -> Result<T, ConfigErrors> {
    let base = sources.base.get(section).and_then(Value::as_object).cloned().unwrap_or_default();
    let mut tree = Tree::new(base, T::NAMED_LISTS, Renamed(T::RENAMED));
    let mut errors = Vec::new();
    tree.add_file(section, sources, &mut errors);
    tree.add_env(section, sources, T::ALIASES, &mut errors);
    tree.add_sets(section, sources, &mut errors);
    let value = tree.read::<T>(section, &mut errors);
    if let Some(value) = &value {
        let mut wrong = Vec::new();
        value.validate(&mut wrong);
        let seen: BTreeSet<String> = errors.iter().map(|e| e.key.clone()).collect();
        errors.extend(wrong.into_iter().filter_map(|ConfigError { key, message }| {
            let key = if key.is_empty() { section.to_owned() } else { format!("{section}.{key}") };
            // A key that could not be read was put back to its default; what that default lacks is no news.
            (!seen.contains(&key)).then(|| ConfigError { message: tree.with_source(&key, &message), key })
        }));
    }
    errors.sort();
    errors.dedup();
    match value {
        Some(value) if errors.is_empty() => Ok(value),
        _ => Err(ConfigErrors(errors)),
    }
}

/// Names the sections and flags that no section reads: a misspelt section would otherwise do nothing, silently.
pub fn unknown_sections(known: &[&str], sources: &Sources) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut judge = |name: &str, from: String| {
        if !known.contains(&name) {
            errors.push(ConfigError::new(name, format!("no such section ({from}); there are: {}", known.join(", "))));
        }
    };
    if let Some(file) = &sources.file
        && let Ok(Value::Object(tables)) = read_toml(file)
    {
        tables.keys().for_each(|name| judge(name, format!("in {}", file.display())));
    }
    for name in sources.env.keys().filter(|name| name.contains("__")) {
        if let Some(key) = env_key(name) {
            judge(key.split('.').next().unwrap_or_default(), format!("environment {name}"));
        }
    }
    for (key, _) in &sources.sets {
        judge(key.split('.').next().unwrap_or_default(), format!("--set {key}"));
    }
    errors.sort();
    errors.dedup();
    errors
}

/// The section's defaults as TOML, for `--help` and for a first file.
pub fn defaults<T: Section>(section: &str) -> String {
    let mut root = BTreeMap::new();
    root.insert(section, T::default());
    let text = toml::to_string(&root)
        .unwrap_or_else(|error| format!("# [{section}] has a default that TOML cannot say: {error}\n"));
    T::NAMED_LISTS.iter().fold(text, |text, list| text + &list.described(section))
}

#[cfg(test)]
mod tests;
