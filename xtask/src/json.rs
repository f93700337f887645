//! A reader for what `cargo metadata` prints. Twenty lines more than a dependency, and twenty seconds less on a fresh machine.
//!
//! Must not know: what the JSON means.

use std::iter::Peekable;
use std::str::Chars;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Value {
    /// The member of an object; `Null` where there is none.
    pub(crate) fn get(&self, name: &str) -> &Self {
        match self {
            Self::Object(members) => {
                members.iter().find(|(key, _)| key == name).map_or(&Self::Null, |(_, value)| value)
            }
            _ => &Self::Null,
        }
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }
}

/// Nesting deeper than this is not `cargo metadata`.
const DEPTH_MAX: u32 = 64;

pub(crate) fn parse(text: &str) -> Result<Value, String> {
    let mut reader = Reader { chars: text.chars().peekable(), at: 0 };
    let value = reader.value(DEPTH_MAX)?;
    reader.blank();
    match reader.chars.next() {
        None => Ok(value),
        Some(extra) => Err(format!("`{extra}` after the end")),
    }
}

struct Reader<'a> {
    chars: Peekable<Chars<'a>>,
    at: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: u32) -> Result<Value, String> {
        let Some(depth) = depth.checked_sub(1) else { return Err(self.wrong("nested too deep")) };
        self.blank();
        match self.chars.peek().copied() {
            Some('{') => self.object(depth),
            Some('[') => self.list(depth),
            Some('"') => Ok(Value::Text(self.string()?)),
            Some('t') => self.word("true", Value::Bool(true)),
            Some('f') => self.word("false", Value::Bool(false)),
            Some('n') => self.word("null", Value::Null),
            Some('-' | '0'..='9') => self.number(),
            other => Err(self.wrong(&format!("unexpected {other:?}"))),
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value, String> {
        let mut members = Vec::new();
        self.expect('{')?;
        self.blank();
        if self.skip('}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.blank();
            let name = self.string()?;
            self.blank();
            self.expect(':')?;
            members.push((name, self.value(depth)?));
            self.blank();
            if self.skip('}') {
                return Ok(Value::Object(members));
            }
            self.expect(',')?;
        }
    }

    fn list(&mut self, depth: u32) -> Result<Value, String> {
        let mut items = Vec::new();
        self.expect('[')?;
        self.blank();
        if self.skip(']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.blank();
            if self.skip(']') {
                return Ok(Value::List(items));
            }
            self.expect(',')?;
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.next()? {
                '"' => return Ok(text),
                '\\' => text.push(self.escape()?),
                plain => text.push(plain),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        Ok(match self.next()? {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'u' => match self.hex()? {
                high @ 0xD800..=0xDBFF => {
                    self.expect('\\')?;
                    self.expect('u')?;
                    let low = self.hex()?;
                    let combined = 0x1_0000 + ((high - 0xD800) << 10) + low.wrapping_sub(0xDC00);
                    char::from_u32(combined).ok_or_else(|| self.wrong("a lone surrogate"))?
                }
                code => char::from_u32(code).ok_or_else(|| self.wrong("a lone surrogate"))?,
            },
            same @ ('"' | '\\' | '/') => same,
            other => return Err(self.wrong(&format!("unknown escape `{other}`"))),
        })
    }

    fn hex(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.next()?;
            code = code * 16 + digit.to_digit(16).ok_or_else(|| self.wrong("not a hexadecimal digit"))?;
        }
        Ok(code)
    }

    fn number(&mut self) -> Result<Value, String> {
        let mut digits = String::new();
        while let Some(digit) = self.chars.next_if(|next| matches!(next, '-' | '+' | '.' | 'e' | 'E' | '0'..='9')) {
            self.at += 1;
            digits.push(digit);
        }
        digits.parse().map(Value::Number).map_err(|_| self.wrong("not a number"))
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, String> {
        for letter in word.chars() {
            self.expect(letter)?;
        }
        Ok(value)
    }

    fn blank(&mut self) {
        while self.chars.next_if(char::is_ascii_whitespace).is_some() {
            self.at += 1;
        }
    }

    fn skip(&mut self, wanted: char) -> bool {
        let found = self.chars.next_if_eq(&wanted).is_some();
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.skip(wanted) { Ok(()) } else { Err(self.wrong(&format!("expected `{wanted}`"))) }
    }

    fn next(&mut self) -> Result<char, String> {
        self.at += 1;
        self.chars.next().ok_or_else(|| self.wrong("the text ends too early"))
    }

    fn wrong(&self, what: &str) -> String {
        format!("character {}: {what}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_cargo_metadata_prints() {
        let value = parse(
            r#" {"packages":[{"name":"a\n\u00e9\ud83d\ude00","dependencies":[],"n":-1.5e2,"x":null,"y":true}]} "#,
        )
        .unwrap();
        let package = &value.get("packages").items()[0];
        assert_eq!(package.get("name").text(), Some("a\né😀"));
        assert_eq!(package.get("dependencies"), &Value::List(vec![]));
        assert_eq!(package.get("n"), &Value::Number(-150.0));
        assert_eq!(package.get("absent"), &Value::Null);
    }

    #[test]
    fn refuses_what_is_not_json() {
        for wrong in ["", "{", "[1,]", "{\"a\" 1}", "tru", "1 2", "\"\\x\"", "\"\\ud800\"", "nul", "-"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse(&"[".repeat(100_000)).is_err());
    }
}
