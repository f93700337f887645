//! Keys under their former names. Each source is renamed before it is merged, so that the later source wins, whatever name it uses.

use serde_json::{Map, Value};

/// Former names and names now, as [`super::Section::RENAMED`] has them.
#[derive(Clone, Copy)]
pub(super) struct Renamed(pub(super) &'static [(&'static str, &'static str)]);

impl Renamed {
    /// The name now.
    pub(super) fn now<'a>(&self, path: &'a str) -> &'a str
    where
        'static: 'a,
    {
        self.0.iter().find(|(old, _)| *old == path).map_or(path, |(_, new)| new)
    }

    /// Puts every value under its name now. Those that are given under both are taken out under the former name, and returned.
    pub(super) fn apply(&self, root: &mut Map<String, Value>) -> Vec<(&'static str, &'static str)> {
        let mut twice = Vec::new();
        for &(old, new) in self.0 {
            let Some(value) = table_of(root, old).and_then(|(table, key)| table.remove(key)) else { continue };
            match table_of(root, new) {
                Some((table, key)) if !table.contains_key(key) => drop(table.insert(key.to_owned(), value)),
                _ => twice.push((old, new)),
            }
        }
        twice
    }
}

/// The table that a path's last key is in, if there is one.
fn table_of<'a>(
    root: &'a mut Map<String, Value>,
    path: &'static str,
) -> Option<(&'a mut Map<String, Value>, &'static str)> {
    let Some((tables, key)) = path.rsplit_once('.') else { return Some((root, path)) };
    let table = tables.split('.').try_fold(root, |table, name| table.get_mut(name)?.as_object_mut())?;
    Some((table, key))
}
