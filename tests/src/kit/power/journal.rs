//! What was recorded, as `recorder.c` writes it.

use anyhow::{Context, Result, bail};

/// `struct record` of `recorder.c`: two words of four bytes, two of eight.
const HEAD: usize = 24;

/// One thing that was done in the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What<'a> {
    /// Bytes were written to a file.
    Write {
        file: u64,
        at: u64,
        bytes: &'a [u8],
    },
    /// A file has another length.
    Length {
        file: u64,
        length: u64,
    },
    /// A new file.
    Create {
        file: u64,
        name: &'a str,
    },
    Unlink {
        name: &'a str,
    },
    Rename {
        from: &'a str,
        to: &'a str,
    },
    /// A thread asks for a file to be made durable.
    Sync {
        file: u64,
        thread: u64,
    },
    /// And has been told that it is.
    Synced {
        file: u64,
        thread: u64,
    },
    /// The same for the names in the folder.
    FolderSync {
        thread: u64,
    },
    FolderSynced {
        thread: u64,
    },
    /// The program was made to stand still.
    Halted,
    /// The folder's own name has been made durable.
    ParentSynced,
}

/// A thing, and where the recording was after it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) end: u64,
    pub(super) what: What<'a>,
}

/// All of a recording.
pub(super) fn parse(recording: &[u8]) -> Result<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    let mut at = 0;
    while at < recording.len() {
        let entry = one(recording, at).with_context(|| format!("byte {at} of the recording"))?;
        at = usize::try_from(entry.end)?;
        entries.push(entry);
    }
    Ok(entries)
}

fn one(recording: &[u8], at: usize) -> Result<Entry<'_>> {
    let head = recording.get(at..at + HEAD).context("it is cut off in a head")?;
    let short = |at: usize| Ok::<_, anyhow::Error>(u32::from_ne_bytes(head[at..at + 4].try_into()?));
    let long = |at: usize| Ok::<_, anyhow::Error>(u64::from_ne_bytes(head[at..at + 8].try_into()?));
    let (kind, file, third) = (short(0)?, long(8)?, long(16)?);
    let end = at + HEAD + usize::try_from(short(4)?)?;
    let bytes = recording.get(at + HEAD..end).context("it is cut off in its bytes")?;
    let what = match kind {
        1 => What::Write { file, at: third, bytes },
        2 => What::Length { file, length: third },
        3 => What::Create { file, name: std::str::from_utf8(bytes)? },
        4 => What::Unlink { name: std::str::from_utf8(bytes)? },
        5 => {
            let (from, to) = std::str::from_utf8(bytes)?.split_once('\0').context("a rename of one name")?;
            What::Rename { from, to }
        }
        6 => What::Sync { file, thread: third },
        7 => What::Synced { file, thread: third },
        8 => What::FolderSync { thread: third },
        9 => What::FolderSynced { thread: third },
        10 => What::Halted,
        11 => What::ParentSynced,
        other => bail!("kind {other}"),
    };
    Ok(Entry { end: u64::try_from(end)?, what })
}
