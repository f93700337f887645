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
use text::{join, segment, spelt, unknown_field};

/// The environment's prefix: `AMENDS_ORDER__HTTP__LISTEN` is `order.http.listen`.
pub const ENV_PREFIX: &str = "AMENDS_";

/// Each mistake takes one more reading of the tree; more than this many help nobody.
const MISTAKES_MAX: usize = 100;

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
    let mut tree = Tree { lists: T::NAMED_LISTS, renamed: Renamed(T::RENAMED), ..Tree::default() };
    let mut errors = Vec::new();
    if let Some(Value::Object(base)) = sources.base.get(section) {
        tree.root.clone_from(base);
    }
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
            (!seen.contains(&key)).then(|| ConfigError { message: tree.blame(&key, &message), key })
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

/// `AMENDS_ORDER__HTTP__LISTEN` → `order.http.listen`.
fn env_key(name: &str) -> Option<String> {
    let rest = name.strip_prefix(ENV_PREFIX)?;
    rest.contains("__").then(|| rest.to_lowercase().replace("__", "."))
}

fn read_toml(file: &Path) -> Result<Value, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot be read: {error}"))?;
    let table: toml::Table = text.parse().map_err(|error| format!("is not TOML: {error}"))?;
    serde_json::to_value(table).map_err(|error| error.to_string())
}

/// The merged values of one section, and where each came from.
#[derive(Default)]
struct Tree {
    root: Map<String, Value>,
    /// By full key: the source, for messages; only text sources may be read anew as another type.
    from: BTreeMap<String, From>,
    lists: &'static [NamedList],
    renamed: Renamed,
}

#[derive(Clone)]
enum From {
    File(String),
    Text(String),
}

impl Tree {
    fn add_file(&mut self, section: &str, sources: &Sources, errors: &mut Vec<ConfigError>) {
        let Some(file) = &sources.file else { return };
        match read_toml(file) {
            Ok(Value::Object(mut tables)) => match tables.remove(section) {
                Some(Value::Object(mut table)) => {
                    self.from.insert(section.to_owned(), From::File(file.display().to_string()));
                    for (old, new) in self.renamed.apply(&mut table) {
                        errors.push(self.given_twice(section, old, new, old));
                    }
                    let twice = lists::merge(&mut self.root, table, self.lists);
                    self.name_repeated(section, twice, errors);
                }
                Some(_) => errors.push(ConfigError::new(section, "is not a table")),
                None => {}
            },
            Ok(_) => {}
            Err(message) => errors.push(ConfigError::new(file.display().to_string(), message)),
        }
    }

    fn add_env(&mut self, section: &str, sources: &Sources, aliases: &[(&str, &str)], errors: &mut Vec<ConfigError>) {
        let named = sources.env.iter().filter_map(|(name, value)| {
            let alias = || aliases.iter().find(|(alias, _)| alias == name).map(|(_, key)| (*key).to_owned());
            let key = env_key(name).or_else(alias)?;
            Some((key.strip_prefix(section)?.strip_prefix('.')?.to_owned(), value, format!("environment {name}")))
        });
        self.put_all(section, named.collect(), errors);
    }

    fn add_sets(&mut self, section: &str, sources: &Sources, errors: &mut Vec<ConfigError>) {
        if sources.sets.iter().any(|(key, _)| key == section) {
            errors.push(ConfigError::new(section, "is a section: name a key in it"));
        }
        let named = sources.sets.iter().filter_map(|(key, value)| {
            Some((key.strip_prefix(section)?.strip_prefix('.')?.to_owned(), value, format!("--set {key}")))
        });
        self.put_all(section, named.collect(), errors);
    }

    /// What one source gives as text: key, value and what to blame.
    fn put_all(&mut self, section: &str, texts: Vec<(String, &String, String)>, errors: &mut Vec<ConfigError>) {
        let given: BTreeSet<String> = texts.iter().map(|(path, ..)| path.clone()).collect();
        for (path, text, source) in texts {
            let new = self.renamed.now(&path);
            self.from.insert(format!("{section}.{path}"), From::Text(source.clone()));
            if new != path && given.contains(new) {
                errors.push(self.given_twice(section, &path, new, &path));
            } else {
                self.put(section, new, text, source, errors);
            }
        }
    }

    /// `old` and `new` name the same key; the source of the key `at` gave both.
    fn given_twice(&self, section: &str, old: &str, new: &str, at: &str) -> ConfigError {
        let message = format!("is the former name of {section}.{new}, which is given too");
        ConfigError { message: self.blame(&format!("{section}.{at}"), &message), key: format!("{section}.{old}") }
    }

