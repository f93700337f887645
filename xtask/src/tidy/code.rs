//! Rust source divided into its code, without comments and the insides of literals, and its comments, so that a rule finds words only
//! where they mean what it looks for.
//!
//! Must not know: any rule.

/// The code. The same number of lines, so that line numbers stay right.
pub(super) fn only(source: &str) -> String {
    divided(source).0
}

/// The comments, on the lines that they have.
pub(super) fn comments(source: &str) -> String {
    divided(source).1
}

fn divided(source: &str) -> (String, String) {
    let bytes = source.as_bytes();
    let (mut kept, mut comments) = (String::with_capacity(source.len()), String::new());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &source[at..];
        let comment = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else {
            0
        };
        let skipped = if comment > 0 {
            comment
        } else if let Some(length) = raw_string(rest, kept.chars().next_back()) {
            length
        } else if rest.starts_with('"') {
            quoted(rest)
        } else if rest.starts_with('\'') {
            character(rest)
        } else {
            0
        };
        if skipped == 0 {
            let next = rest.chars().next().unwrap_or(' ');
            kept.push(next);
            comments.extend(Some(next).filter(|next| *next == '\n'));
            at += next.len_utf8();
        } else {
            let breaks = || rest[..skipped].chars().filter(|next| *next == '\n');
            kept.push(' ');
            kept.extend(breaks());
            if comment > 0 {
                comments.push_str(&rest[..skipped]);
            } else {
                comments.extend(breaks());
            }
            at += skipped;
        }
    }
    (kept, comments)
}

fn block_comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn raw_string(rest: &str, before: Option<char>) -> Option<usize> {
    let after_r = rest.strip_prefix('r').or_else(|| rest.strip_prefix("br"))?;
    if before.is_some_and(|before| before.is_alphanumeric() || before == '_') {
        return None;
    }
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    let body = after_r[hashes..].strip_prefix('"')?;
    let closing = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&closing).map_or(body.len(), |end| end + closing.len());
    Some(rest.len() - body.len() + end)
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, next) in rest.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// A character literal; zero for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            chars.next();
            chars.find(|(_, next)| *next == '\'').map_or(0, |(at, _)| at + 1)
        }
        Some(_) => chars.next().filter(|(_, next)| *next == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

/// The lines (from 1) on which a word stands as a word.
pub(super) fn lines_with<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_part = |next: char| next.is_alphanumeric() || next == '_';
    code.lines().enumerate().filter_map(move |(index, line)| {
        let stands = line.match_indices(word).any(|(at, _)| {
            !line[..at].chars().next_back().is_some_and(is_part)
                && !line[at + word.len()..].chars().next().is_some_and(is_part)
        });
        stands.then_some(index + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_not_code() {
        let source = "a // async\n/* async /* async */ async */ b \"async \\\" async\" c r#\"async \" async\"# d '\"' e 'x 'async\nbr\"async\"";
        let code = only(source);
        assert_eq!(code.lines().count(), 3);
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "c", "d", "e", "'x", "'async"]);
    }

    #[test]
    fn comments_keep_their_lines_without_code_and_literals() {
        let source = "a \"// b\n\" // c\nd /* e\nf */ g '/' // h";
        assert_eq!(comments(source), "\n// c\n/* e\nf */// h");
    }

    #[test]
    fn literals_keep_their_line_breaks() {
        assert_eq!(lines_with(&only("let x = \"\n\n\";\nasync"), "async").collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn a_word_is_not_a_part_of_another() {
        assert_eq!(lines_with("sqlx_like\nuse sqlx::x;\nnosqlx", "sqlx").collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn text_that_ends_early_ends_the_code() {
        for source in ["\"", "/*", "r#\"", "'", "'\\", "\"\\", "é'é'é"] {
            only(source);
        }
    }
}
