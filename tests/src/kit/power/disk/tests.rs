//! What a disk holds, by hand.

use rand::SeedableRng as _;

use super::*;

const FILE: u64 = 7;

fn disk(lies: Lies, whats: &[What<'static>]) -> Disk<'static> {
    let mut disk = Disk::new(lies);
    for what in whats {
        disk.apply(*what).unwrap();
    }
    disk
}

fn write(at: u64, bytes: &'static [u8]) -> What<'static> {
    What::Write { file: FILE, at, bytes }
}

const MADE: [What<'static>; 4] = [
    What::ParentSynced,
    What::Create { file: FILE, name: "a-wal" },
    What::FolderSync { thread: 1 },
    What::FolderSynced { thread: 1 },
];
const SYNC: What<'static> = What::Sync { file: FILE, thread: 1 };
const SYNCED: What<'static> = What::Synced { file: FILE, thread: 1 };

fn holds(disk: &Disk<'_>, luck: Luck) -> Image {
    disk.without_power(luck, &mut StdRng::seed_from_u64(1))
}

fn image(contents: &[u8]) -> Image {
    Image::from([("a-wal".to_owned(), contents.to_vec())])
}

#[test]
fn what_was_written_before_a_sync_survives() {
    let whats = [&MADE[..], &[write(0, b"one"), SYNC, write(3, b"two"), SYNCED, write(6, b"three")]].concat();
    let honest = disk(Lies::Never, &whats);
    assert_eq!(holds(&honest, Luck::Nothing), image(b"one"), "the sync was asked for before `two`");
    assert_eq!(holds(&honest, Luck::Everything), image(b"onetwothree"));
    assert_eq!(holds(&disk(Lies::AboutLogs, &whats), Luck::Nothing), image(b""));
    assert_eq!(holds(&disk(Lies::AboutFiles, &whats), Luck::Nothing), image(b""));
}

#[test]
fn a_sync_without_an_answer_is_sure_of_nothing() {
    let whats = [&MADE[..], &[write(0, b"one"), SYNC, What::Halted, SYNCED]].concat();
    assert_eq!(holds(&disk(Lies::Never, &whats), Luck::Nothing), image(b""));
}

#[test]
fn a_name_is_durable_when_its_folder_is_synced() {
    let rename = What::Rename { from: "a-wal", to: "b" };
    let unsynced = disk(Lies::Never, &[MADE[0], MADE[1], write(0, b"x"), SYNC, SYNCED]);
    assert_eq!(holds(&unsynced, Luck::Nothing), Image::new());
    let renamed = disk(Lies::Never, &[&MADE[..], &[write(0, b"x"), SYNC, SYNCED, rename]].concat());
    assert_eq!(holds(&renamed, Luck::Nothing), image(b"x"));
    assert_eq!(holds(&renamed, Luck::Everything), Image::from([("b".to_owned(), b"x".to_vec())]));
}

#[test]
fn a_folder_is_durable_when_its_parent_is_synced() {
    let all = [&MADE[..], &[write(0, b"x"), SYNC, SYNCED]].concat();
    assert_eq!(holds(&disk(Lies::Never, &all), Luck::Nothing), image(b"x"));
    let without_parent = disk(Lies::Never, &all[1..]);
    assert_eq!(holds(&without_parent, Luck::Nothing), Image::new());
    assert_eq!(holds(&without_parent, Luck::Everything), image(b"x"));
}

#[test]
fn torn_writes_keep_whole_sectors() {
    static ONES: [u8; 2000] = [1; 2000];
    let torn = disk(Lies::Never, &[&MADE[..], &[write(100, &ONES)]].concat());
    let mut random = StdRng::seed_from_u64(2);
    let mut lengths = std::collections::BTreeSet::new();
    for _ in 0..200 {
        let contents = torn.without_power(Luck::Some, &mut random).remove("a-wal").unwrap();
        assert!(contents.chunks(SECTOR).skip(1).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        lengths.insert(contents.len());
    }
    assert_eq!(Vec::from_iter(lengths), [0, 512, 1024, 1536, 2048, 2100]);
}

#[test]
fn inodes_are_used_again() {
    let again = What::Create { file: FILE, name: "b" };
    let whats = [&MADE[..], &[write(0, b"x"), What::Unlink { name: "a-wal" }, again, write(0, b"y")]].concat();
    assert_eq!(holds(&disk(Lies::Never, &whats), Luck::Everything), Image::from([("b".to_owned(), b"y".to_vec())]));
}
