//! Reading configuration, good and bad.

use std::io::Write as _;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::*;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Shop {
    listen: std::net::SocketAddr,
    limits: Limits,
    #[serde(skip_serializing)]
    password: Option<SecretString>,
    names: Vec<String>,
    redis_url: Option<String>,
    people: Vec<Person>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Person {
    name: String,
    #[serde(default)]
    age: u8,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    lines_max: u16,
    strict: bool,
    wait_secs: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { lines_max: 500, strict: true, wait_secs: 0 }
    }
}

impl Default for Shop {
    fn default() -> Self {
        let listen = std::net::SocketAddr::from(([127, 0, 0, 1], 8082));
        Self {
            listen,
            limits: Limits::default(),
            password: None,
            names: Vec::new(),
            redis_url: None,
            people: Vec::new(),
        }
    }
}

impl Section for Shop {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("LINES_MAX", "shop.limits.lines_max")];
    const NAMED_LISTS: &'static [NamedList] = &[NamedList { path: "people", name: "name", one_of: &[] }];
    const RENAMED: &'static [(&'static str, &'static str)] = &[("limits.wait_seconds", "limits.wait_secs")];

    fn validate(&self, errors: &mut Vec<ConfigError>) {
        if self.limits.lines_max == 0 {
            errors.push(ConfigError::new("limits.lines_max", "must be at least 1"));
        }
    }
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn read(file: Option<&str>, vars: &[(&str, &str)], sets: &[(&str, &str)]) -> Result<Shop, Vec<String>> {
    let file = file.map(|text| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    });
    let path = file.as_ref().map(tempfile::NamedTempFile::path);
    load("shop", path, env(vars), env(sets)).map_err(|errors| {
        let shown =
            |e: &ConfigError| path.map_or(e.to_string(), |p| e.to_string().replace(&p.display().to_string(), "FILE"));
        errors.0.iter().map(shown).collect()
    })
}

#[test]
fn flags_beat_the_environment_beats_the_file() {
    let file = "[shop.limits]\nlines_max = 1\nstrict = false\n[other]\nx = 1";
    assert_eq!(read(Some(file), &[], &[]).unwrap().limits.lines_max, 1);
    let vars = [("AMENDS_SHOP__LIMITS__LINES_MAX", "2"), ("AMENDS_OTHER__Y", "3"), ("HOME", "/")];
    assert_eq!(read(Some(file), &vars, &[]).unwrap().limits.lines_max, 2);
    let shop = read(Some(file), &vars, &[("shop.limits.lines_max", "3"), ("shop.limits.lines_max", "4")]).unwrap();
    assert_eq!((shop.limits.lines_max, shop.limits.strict), (4, false));
    assert_eq!(read(None, &[("LINES_MAX", "7")], &[]).unwrap().limits.lines_max, 7);
}

