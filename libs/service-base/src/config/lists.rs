//! Merging what several sources say: tables key by key, and lists whose entries have names by these names.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// A list of tables that a source adds to instead of replacing it: what the entries of one name say is merged key by key, the later
/// source first, and entries of other names stay. An entry is taken back by what its own keys offer for that (`disabled = true`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamedList {
    /// Where it is in its section: `bootstrap.clients`.
    pub path: &'static str,
    /// The key that names an entry: `client_id`.
    pub name: &'static str,
    /// Keys of which an entry has one: the later source's replaces the others of the earlier.
    pub one_of: &'static [&'static str],
}

impl NamedList {
    /// A comment for readers of the defaults.
    pub(super) fn described(&self, section: &str) -> String {
        let Self { path, name, .. } = self;
        format!("# {section}.{path}: entries of the same {name} are merged key by key, and those of others stay.\n")
    }
}

/// A name that one source gives to two entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    /// The second one's key: `bootstrap.clients[1].client_id`.
    pub(super) key: String,
    pub(super) name: String,
}

/// `value` as the only key of tables in tables.
pub(super) fn nest(path: &str, value: Value) -> Map<String, Value> {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let value = match rest {
        Some(rest) => Value::Object(nest(rest, value)),
        None => value,
    };
    Map::from_iter([(first.to_owned(), value)])
}

/// Puts `from` over `into`. Names that `from` gives twice are returned; the first of such entries counts.
pub(super) fn merge(into: &mut Map<String, Value>, from: Map<String, Value>, lists: &[NamedList]) -> Vec<Repeated> {
    let mut repeated = Vec::new();
    merge_at("", into, from, lists, &mut repeated);
    repeated
}

fn merge_at(
    at: &str,
    into: &mut Map<String, Value>,
    from: Map<String, Value>,
    lists: &[NamedList],
    repeated: &mut Vec<Repeated>,
) {
    for (key, value) in from {
        let path = if at.is_empty() { key.clone() } else { format!("{at}.{key}") };
        let list = lists.iter().find(|list| list.path == path);
        let merged = match (into.remove(&key), value, list) {
            (below, Value::Object(above), _) => {
                // Also where there is no table below: there may be such a list in this one.
                let mut table = if let Some(Value::Object(below)) = below { below } else { Map::new() };
                merge_at(&path, &mut table, above, lists, repeated);
                Value::Object(table)
            }
            (below, Value::Array(above), Some(list)) => {
                let below = if let Some(Value::Array(below)) = below { below } else { Vec::new() };
                Value::Array(merge_entries(list, below, above, repeated))
            }
            (_, value, _) => value,
        };
        into.insert(key, merged);
    }
}

/// The later source's entries first, as it numbers them: that is how it is told what is wrong with one.
fn merge_entries(
    list: &NamedList,
    mut below: Vec<Value>,
    above: Vec<Value>,
    repeated: &mut Vec<Repeated>,
) -> Vec<Value> {
    let mut names = BTreeSet::new();
    let mut merged = Vec::with_capacity(above.len() + below.len());
    for (index, entry) in above.into_iter().enumerate() {
        let Value::Object(entry) = entry else {
            merged.push(entry); // no entry at all: said where it is read
            continue;
        };
        let name = entry.get(list.name).and_then(Value::as_str).map(str::to_owned);
        if let Some(name) = &name
            && !names.insert(name.clone())
        {
            let key = format!("{}[{index}].{}", list.path, list.name);
            repeated.push(Repeated { key, name: name.clone() });
            continue;
        }
        let same = |other: &Value| name.is_some() && other.get(list.name).and_then(Value::as_str) == name.as_deref();
        let known = below.iter().position(same).map(|index| below.remove(index));
        merged.push(match known {
            Some(Value::Object(mut known)) => {
                if list.one_of.iter().any(|key| entry.contains_key(*key)) {
                    known.retain(|key, _| !list.one_of.contains(&key.as_str()));
                }
                // Lists within an entry replace: scopes that could only grow could never be taken away.
                merge_at("", &mut known, entry, &[], repeated);
                Value::Object(known)
            }
            _ => Value::Object(entry),
        });
    }
    merged.extend(below);
    merged
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LISTS: &[NamedList] = &[NamedList { path: "a.people", name: "name", one_of: &["word", "hash"] }];

    fn check(below: Value, above: Value) -> (Value, Vec<Repeated>) {
        let object = |value: Value| value.as_object().unwrap().clone();
        let mut into = object(below);
        let repeated = merge(&mut into, object(above), LISTS);
        (Value::Object(into), repeated)
    }

    #[test]
    fn named_entries_are_merged_and_others_stay() {
        let below = json!({"a": {"people": [{"name": "ann", "word": "w", "scopes": ["x", "y"]}, {"name": "bob"}]}});
        let above = json!({"a": {"people": [{"name": "eve"}, {"name": "ann", "scopes": ["x"]}]}});
        let expected =
            json!({"a": {"people": [{"name": "eve"}, {"name": "ann", "word": "w", "scopes": ["x"]}, {"name": "bob"}]}});
        assert_eq!(check(below.clone(), above), (expected, vec![]));
        assert_eq!(check(below.clone(), json!({"a": {"people": []}})), (below, vec![]), "an empty list adds nothing");
    }

    #[test]
    fn of_keys_that_exclude_each_other_the_later_stays() {
        let below = json!({"a": {"people": [{"name": "ann", "word": "w", "age": 7}]}});
        let above = json!({"a": {"people": [{"name": "ann", "hash": "h"}]}});
        assert_eq!(check(below, above).0, json!({"a": {"people": [{"name": "ann", "age": 7, "hash": "h"}]}}));
    }

    #[test]
    fn a_name_given_twice_by_one_source_is_told() {
        let twice = json!({"a": {"people": [{"name": "ann"}, {"name": "bob"}, {"name": "ann"}, {}, {}]}});
        let (merged, repeated) = check(json!({}), twice);
        assert_eq!(repeated, [Repeated { key: "a.people[2].name".into(), name: "ann".into() }]);
        assert_eq!(merged, json!({"a": {"people": [{"name": "ann"}, {"name": "bob"}, {}, {}]}}));
    }

    #[test]
    fn other_lists_replace_what_is_below() {
        let (merged, _) = check(json!({"b": [1, 2], "a": {"people": 3}}), json!({"b": [3], "a": {"people": [4]}}));
        assert_eq!(merged, json!({"b": [3], "a": {"people": [4]}}));
    }
}
