//! The copy of the tree in which mutants are tried, so that an interrupted run leaves nothing behind in the real one. It is kept between
//! runs, and only what differs is written, so that cargo compiles only that.
//!
//! Must not know: mutants.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    environment,
    process::{Result, about, capture},
};

/// Makes the folder equal to the clone's files: those under version control, and new ones that are not ignored.
pub(super) fn refresh(copy: &Path) -> Result {
    let root = environment::root();
    let listed = capture(Command::new("git").current_dir(&root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "-z",
    ]))?;
    // Deleted files are still listed until that is committed.
    let wanted: BTreeSet<&Path> =
        listed.split_terminator('\0').map(Path::new).filter(|file| root.join(file).is_file()).collect();
    mirror(&root, copy, &wanted)
}

fn mirror(root: &Path, copy: &Path, wanted: &BTreeSet<&Path>) -> Result {
    for found in files(copy)? {
        if found.strip_prefix(copy).is_ok_and(|file| !wanted.contains(file)) {
            fs::remove_file(&found).map_err(about(found.display()))?;
        }
    }
    for file in wanted {
        let (from, to) = (root.join(file), copy.join(file));
        let content = fs::read(&from).map_err(about(from.display()))?;
        if fs::read(&to).is_ok_and(|old| old == content) {
            continue;
        }
        let folder = to.parent().unwrap_or(copy);
        fs::create_dir_all(folder).map_err(about(folder.display()))?;
        // Its time is now, so that cargo sees the change.
        fs::copy(&from, &to).map_err(about(to.display()))?;
    }
    Ok(())
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).map_err(about(folder.display()))?;
    let mut found = Vec::new();
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(about(folder.display()))? {
            let path = entry.map_err(about(folder.display()))?.path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_written() {
        let dir = std::env::temp_dir().join(format!("xtask-copy-{}", std::process::id()));
        let (root, copy) = (dir.join("root"), dir.join("copy"));
        let written = |file: &str| fs::metadata(copy.join(file)).unwrap().modified().unwrap();
        fs::create_dir_all(root.join("a")).unwrap();
        fs::write(root.join("a/same"), "1").unwrap();
        fs::write(root.join("a/changed"), "2").unwrap();
        let wanted = BTreeSet::from([Path::new("a/same"), Path::new("a/changed")]);
        mirror(&root, &copy, &wanted).unwrap();
        let before = written("a/same");
        // As an interrupted run leaves it.
        fs::write(copy.join("a/changed"), "mutant").unwrap();
        fs::write(copy.join("a/gone"), "3").unwrap();
        mirror(&root, &copy, &wanted).unwrap();
        assert_eq!(fs::read_to_string(copy.join("a/changed")).unwrap(), "2");
        assert_eq!((written("a/same"), copy.join("a/gone").exists()), (before, false));
        fs::remove_dir_all(&dir).unwrap();
    }
}
