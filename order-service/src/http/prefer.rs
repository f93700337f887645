//! The `Prefer` header (RFC 7240), as far as we know it: `wait=N` and `respond-async`. What we do not understand we ignore, as the
//! RFC asks; what we honour we name in `Preference-Applied`.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

pub(super) const PREFER: HeaderName = HeaderName::from_static("prefer");
pub(super) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What a caller prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Prefer {
    wait: Option<u64>,
    respond_async: bool,
}

impl Prefer {
    /// Reads all `Prefer` headers; of a preference given twice, the first counts, even where it says nothing we understand.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut prefer = Self::default();
        let mut seen: Vec<String> = Vec::new();
        let texts = headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok());
        for Preference { name, value } in texts.flat_map(preferences) {
            if seen.contains(&name) {
                continue;
            }
            match name.as_str() {
                // Without a value, that is; `respond-async=false` is another preference, and an unknown one.
                "respond-async" => prefer.respond_async = value.is_empty(),
                "wait" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                    prefer.wait = value.parse().ok();
                }
                "wait" => {}
                _ => continue,
            }
            seen.push(name);
        }
        prefer
    }

    /// How long to wait for the end. `respond-async` alone is "not at all"; with `wait=N` it is "N seconds, and then go on without
    /// me" (RFC 7240, 4.3), which is what `wait=N` means here anyway.
    pub(super) fn wait(self) -> Option<Duration> {
        match (self.wait, self.respond_async) {
            (Some(seconds), _) => Some(Duration::from_secs(seconds)),
            (None, true) => Some(Duration::ZERO),
            (None, false) => None,
        }
    }

    /// What was honoured, given whether the answer came before the end.
    pub(super) fn applied(self, waited_at_most: Duration, accepted_only: bool) -> Option<String> {
        let respond_async = (self.respond_async && accepted_only).then(|| "respond-async".to_owned());
        let wait = self.wait.map(|seconds| format!("wait={}", seconds.min(waited_at_most.as_secs())));
        let applied: Vec<String> = respond_async.into_iter().chain(wait).collect();
        (!applied.is_empty()).then(|| applied.join(", "))
    }
}

/// One preference: its name in lower case, and its value, of which none is the same as an empty one. Parameters are read over.
#[derive(Debug, PartialEq, Eq)]
struct Preference {
    name: String,
    value: String,
}

/// Splits one header line. Commas and semicolons in quotes belong to the value; a preference that is not written as RFC 7240 has it is
/// left out, and what follows an unclosed quote belongs to it.
fn preferences(text: &str) -> Vec<Preference> {
    split(text, ',').into_iter().filter_map(|preference| read(split(preference, ';').first()?)).collect()
}

/// Splits at a character that is not within quotes.
fn split(text: &str, at: char) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (index, char) in text.char_indices() {
        match char {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if char == at && !quoted => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

/// `token [ BWS "=" BWS ( token / quoted-string ) ]`
fn read(text: &str) -> Option<Preference> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    let (name, value) = (name.trim_matches([' ', '\t']), value.trim_matches([' ', '\t']));
    let value = match value.strip_prefix('"') {
        Some(quoted) => unquote(quoted)?,
        None if value.bytes().all(is_token) => value.to_owned(),
        None => return None,
    };
    (!name.is_empty() && name.bytes().all(is_token)).then(|| Preference { name: name.to_ascii_lowercase(), value })
}

/// What stands between quotes, the first of which is gone; `None` where there is no last one, or something after it.
fn unquote(text: &str) -> Option<String> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(value),
            '\\' => value.push(chars.next()?),
            char => value.push(char),
        }
    }
}

/// RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefer(lines: &[&str]) -> Prefer {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(PREFER, line.parse().unwrap());
        }
        Prefer::of(&headers)
    }

    #[test]
    fn what_is_understood_is_honoured_and_named() {
        let check = |lines: &[&str], wait: Option<u64>, applied: Option<&str>| {
            let prefer = prefer(lines);
            assert_eq!(prefer.wait(), wait.map(Duration::from_secs), "{lines:?}");
            assert_eq!(prefer.applied(Duration::from_mins(1), true).as_deref(), applied, "{lines:?}");
        };
        check(&[], None, None);
        check(&["wait=10"], Some(10), Some("wait=10"));
        check(&["wait=\"7\"; foo=bar"], Some(7), Some("wait=7"));
        check(&["respond-async"], Some(0), Some("respond-async"));
        check(&["Respond-Async, WAIT=3"], Some(3), Some("respond-async, wait=3"));
        check(&["respond-async", "wait=3, wait=4"], Some(3), Some("respond-async, wait=3"));
        check(&["wait=1000"], Some(1000), Some("wait=60"));
        check(&["wait=-1, handling=lenient"], None, None);
        check(&["wait=99999999999999999999999"], None, None);
        check(&["wait=, return=minimal"], None, None);
    }

    #[test]
    fn odd_preferences_are_ignored() {
        // (lines, seconds to wait)
        let table: &[(&[&str], Option<u64>)] = &[
            (&["respond-async=false"], None),
            (&["respond-async=true"], None),
            (&["respond-async=0"], None),
            (&["respond-async=\"no\""], None),
            // No value and an empty one are the same (RFC 7240, section 2).
            (&["respond-async="], Some(0)),
            (&["respond-async=\"\""], Some(0)),
            (&["respond-async;x=y"], Some(0)),
            (&["respond-async ; x = \"a, respond-async\""], Some(0)),
            (&["RESPOND-ASYNC"], Some(0)),
            (&["respond-async=false, respond-async"], None),
            (&["respond-async, respond-async=false"], Some(0)),
            (&["respond-async=false", "respond-async"], None),
            (&["respond async"], None),
            (&["respond-asynchronously"], None),
            (&["x=\"respond-async\""], None),
            (&["x=\"a,respond-async,b\""], None),
            (&["x=\"a\\\",respond-async\""], None),
            (&["x=\"a\\\"b, respond-async, c\\\"d\""], None),
            (&["x=\"a\\\\\", respond-async"], Some(0)),
            // Outside quotes a backslash is no escape.
            (&["a\\, respond-async"], Some(0)),
            (&["x=\"unclosed, respond-async"], None),
            (&["x=\"closed\"y, respond-async"], Some(0)),
            (&["=respond-async, wait=3"], Some(3)),
            (&[", ,wait=3,,"], Some(3)),
            (&[""], None),
            (&["wait"], None),
            (&["wait=abc"], None),
            (&["wait=1.5"], None),
            (&["wait=+5"], None),
            (&["wait=-5"], None),
            (&["wait=5s"], None),
            (&["wait=5 6"], None),
            (&["wait=0x5"], None),
            (&["wait=\"5\""], Some(5)),
            (&["wait=\"\\5\""], Some(5)),
            (&["wait = 5"], Some(5)),
            (&["wait\t=\t5"], Some(5)),
            (&["wait=abc, wait=5"], None),
            (&["wait=5, wait=abc"], Some(5)),
            (&["wait=0"], Some(0)),
            (&["wait=18446744073709551615"], Some(u64::MAX)),
            (&["wait=18446744073709551616"], None),
            (&["respond-async=false, wait=5"], Some(5)),
            (&["wait=5; respond-async"], Some(5)),
        ];
        for (lines, seconds) in table {
            assert_eq!(prefer(lines).wait(), seconds.map(Duration::from_secs), "{lines:?}");
        }
        assert_eq!(prefer(&["respond-async=false"]).applied(Duration::from_mins(1), true), None);
    }

    #[test]
    fn what_is_not_written_as_a_preference_is_left_out() {
        let read = preferences("a b, =x, y=1 2, (=1, Z = \"3 4\";p=q, v;w");
        let read: Vec<_> = read.iter().map(|read| (read.name.as_str(), read.value.as_str())).collect();
        assert_eq!(read, [("z", "3 4"), ("v", "")]);
        assert_eq!(prefer(&["wait=5 6, wait=7"]).wait(), Some(Duration::from_secs(7)), "not the first of two");
        for byte in 0..=u8::MAX {
            let is_separator = b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            assert_eq!(is_token(byte), byte.is_ascii_graphic() && !is_separator, "{byte}");
        }
    }

    #[test]
    fn an_answer_that_is_the_end_was_not_asynchronous() {
        assert_eq!(prefer(&["respond-async"]).applied(Duration::from_mins(1), false), None);
    }
}
