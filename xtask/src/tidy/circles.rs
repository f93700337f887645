//! No import circle between the modules of a crate: of two siblings that use each other, neither is read, tested or moved alone.
//!
//! A path that begins with `crate` or `super` is followed to the module it ends in, through the `use` lines of the modules on its
//! way, so that a re-export hides nothing. A parent and its children may use each other: they are one module in several files. Test
//! code may use anything.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, Tree, code, is_test};

/// An import that closes a circle and is accepted for now: the folder of the crate's root, who uses, what is used.
type Known = (&'static str, &'static str, &'static str);

/// To be solved, not to be added to. An entry that closes no circle any more is an error.
const KNOWN: [Known; 1] = [("xtask/src", "proof", "commands")];

/// Below the crate's root: `["app", "place_order"]`; empty for the root itself.
type Module = Vec<String>;

/// A path as written: `a::b as name`.
struct Written {
    line: usize,
    segments: Vec<String>,
    name: String,
    /// Whether it gives the module that name.
    used: bool,
}

/// One file, without its tests.
struct Source<'a> {
    path: &'a str,
    module: Module,
    written: Vec<Written>,
}

pub(super) fn none(tree: &Tree) -> Vec<Finding> {
    find(tree, &KNOWN)
}

fn find(tree: &Tree, known: &[Known]) -> Vec<Finding> {
    let (mut findings, mut needed) = (Vec::new(), BTreeSet::new());
    for (root, sources) in crates(tree) {
        let imports = imports(&sources);
        let accepted = |from: &str, to: &str| known.iter().position(|known| *known == (root, from, to));
        let mut open = BTreeMap::<&str, Vec<&str>>::new();
        for (from, to) in imports.keys().filter(|(from, to)| accepted(from, to).is_none()) {
            open.entry(from).or_default().push(to);
        }
        for ((from, to), (path, line)) in &imports {
            let Some(way) = way(&open, to, from) else { continue };
            if let Some(index) = accepted(from, to) {
                needed.insert(index);
            } else {
                let what = format!("an import circle: {from} → {}", way.join(" → "));
                findings.push(Finding::error(path, what).at(*line));
            }
        }
    }
    for (index, (root, from, to)) in known.iter().enumerate() {
        if !needed.contains(&index) {
            let what = format!("{root}: {from} → {to} closes no circle; remove it from `KNOWN`");
            findings.push(Finding::error("xtask/src/tidy/circles.rs", what));
        }
    }
    findings
}

/// The shortest way from one module to another.
fn way<'a>(graph: &BTreeMap<&'a str, Vec<&'a str>>, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
    let (mut seen, mut ways) = (BTreeSet::from([from]), vec![vec![from]]);
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = *way.last()?;
            if last == to {
                return Some(way);
            }
            for next in graph.get(last).into_iter().flatten().filter(|next| seen.insert(next)) {
                longer.push([way.as_slice(), &[next]].concat());
            }
        }
        ways = longer;
    }
    None
}

/// By the folder of each crate's root.
fn crates(tree: &Tree) -> BTreeMap<&str, Vec<Source<'_>>> {
    let files = || tree.rust().filter(|(path, _)| path.contains("/src/") && !is_test(path));
    let roots: Vec<&str> = files()
        .filter_map(|(path, _)| path.strip_suffix("/lib.rs").or_else(|| path.strip_suffix("/main.rs")))
        .collect();
    let (mut crates, mut only_tests) = (BTreeMap::<&str, Vec<Source<'_>>>::new(), BTreeSet::new());
    for (path, text) in files() {
        let below = |root: &&&str| path.strip_prefix(**root).is_some_and(|rest| rest.starts_with('/'));
        let Some(root) = roots.iter().filter(below).max_by_key(|root| root.len()) else { continue };
        let (module, code) = (module(path, root), code::only(text));
        let (written, tests) = written(&tokens(&code));
        only_tests.extend(tests.into_iter().map(|test| (*root, child(&module, test))));
        crates.entry(root).or_default().push(Source { path, module, written });
    }
    for (root, sources) in &mut crates {
        sources.retain(|source| !only_tests.iter().any(|(of, test)| of == root && source.module.starts_with(test)));
    }
    crates
}

fn child(parent: &[String], name: &str) -> Module {
    parent.iter().cloned().chain([name.to_owned()]).collect()
}

fn module(path: &str, root: &str) -> Module {
    let below = path[root.len() + 1..].trim_end_matches(".rs");
    let below = below.strip_suffix("/mod").unwrap_or(below);
    below.split('/').filter(|part| !matches!(*part, "lib" | "main")).map(str::to_owned).collect()
}

