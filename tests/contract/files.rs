//! The committed pact files.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Where a committed pact is.
pub(crate) fn committed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("contract/pacts").join(name)
}

/// Compares a freshly written pact with the committed one, or replaces that where `AMENDS_GEN=write` asks for it.
pub(crate) fn check(name: &str, fresh_dir: &Path) {
    let read = |path: &Path| -> Option<Value> {
        let mut pact: Value = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
        // The library's own version is no part of the contract.
        pact["metadata"].as_object_mut()?.retain(|key, _| key == "pactSpecification");
        Some(pact)
    };
    let fresh = read(&fresh_dir.join(name)).expect("the consumer test wrote a pact");
    let path = committed(name);
    if amends_tests::setting("AMENDS_GEN").is_some_and(|mode| mode == "write") {
        std::fs::create_dir_all(path.parent().expect("a folder")).unwrap();
        std::fs::write(&path, format!("{fresh:#}\n")).unwrap();
    }
    assert_eq!(read(&path), Some(fresh), "{name} is out of date: run `cargo xtask gen` and commit the result");
}