#[test]
fn text_stays_text_where_text_is_asked_for() {
    let vars = [
        ("AMENDS_SHOP__PASSWORD", "12345"),
        ("AMENDS_SHOP__NAMES", r#"["a", "b"]"#),
        ("AMENDS_SHOP__REDIS_URL", "true"),
    ];
    let shop = read(None, &vars, &[("shop.limits.strict", "false")]).unwrap();
    assert_eq!(shop.password.unwrap().expose_secret(), "12345");
    assert_eq!(shop.names, ["a", "b"]);
    assert_eq!(shop.redis_url.as_deref(), Some("true"));
    assert!(!shop.limits.strict);
}

#[test]
fn every_mistake_is_named_at_once_with_its_key_and_source() {
    let file = "[shop]\nlisten = \"nowhere\"\nlitsen = 1\n[shop.limits]\nlines_max = 70000\n";
    let vars = [("AMENDS_SHOP__NAMES", "[1]"), ("AMENDS_SHOP__PASSWORD__X", "hunter2")];
    let errors = read(Some(file), &vars, &[("shop.limits.strict", "perhaps"), ("shop.limits.nope", "1")]).unwrap_err();
    let keys: Vec<&str> = errors.iter().map(|e| e.split(": ").next().unwrap()).collect();
    let expected = [
        "shop.limits.lines_max",
        "shop.limits.nope",
        "shop.limits.strict",
        "shop.listen",
        "shop.litsen",
        "shop.names[0]",
        "shop.password",
    ];
    assert_eq!(keys, expected, "{errors:#?}");
    assert!(errors[0].contains("70000") && errors[0].ends_with("(FILE)"), "{}", errors[0]);
    assert!(
        errors[1].contains("expected one of `lines_max`, `strict`, `wait_secs`")
            && errors[1].ends_with("(--set shop.limits.nope)")
    );
    assert!(errors[5].ends_with("(environment AMENDS_SHOP__NAMES)"), "{}", errors[5]);
    assert!(!errors.iter().any(|e| e.contains("hunter2")));
}

#[test]
fn rules_of_the_section_are_checked_too() {
    let errors = read(None, &[("LINES_MAX", "0"), ("AMENDS_SHOP__LISTEN", "x")], &[]).unwrap_err();
    assert_eq!(errors[0], "shop.limits.lines_max: must be at least 1 (environment LINES_MAX)");
    assert!(errors[1].starts_with("shop.listen: invalid socket address syntax"), "{}", errors[1]);
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_a_mistake() {
    assert!(
        load::<Shop>("shop", Some(Path::new("/nowhere.toml")), [], [])
            .unwrap_err()
            .to_string()
            .contains("cannot be read")
    );
    assert!(read(Some("= ="), &[], &[]).unwrap_err()[0].contains("is not TOML"));
}

#[test]
fn misspelt_sections_are_named() {
    let sources = Sources {
        env: env(&[("AMENDS_SHPO__X", "1"), ("AMENDS_DEMO_PASSWORD", "x")]).into_iter().collect(),
        ..Sources::none()
    }
    .set("oder.x", 1);
    let keys: Vec<String> = unknown_sections(&["shop"], &sources).into_iter().map(|e| e.key).collect();
    assert_eq!(keys, ["oder", "shpo"]);
}

#[test]
fn defaults_are_shown_without_secrets() {
    let text = defaults::<Shop>("shop");
    assert!(text.contains("[shop.limits]\nlines_max = 500") && !text.contains("password"), "{text}");
}

#[test]
fn a_composition_has_lowest_priority_and_tables_are_merged() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[shop.limits]\nstrict = false\n").unwrap();
    let mut sources = Sources { file: Some(file.path().to_owned()), ..Sources::none() };
    sources.base.insert(
        "shop".to_owned(),
        serde_json::json!({"names": ["base"], "password": "hunter2", "limits": {"strict": true, "lines_max": 7}}),
    );
    let shop: Shop = load_from("shop", &sources).unwrap();
    assert_eq!((shop.limits.lines_max, shop.limits.strict), (7, false));
    assert_eq!(shop.names, ["base"]);
    assert!(!format!("{sources:?}").contains("hunter2"));
}

#[test]
fn a_list_of_named_entries_adds_to_what_is_there() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"names = [\"wrong\"]\n[shop]\nnames = [\"file\"]\n[[shop.people]]\nname = \"eve\"\n").unwrap();
    let mut sources = Sources { file: Some(file.path().to_owned()), ..Sources::none() };
    let base = serde_json::json!({"names": ["base"], "people": [{"name": "ann", "age": 7}, {"name": "bob"}]});
    sources.base.insert("shop".to_owned(), base);
    let env = ("AMENDS_SHOP__PEOPLE".to_owned(), r#"[{"name": "ann", "age": 8}]"#.to_owned());
    sources.env.extend([env]);
    let sources = sources.set("shop.people", r#"[{name = "bob", age = 9}]"#);
    let shop: Shop = load_from("shop", &sources).unwrap();
    let people: Vec<String> = shop.people.iter().map(|person| format!("{} {}", person.name, person.age)).collect();
    assert_eq!(people, ["bob 9", "ann 8", "eve 0"]);
    assert_eq!(shop.names, ["file"], "a list without names replaces");
    assert!(
        defaults::<Shop>("shop")
            .ends_with("# shop.people: entries of the same name are merged key by key, and those of others stay.\n")
    );
}

#[test]
fn a_name_given_twice_in_one_source_is_a_mistake() {
    let file = "[[shop.people]]\nname = \"ann\"\n[[shop.people]]\nname = \"ann\"\nage = 300\n";
    let errors = read(Some(file), &[], &[("shop.people", r#"[{"name": "bob"}, {"name": "bob"}]"#)]).unwrap_err();
    assert_eq!(
        errors,
        [
            "shop.people[1].name: \"ann\" is there twice (FILE)",
            "shop.people[1].name: \"bob\" is there twice (--set shop.people)",
        ]
    );
    let errors = read(None, &[("AMENDS_SHOP__PEOPLE", "nobody")], &[]).unwrap_err();
    assert!(errors[0].starts_with("shop.people: invalid type"), "{errors:?}");
}

const OLD: (&str, &str) = ("AMENDS_SHOP__LIMITS__WAIT_SECONDS", "3");
const NEW: (&str, &str) = ("AMENDS_SHOP__LIMITS__WAIT_SECS", "4");

#[test]
fn former_name_of_a_key_is_read_in_every_source() {
    let file = Some("[shop.limits]\nwait_seconds = 2\n");
    let wait = |file, env: &[_], sets: &[_]| read(file, env, sets).unwrap().limits.wait_secs;
    assert_eq!(wait(file, &[], &[]), 2);
    assert_eq!(wait(Some("[shop.limits]\nwait_secs = 2\n"), &[OLD], &[]), 3);
    assert_eq!(wait(None, &[("AMENDS_SHOP__LIMITS", r#"{"wait_seconds": 6}"#)], &[]), 6);
    assert_eq!(wait(file, &[OLD], &[("shop.limits.wait_seconds", "5")]), 5);
    assert_eq!(wait(file, &[NEW], &[]), 4, "the later source wins, whatever name it uses");
}

#[test]
fn former_and_present_name_in_one_source_are_refused() {
    let error = "shop.limits.wait_seconds: is the former name of shop.limits.wait_secs, which is given too";
    let told = |source: &str| vec![format!("{error} ({source})")];
    let file = "[shop.limits]\nwait_seconds = 2\nwait_secs = 3\n";
    assert_eq!(read(Some(file), &[], &[]).unwrap_err(), told("FILE"));
    assert_eq!(read(None, &[OLD, NEW], &[]).unwrap_err(), told(&format!("environment {}", OLD.0)));
    let sets = [("shop.limits.wait_secs", "1"), ("shop.limits.wait_seconds", "2")];
    assert_eq!(read(None, &[], &sets).unwrap_err(), told("--set shop.limits.wait_seconds"));
    let table = [("AMENDS_SHOP__LIMITS", r#"{"wait_seconds": 6, "wait_secs": 7}"#)];
    assert_eq!(read(None, &table, &[]).unwrap_err(), told("environment AMENDS_SHOP__LIMITS"));
}