/// Which module uses which sibling, and where it says so first.
fn imports<'a>(sources: &[Source<'a>]) -> BTreeMap<(String, String), (&'a str, usize)> {
    let modules: BTreeSet<&Module> = sources.iter().map(|source| &source.module).collect();
    let absolute = |module: &Module, written: &Written| {
        let mut base = module.clone();
        let mut rest = written.segments.as_slice();
        while let Some((first, more)) = rest.split_first() {
            match first.as_str() {
                "crate" => base.clear(),
                "super" => drop(base.pop()),
                "self" => {}
                _ => break,
            }
            rest = more;
        }
        // A path without a beginning is the module's own if it names a child, else another crate's.
        let own = rest.len() < written.segments.len()
            || rest.first().is_some_and(|first| modules.contains(&child(&base, first)));
        own.then(|| [base.as_slice(), rest].concat())
    };
    let mut names = BTreeMap::<Module, Module>::new();
    for source in sources {
        for written in source.written.iter().filter(|written| written.used) {
            if let Some(target) = absolute(&source.module, written) {
                names.insert(child(&source.module, &written.name), target);
            }
        }
    }
    let mut imports = BTreeMap::new();
    for source in sources {
        for written in &source.written {
            let mut target = absolute(&source.module, written);
            // What a module has only by name is also where that name leads; a name that leads to itself ends somewhere.
            for _ in 0..8 {
                let Some(meant) = target else { break };
                let shared = source.module.iter().zip(&meant).take_while(|(one, other)| one == other).count();
                let siblings = shared < source.module.len() && shared < meant.len();
                if siblings && modules.contains(&meant[..=shared].to_vec()) {
                    let key = (source.module[..=shared].join("::"), meant[..=shared].join("::"));
                    imports.entry(key).or_insert((source.path, written.line));
                }
                target = (1..=meant.len())
                    .find_map(|length| Some([names.get(&meant[..length])?.as_slice(), &meant[length..]].concat()));
            }
        }
    }
    imports
}

/// Words, `::`, and every other character by itself; with the line of each.
fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut tokens = Vec::new();
    for (index, mut rest) in code.lines().enumerate() {
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(rest.len());
            let length = if rest.starts_with("::") { 2 } else { word.max(first.len_utf8()) };
            if !first.is_whitespace() {
                tokens.push((index + 1, &rest[..length]));
            }
            rest = &rest[length..];
        }
    }
    tokens
}

/// The paths outside of tests, and the names of the modules that are for tests only.
fn written<'a>(tokens: &[(usize, &'a str)]) -> (Vec<Written>, Vec<&'a str>) {
    let word = |at: usize| tokens.get(at).map_or("", |(_, word)| *word);
    let (mut found, mut tests) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        let line: Vec<&str> = (at..at + 7).map(word).collect();
        if matches!(line[..], ["#", "[", "cfg", "(", "test", ..] | ["#", "[", "cfg", "(", "any", "(", "test"]) {
            let end = item_end(tokens, at);
            let name = (at..end).find(|at| word(*at) == "mod" && word(*at + 2) == ";").map(|at| word(at + 1));
            tests.extend(name);
            at = end;
        } else if word(at) == "use" {
            at = path(tokens, at + 1, &[], true, &mut found);
        } else if matches!(word(at), "crate" | "super") && word(at + 1) == "::" && at > 0 && word(at - 1) != "in" {
            at = path(tokens, at, &[], false, &mut found);
        } else {
            at += 1;
        }
    }
    (found, tests)
}

