//! Regenerates `src/gen` from `proto/` and fails when the committed code differs. `AMENDS_GEN=write` writes it instead.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::BTreeMap, fs, path::Path};

use prost::Message;

const FILES: [&str; 4] = [
    "amends/common/v1/common.proto",
    "amends/inventory/v1/inventory.proto",
    "amends/orders/v1/orders.proto",
    "amends/payments/v1/payments.proto",
];

#[test]
fn generated_code_is_what_the_proto_files_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let fresh = tempfile::tempdir().unwrap();
    generate(root, fresh.path());

    let committed = root.join("src/gen");
    if std::env::var_os("AMENDS_GEN").is_some_and(|mode| mode == "write") {
        fs::create_dir_all(&committed).unwrap();
        for (name, content) in read_all(fresh.path()) {
            fs::write(committed.join(name), content).unwrap();
        }
        return;
    }
    let (expected, found) = (read_all(fresh.path()), read_all(&committed));
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&expected), names(&found), "run `cargo xtask gen` and commit the result");
    for (name, content) in expected {
        assert!(found[&name] == content, "{name} is out of date: run `cargo xtask gen` and commit the result");
    }
}

fn generate(root: &Path, out: &Path) {
    let proto = root.join("proto");
    let mut compiler = protox::Compiler::new([&proto]).unwrap();
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES).unwrap();
    let descriptors = compiler.file_descriptor_set();
    tonic_prost_build::configure().out_dir(out).compile_fds(descriptors.clone()).unwrap();

    // Reflection needs the types, not the comments: without source info the binary is smaller by half.
    let mut bare = descriptors;
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    fs::write(out.join("descriptors.bin"), bare.encode_to_vec()).unwrap();
}

fn read_all(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}
