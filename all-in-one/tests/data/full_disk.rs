//! A disk that is full: a small file system of our own, where this user may mount one.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use crate::shop::{Shop, audit_clean, place_confirmed, run, said};

/// A mounted file system, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn at(dir: PathBuf, mebibytes: u32) -> Option<Self> {
        std::fs::create_dir(&dir).unwrap();
        let size = format!("size={mebibytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "amends-test"]).arg(&dir).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        println!("NOT RUN: this user may not mount a file system; a full disk was not tried");
        None
    }

    fn fill(&self) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = std::fs::File::create(&filler).unwrap();
        for piece in [65_536, 4096, 1] {
            while file.write_all(&vec![1; piece]).is_ok() {}
        }
        filler
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn names(dir: &Path) -> Vec<String> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_first_start_on_a_full_disk_says_so_and_a_later_one_works() {
    let shop = Shop::new();
    let Some(disk) = Mounted::at(shop.path("disk"), 40) else { return };
    let data = disk.0.join("data");
    let filler = disk.fill();
    let told = shop.start_refused(&data);
    assert!(told.contains("secrets.toml") && told.contains("No space left"), "{told}");
    assert!(!names(&data).iter().any(|name| name.contains("secrets")), "{:?}", names(&data));
    std::fs::remove_file(filler).unwrap();
    let server = shop.start_on(&data).await;
    place_confirmed(&server.demo().await, 1).await;
    server.stop();
    audit_clean(&data);
}

#[tokio::test]
async fn a_backup_onto_a_full_disk_leaves_nothing() {
    let shop = Shop::new();
    let Some(disk) = Mounted::at(shop.path("disk"), 1) else { return };
    let server = shop.start().await;
    place_confirmed(&server.demo().await, 3).await;
    let _filler = disk.fill();
    let to = disk.0.join("backup");
    let failed = run(&["backup", "--to", &to.display().to_string()], &shop.data());
    let told = said(&failed);
    assert!(!failed.status.success() && (told.contains("full") || told.contains("No space left")), "{told}");
    assert_eq!(names(&disk.0), ["filler"]);
    // The shop sells on.
    place_confirmed(&server.demo().await, 1).await;
}