/// Behind the item that begins there: behind its `;`, or its last brace.
fn item_end(tokens: &[(usize, &str)], begin: usize) -> usize {
    let mut depth = 0_usize;
    for (at, (_, token)) in tokens.iter().enumerate().skip(begin) {
        match *token {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 && matches!(*token, ";" | "}") {
            return at + 1;
        }
    }
    tokens.len()
}

/// Reads one path, or every path of a list in braces; returns where it ends.
fn path(tokens: &[(usize, &str)], mut at: usize, before: &[String], used: bool, found: &mut Vec<Written>) -> usize {
    let word = |at: usize| tokens.get(at).map_or("", |(_, word)| *word);
    let mut segments = before.to_vec();
    if word(at) == "{" {
        at += 1;
        while !matches!(word(at), "}" | "") {
            at = path(tokens, at, before, used, found).max(at + 1);
            at += usize::from(word(at) == ",");
        }
        return at + 1;
    }
    let line = tokens.get(at).map_or(0, |(line, _)| *line);
    while word(at).starts_with(|first: char| first.is_alphabetic() || matches!(first, '_' | '*')) {
        segments.push(word(at).to_owned());
        at += 1;
        if word(at) != "::" {
            break;
        }
        at += 1;
        if word(at) == "{" {
            return path(tokens, at, &segments, used, found);
        }
    }
    // `use a::{self}` gives the name `a`.
    if segments.len() > 1 && segments.last().is_some_and(|last| last == "self") {
        segments.pop();
    }
    let renamed = used && word(at) == "as";
    let name = if renamed { word(at + 1).to_owned() } else { segments.last().cloned().unwrap_or_default() };
    found.push(Written { line, segments, name, used });
    at + if renamed { 2 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::tests::check;

    #[test]
    fn siblings_that_use_each_other_are_found() {
        let files = [
            ("s/src/lib.rs", "//! x\nmod app;\nmod sweeper;\n"),
            ("s/src/app/mod.rs", "//! x\nuse crate::{config::Config,\n sweeper::{self, WakeUp}};\n"),
            ("s/src/config.rs", "//! x\n"),
            ("s/src/sweeper.rs", "//! x\nfn f() { super::app::run() }\n"),
        ];
        let expected = [
            "error: s/src/app/mod.rs:3: an import circle: app → sweeper → app",
            "error: s/src/sweeper.rs:2: an import circle: sweeper → app → sweeper",
        ];
        check(|tree| find(tree, &[]), &files, &expected);
    }

    #[test]
    fn circle_of_three_is_found_at_any_depth() {
        let files = [
            ("s/src/lib.rs", "//! x\n"),
            ("s/src/store/mod.rs", "//! x\n"),
            ("s/src/store/a.rs", "//! x\nuse super::b::{B, C};\nuse super::b::D;\n"),
            ("s/src/store/b.rs", "//! x\nuse crate::store::c::E;\n"),
            ("s/src/store/c/mod.rs", "//! x\n"),
            ("s/src/store/c/d.rs", "//! x\nuse super::super::a::F;\n"),
        ];
        let expected = [
            "error: s/src/store/a.rs:2: an import circle: store::a → store::b → store::c → store::a",
            "error: s/src/store/b.rs:2:",
            "error: s/src/store/c/d.rs:2:",
        ];
        check(|tree| find(tree, &[]), &files, &expected);
    }

    #[test]
    fn a_re_export_hides_no_circle() {
        let files = [
            ("s/src/lib.rs", "//! x\npub use build::{NAME as SERVICE, build};\n"),
            ("s/src/build.rs", "//! x\nuse crate::grpc::Api;\n"),
            ("s/src/grpc.rs", "//! x\nfn f() { g(crate::SERVICE) }\n"),
        ];
        let expected = ["error: s/src/build.rs:2: an import circle: build → grpc", "error: s/src/grpc.rs:2:"];
        check(|tree| find(tree, &[]), &files, &expected);
    }

    #[test]
    fn parents_children_tests_and_other_crates_close_no_circle() {
        let files = [
            ("s/src/lib.rs", "//! x\nuse app::X;\n#[cfg(test)]\nmod trials;\n"),
            ("s/src/app/mod.rs", "//! x\nmod place;\nuse place::Y;\nuse std::store::Z;\n"),
            ("s/src/app/place.rs", "//! x\nuse super::X;\nuse crate::Z;\n"),
            ("s/src/store.rs", "//! crate::trials\nuse crate::app::X;\npub(in crate::app) fn f() {}\n"),
            ("s/src/app/get.rs", "//! x\n#[cfg(test)]\nmod tests {\n use crate::store::X;\n}\n"),
            ("s/src/app/tests.rs", "//! x\nuse crate::store::X;\n"),
            ("s/src/trials.rs", "//! x\nuse crate::app::X;\n"),
            ("s/src/metrics.rs", "//! x\n#[cfg(test)]\nuse crate::store::{X, Y};\nuse crate::app::Z;\n"),
            ("s/src/bin/tool/main.rs", "//! x\nmod app;\n"),
            ("s/src/bin/tool/app.rs", "//! x\nuse crate::store::X;\n"),
            ("t/src/lib.rs", "//! x\n"),
            ("t/src/app.rs", "//! x\nuse crate::store::X;\n"),
        ];
        check(|tree| find(tree, &[]), &files, &[]);
    }

    #[test]
    fn a_known_circle_is_accepted_and_a_stale_entry_is_found() {
        const KNOWN: [Known; 3] = [("s/src", "a", "b"), ("s/src", "b", "a"), ("t/src", "a", "b")];
        let files = [
            ("s/src/lib.rs", "//! x\n"),
            ("s/src/a.rs", "//! x\nuse crate::b::X;\n"),
            ("s/src/b.rs", "//! x\nuse crate::a::X;\n"),
        ];
        check(|tree| find(tree, &KNOWN[..1]), &files, &[]);
        let stale = [
            "error: xtask/src/tidy/circles.rs: s/src: a → b",
            "error: xtask/src/tidy/circles.rs: s/src: b → a",
            "error: xtask/src/tidy/circles.rs: t/src: a → b",
        ];
        check(|tree| find(tree, &KNOWN), &files, &stale);
    }
}
