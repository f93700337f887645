//! The values of one section, merged from all sources, and where each came from.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    ConfigError, Sources,
    lists::{self, NamedList},
    renamed::Renamed,
    text::{env_key, join, read_toml, segment, spelt, unknown_field},
};

/// Each mistake takes one more reading of the tree, and a longer list is not read to its end.
const MISTAKES_MAX: usize = 100;

/// The merged values of one section, and where each came from.
pub(super) struct Tree {
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
    pub(super) const fn new(root: Map<String, Value>, lists: &'static [NamedList], renamed: Renamed) -> Self {
        Self { root, from: BTreeMap::new(), lists, renamed }
    }

    pub(super) fn add_file(&mut self, section: &str, sources: &Sources, errors: &mut Vec<ConfigError>) {
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

    pub(super) fn add_env(
        &mut self,
        section: &str,
        sources: &Sources,
        aliases: &[(&str, &str)],
        errors: &mut Vec<ConfigError>,
    ) {
        let named = sources.env.iter().filter_map(|(name, value)| {
            let alias = || aliases.iter().find(|(alias, _)| alias == name).map(|(_, key)| (*key).to_owned());
            let key = env_key(name).or_else(alias)?;
            Some((key.strip_prefix(section)?.strip_prefix('.')?.to_owned(), value, format!("environment {name}")))
        });
        self.put_all(section, named.collect(), errors);
    }

    pub(super) fn add_sets(&mut self, section: &str, sources: &Sources, errors: &mut Vec<ConfigError>) {
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
        ConfigError { message: self.with_source(&format!("{section}.{at}"), &message), key: format!("{section}.{old}") }
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
            ConfigError { message: self.with_source(list, &format!("{name:?} is there twice")), key }
        }));
    }

    /// Reads the tree as `T`. A key that cannot be read is reported and taken out, and the rest is read again.
    pub(super) fn read<T: DeserializeOwned>(&mut self, section: &str, errors: &mut Vec<ConfigError>) -> Option<T> {
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
            errors.push(ConfigError { message: self.with_source(&key, &message), key: join(section, &path) });
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
    pub(super) fn with_source(&self, key: &str, message: &str) -> String {
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