    fn put(&mut self, section: &str, path: &str, text: &str, source: String, errors: &mut Vec<ConfigError>) {
        self.from.insert(format!("{section}.{path}"), From::Text(source));
        // A text that is no list goes in as it is, and is refused where it is read.
        if self.lists.iter().any(|list| list.path == path)
            && let Some(list @ Value::Array(_)) = spelt(text)
        {
            let twice = lists::merge(&mut self.root, lists::nest(path, list), self.lists);
            self.name_repeated(section, twice, errors);
            return;
        }
        let mut table = &mut self.root;
        let mut parts = path.split('.').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                table.insert(part.to_owned(), Value::String(text.to_owned()));
                return;
            }
            let entry = table.entry(part).or_insert_with(|| Value::Object(Map::new()));
            if !entry.is_object() {
                *entry = Value::Object(Map::new());
            }
            let Value::Object(inner) = entry else { return };
            table = inner;
        }
    }

    fn name_repeated(&self, section: &str, repeated: Vec<lists::Repeated>, errors: &mut Vec<ConfigError>) {
        errors.extend(repeated.into_iter().map(|lists::Repeated { key, name }| {
            let key = format!("{section}.{key}");
            let list = key.split('[').next().unwrap_or_default();
            ConfigError { message: self.blame(list, &format!("{name:?} is there twice")), key }
        }));
    }

    /// Reads the tree as `T`. A key that cannot be read is reported and taken out, and the rest is read again.
    fn read<T: DeserializeOwned>(&mut self, section: &str, errors: &mut Vec<ConfigError>) -> Option<T> {
        let mut reread: BTreeSet<String> = BTreeSet::new();
        for _ in 0..MISTAKES_MAX {
            let error = match serde_path_to_error::deserialize(Value::Object(self.root.clone())) {
                Ok(value) => return Some(value),
                Err(error) => error,
            };
            let mut path: Vec<String> = error.path().iter().filter_map(segment).collect();
            let message = error.inner().to_string();
            if let Some(field) = unknown_field(&message)
                && path.last().is_none_or(|last| last != field)
            {
                path.push(field.to_owned());
            }
            let Some(found) = self.deepest(&path) else {
                errors.push(ConfigError::new(join(section, &path), message));
                return None;
            };
            let key = join(section, &found);
            // Text is read as the value it spells where the field is not text, once.
            if matches!(self.from.get(&key), Some(From::Text(_)))
                && !reread.contains(&key)
                && let Some(slot) = self.slot(&found)
                && let Value::String(text) = slot
                && let Some(spelt) = spelt(text)
            {
                *slot = spelt;
                for (old, new) in self.renamed.apply(&mut self.root) {
                    errors.push(self.given_twice(section, old, new, old));
                }
                reread.insert(key);
                continue;
            }
            errors.push(ConfigError { message: self.blame(&key, &message), key: join(section, &path) });
            self.remove(&found);
        }
        None
    }

    /// The longest part of `path` that is in the tree: a missing field is reported at its table, an element at its list.
    fn deepest(&mut self, path: &[String]) -> Option<Vec<String>> {
        (1..=path.len()).rev().map(|n| path[..n].to_vec()).find(|part| self.slot(part).is_some())
    }

    fn slot(&mut self, path: &[String]) -> Option<&mut Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.root.get_mut(first)?, |value, part| match value {
            Value::Object(table) => table.get_mut(part),
            _ => None, // a list is one value: what is wrong in it is wrong with it
        })
    }

    fn remove(&mut self, path: &[String]) {
        if let [last] = path {
            self.root.remove(last);
        } else if let Some((last, parents)) = path.split_last()
            && let Some(Value::Object(table)) = self.slot(parents)
        {
            table.remove(last);
        }
    }

    /// The message with its source, and without the value where the key may hold a secret.
    fn blame(&self, key: &str, message: &str) -> String {
        let secret = ["password", "secret", "token", "key", "url", "uri"].iter().any(|word| key.contains(word));
        let message = if secret && message.starts_with("invalid type") {
            let expected = message.rsplit_once("expected ").map_or("another type", |(_, expected)| expected);
            format!("expected {expected}")
        } else {
            message.to_owned()
        };
        let mut prefix = Some(key);
        while let Some(key) = prefix {
            match self.from.get(key) {
                Some(From::File(source) | From::Text(source)) => return format!("{message} ({source})"),
                None => prefix = key.rsplit_once('.').map(|(parent, _)| parent),
            }
        }
        message
    }
}

#[cfg(test)]
mod tests;
