//! The path of a request of any version of HTTP.

use super::{Flaw, hex};

/// Judges the path of a request of any version: it must mean the same to every reader.
///
/// Nothing is normalised: a path that needs it is refused, so the route we chose and the route the upstream takes are one.
pub(crate) fn check_path(path: &str) -> Result<(), Flaw> {
    if !path.starts_with('/') || path.contains("//") || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(Flaw::TargetEncoding);
    }
    if path.bytes().any(|byte| matches!(byte, b'\\' | b'#' | b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'^')) {
        return Err(Flaw::TargetEncoding);
    }
    for segment in path.split('/') {
        let decoded = decode(segment.as_bytes()).ok_or(Flaw::TargetEncoding)?;
        let is_dots = matches!(decoded.as_slice(), b"." | b"..");
        // `..;x` is a dot segment to servers that know path parameters.
        let is_parameter_dots = decoded.starts_with(b"..;") || decoded.starts_with(b".;");
        let has_separator = decoded.iter().any(|byte| matches!(byte, b'/' | b'\\') || byte.is_ascii_control());
        if is_dots || is_parameter_dots || has_separator || std::str::from_utf8(&decoded).is_err() {
            return Err(Flaw::TargetEncoding);
        }
        // A server that decodes twice reads `%252e` as a dot.
        if decoded.contains(&b'%') && decode(&decoded).is_some_and(|again| again != decoded) {
            return Err(Flaw::TargetEncoding);
        }
    }
    Ok(())
}

fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let (high, low) = (hex(*after.first()?)?, hex(*after.get(1)?)?);
            decoded.push(high << 4 | low);
            rest = &after[2..];
        } else {
            decoded.push(first);
            rest = after;
        }
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_means_one_thing() {
        for good in [
            "/",
            "/v1/orders",
            "/v1/orders/",
            "/v1/items/caf%C3%A9",
            "/v1/items/a.b",
            "/v1/items/...",
            "/v1/items/50%25",
            "/x/%20y;a=1",
            "/x/..y",
            "/x/%25zz",
            "/x/100%25",
        ] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "x",
            "/..",
            "/v1/../x",
            "/v1/./x",
            "/v1/%2e%2e/x",
            "/v1/%2E/x",
            "/v1/.%2e/x",
            "/v1//orders",
            "/v1/%2forders",
            "/v1/%2Forders",
            "/v1/%5cx",
            "/v1\\x",
            "/v1/%00",
            "/v1/%0a",
            "/v1/%7f",
            "/v1/%",
            "/v1/%4",
            "/v1/%zz",
            "/v1/%252e%252e/x",
            "/v1/..;x/y",
            "/v1/%ff",
            "/a b",
            "/caf\u{e9}",
            "/x#y",
            "/x\"y",
            "/v1/.;x/y",
            "/v1/%2e%2e;x",
            "/v1/a%2fb",
            "/v1/a%5Cb",
            "/v1/%252f",
            "/v1/%C3",
            "/%u0041",
        ] {
            assert_eq!(check_path(bad), Err(Flaw::TargetEncoding), "{bad}");
        }
    }
}
