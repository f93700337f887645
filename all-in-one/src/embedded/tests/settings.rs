//! What a data directory decides, and what its user adds to it.

use std::path::Path;

use service_base::config::Sources;

use crate::embedded::{DEMO_USER, Embedded, OPERATOR_CLIENT, ORDER_CLIENT};
use crate::settings::Settings;

fn read(dir: &Path, file: &str) -> anyhow::Result<Settings> {
    let path = dir.join("amends.toml");
    std::fs::write(&path, file)?;
    let sources = Sources { file: Some(path), ..Sources::none() };
    Embedded::settings(dir, sources, None).map(|(settings, ..)| settings)
}

#[test]
fn a_client_and_a_user_of_ones_own_come_to_the_built_in_ones() {
    let dir = tempfile::tempdir().unwrap();
    let file = r#"
[[identity.bootstrap.clients]]
client_id = "shop"
client_secret = "a secret of sixteen characters"
scopes = ["orders:read"]

[[identity.bootstrap.users]]
username = "ann"
password = "a password"

[[identity.bootstrap.users]]
username = "demo"
scopes = ["orders:read"]
"#;
    let bootstrap = read(dir.path(), file).unwrap().identity.bootstrap;
    let clients: Vec<&str> = bootstrap.clients.iter().map(|client| client.client_id.as_str()).collect();
    assert_eq!(clients, ["shop", ORDER_CLIENT, OPERATOR_CLIENT]);
    assert!(!bootstrap.clients[1].client_secret.is_empty() && bootstrap.clients[1].scopes.len() == 4);
    let users: Vec<&str> = bootstrap.users.iter().map(|user| user.username.as_str()).collect();
    assert_eq!(users, ["ann", DEMO_USER]);
    assert_eq!(bootstrap.users[1].scopes, ["orders:read"], "what is said of a built-in one is said");
    assert!(!bootstrap.users[1].password.is_empty(), "and the rest stays");
}

#[test]
fn a_client_given_twice_is_named_by_its_key() {
    let dir = tempfile::tempdir().unwrap();
    let twice = "[[identity.bootstrap.clients]]\nclient_id = \"shop\"\n".repeat(2);
    let error = read(dir.path(), &twice).err().unwrap().to_string();
    assert!(error.contains("identity.bootstrap.clients[1].client_id: \"shop\" is there twice"), "{error}");
}

#[test]
fn a_catalogue_of_ones_own_replaces_the_built_in_one() {
    let dir = tempfile::tempdir().unwrap();
    let item = "[[inventory.seed]]\nsku = \"tea\"\nname = \"Tea\"\namount_minor = 1\ncurrency = \"EUR\"\non_hand = 1\n";
    let seed = read(dir.path(), item).unwrap().inventory.seed;
    assert_eq!(seed.len(), 1);
}
