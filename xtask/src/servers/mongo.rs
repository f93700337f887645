//! Just enough of MongoDB's wire protocol to see that a server is a primary, and to make a fresh one a replica set of one, which
//! transactions need. Saves depending on `mongosh`.

use std::{
    io::{Read, Write},
    net::SocketAddr,
};

use super::probe;

pub(super) const REPLICA_SET: &str = "amends";

/// Answers are small; anything larger is not an answer to what we ask.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Whether the server takes writes.
pub(super) fn is_primary(address: SocketAddr) -> bool {
    hello(address).is_some_and(|answer| is_true(&answer, "isWritablePrimary"))
}

/// The same; a server that was started for a replica set but belongs to none yet is made one.
pub(super) fn ready_or_initiated(address: SocketAddr) -> bool {
    let Some(answer) = hello(address) else { return false };
    if is_true(&answer, "isreplicaset") {
        let member = Document::default().int("_id", 0).text("host", &address.to_string());
        let set = Document::default().text("_id", REPLICA_SET).list("members", vec![member]);
        let _asked = call(address, Document::default().document("replSetInitiate", set).text("$db", "admin"));
    }
    is_true(&answer, "isWritablePrimary")
}

fn hello(address: SocketAddr) -> Option<Vec<u8>> {
    call(address, Document::default().int("hello", 1).text("$db", "admin")).ok()
}

fn is_true(answer: &[u8], name: &str) -> bool {
    let mut element = vec![8];
    element.extend(name.as_bytes());
    element.extend([0, 1]);
    answer.windows(element.len()).any(|window| window == element)
}

/// Sends one `OP_MSG` and returns the answer's bytes.
fn call(address: SocketAddr, command: Document) -> std::io::Result<Vec<u8>> {
    let mut stream = probe::connect(address)?;
    stream.write_all(&message(command))?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let size = usize::try_from(u32::from_le_bytes(size)).unwrap_or(usize::MAX);
    if !(16..=ANSWER_BYTES_MAX).contains(&size) {
        return Err(std::io::Error::other("not a MongoDB answer"));
    }
    let mut answer = vec![0; size - 4];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn message(command: Document) -> Vec<u8> {
    let body = command.finish();
    let size = u32::try_from(16 + 4 + 1 + body.len()).unwrap_or_default();
    let mut bytes = Vec::new();
    for word in [size, 1, 0, 2013, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.push(0);
    bytes.extend(body);
    bytes
}

/// A BSON document being written.
#[derive(Default)]
struct Document(Vec<u8>);

impl Document {
    fn int(mut self, name: &str, value: i32) -> Self {
        self.element(0x10, name);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn text(mut self, name: &str, value: &str) -> Self {
        self.element(0x02, name);
        self.0.extend(u32::try_from(value.len() + 1).unwrap_or_default().to_le_bytes());
        self.0.extend(value.as_bytes());
        self.0.push(0);
        self
    }

    fn document(mut self, name: &str, value: Self) -> Self {
        self.element(0x03, name);
        self.0.extend(value.finish());
        self
    }

    /// An array is a document whose names are the indexes.
    fn list(mut self, name: &str, values: Vec<Self>) -> Self {
        self.element(0x04, name);
        let items = values.into_iter().enumerate();
        let items = items.fold(Self::default(), |items, (index, value)| items.document(&index.to_string(), value));
        self.0.extend(items.finish());
        self
    }

    fn element(&mut self, kind: u8, name: &str) {
        self.0.push(kind);
        self.0.extend(name.as_bytes());
        self.0.push(0);
    }

    fn finish(self) -> Vec<u8> {
        let mut bytes = u32::try_from(self.0.len() + 5).unwrap_or_default().to_le_bytes().to_vec();
        bytes.extend(self.0);
        bytes.push(0);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_bson_as_its_specification_shows_it() {
        let hello_world = b"\x16\0\0\0\x02hello\0\x06\0\0\0world\0\0";
        assert_eq!(Document::default().text("hello", "world").finish(), hello_world);
        let list = Document::default().list("a", vec![Document::default().int("b", 1)]).finish();
        assert_eq!(list, b"\x1c\0\0\0\x04a\0\x14\0\0\0\x030\0\x0c\0\0\0\x10b\0\x01\0\0\0\0\0\0");
    }

    #[test]
    fn finds_a_true_element() {
        let answer = b"....\x08isWritablePrimary\0\x01...";
        assert!(is_true(answer, "isWritablePrimary"));
        assert!(!is_true(b"\x08isWritablePrimary\0\x00", "isWritablePrimary"));
    }
}
