//! Query parameters, read as strictly as bodies: unknown ones and repeated ones are refused by name.

use axum::{extract::Query, http::Uri};
use service_base::problem::{Code, Problem};

/// Reads the parameters of these names, each at most once.
pub(super) fn read<const N: usize>(uri: &Uri, names: [&'static str; N]) -> Result<[Option<String>; N], Problem> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map_err(|_| Problem::of(Code::BadRequest, "the query cannot be read"))?;
    let mut values = [const { None }; N];
    for (name, value) in pairs {
        let Some(at) = names.iter().position(|known| *known == name) else {
            return Err(Problem::of(Code::UnknownField, "the query has a parameter that nobody reads")
                .field(name, format!("must be one of {}", names.join(", "))));
        };
        if values[at].replace(value).is_some() {
            return Err(Problem::invalid(name, "must be given once"));
        }
    }
    Ok(values)
}

/// A page size within its bounds.
pub(super) fn limit(text: Option<&str>, default: u16, max: u16) -> Result<u16, Problem> {
    match text {
        None => Ok(default),
        Some(text) => match text.parse::<u16>() {
            Ok(limit) if (1..=max).contains(&limit) => Ok(limit),
            _ => Err(Problem::invalid("limit", format!("must be a whole number from 1 to {max}"))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_once_and_by_name() {
        let check = |query: &str| {
            let uri: Uri = format!("/v1/orders?{query}").parse().unwrap();
            read(&uri, ["limit", "cursor"])
                .map_err(|problem| format!("{} {}", problem.code(), problem.errors()[0].field))
        };
        assert_eq!(check(""), Ok([None, None]));
        assert_eq!(check("cursor=a%20b&limit=3"), Ok([Some("3".into()), Some("a b".into())]));
        assert_eq!(check("limit=3&limit=4"), Err("invalid_request limit".into()));
        assert_eq!(check("offset=3"), Err("unknown_field offset".into()));
    }

    #[test]
    fn limits_have_both_bounds() {
        assert_eq!(limit(None, 20, 100).unwrap(), 20);
        assert_eq!(limit(Some("100"), 20, 100).unwrap(), 100);
        for bad in ["0", "101", "-1", "x", "", "99999999"] {
            assert!(limit(Some(bad), 20, 100).is_err(), "{bad}");
        }
    }
}
