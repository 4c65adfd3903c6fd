//! Where the token of a request for rooms is, and how the request looks without it.
//!
//! A browser cannot set a field of its own on a WebSocket, so the token may come in `Authorization`, as the subprotocol behind
//! `Bearer`, or in the query. In the query it would stand in the logs of whoever passes the request on, so it is taken out.

use std::borrow::Cow;

/// Parameters of the query that may hold the token, best first.
const PARAMETERS: [&str; 2] = ["jwt", "api_key"];

/// The token of an `Authorization: Bearer` field.
fn of_field(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// The subprotocol behind `Bearer`.
fn of_subprotocols(offered: &str) -> Option<&str> {
    let mut members = offered.split(',').map(str::trim).filter(|member| !member.is_empty());
    members.by_ref().find(|member| member.eq_ignore_ascii_case("bearer"))?;
    members.next()
}

/// The token: of the field, else of the subprotocols, else of the query.
pub fn token<'a>(
    authorization: Option<&'a str>,
    subprotocols: Option<&'a str>,
    query: Option<&'a str>,
) -> Option<Cow<'a, str>> {
    let said = authorization.and_then(of_field).or_else(|| subprotocols.and_then(of_subprotocols));
    said.map(Cow::Borrowed).or_else(|| {
        let of = |name: &&str| parameter(query?, name).filter(|token| !token.is_empty());
        PARAMETERS.iter().find_map(of)
    })
}

/// The query without the parameters that may hold a token; `None`: nothing is left.
pub fn without_token(query: &str) -> Option<String> {
    let name = |pair: &&str| !PARAMETERS.contains(&pair.split('=').next().unwrap_or_default());
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.is_empty()).filter(name).collect();
    (!kept.is_empty()).then(|| kept.join("&"))
}

/// A parameter of a query, decoded. A plus stays one: the documented client puts ids there as they are.
pub fn parameter<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    let value = query.split('&').find_map(|pair| match pair.split_once('=') {
        Some((key, value)) => (key == name).then_some(value),
        None => (pair == name).then_some(""),
    })?;
    if !value.contains('%') {
        return Some(Cow::Borrowed(value));
    }
    let (mut rest, mut decoded) = (value.as_bytes(), Vec::new());
    while let Some((byte, after)) = rest.split_first() {
        let escaped = if *byte == b'%' { after.split_first_chunk::<2>() } else { None };
        let escaped = escaped.and_then(|(pair, after)| Some((hexadecimal(pair)?, after)));
        let (byte, after) = escaped.unwrap_or((*byte, after));
        decoded.push(byte);
        rest = after;
    }
    Some(Cow::Owned(String::from_utf8_lossy(&decoded).into_owned()))
}

fn hexadecimal(pair: &[u8; 2]) -> Option<u8> {
    let text = std::str::from_utf8(pair).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u8::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_taken_from_the_field_then_the_subprotocol_then_the_query() {
        let (field, offered, query) = (Some("bEARER f"), Some("Bearer, p"), Some("room=r&jwt=q%2D1"));
        assert_eq!(token(field, offered, query).as_deref(), Some("f"));
        assert_eq!(token(Some("Basic x"), offered, query).as_deref(), Some("p"));
        assert_eq!(token(None, Some("chat, bearer,p2 , x"), query).as_deref(), Some("p2"));
        assert_eq!(token(None, Some("chat"), query).as_deref(), Some("q-1"));
        assert_eq!(token(None, None, Some("api_key=k")).as_deref(), Some("k"));
        for query in [None, Some("jwt="), Some("jwt"), Some("xjwt=a"), Some("room=jwt=a")] {
            assert_eq!(token(Some("Bearer "), Some("Bearer"), query), None, "{query:?}");
        }
    }

    #[test]
    fn a_query_is_passed_on_without_the_token() {
        for (query, left) in [
            ("room=r&jwt=x", Some("room=r")),
            ("jwt=x&room=r&jwt=y&api_key=z", Some("room=r")),
            ("jwt", None),
            ("room=a%2Fb", Some("room=a%2Fb")),
            ("", None),
        ] {
            assert_eq!(without_token(query).as_deref(), left, "{query}");
        }
    }

    #[test]
    fn a_parameter_is_decoded_and_a_plus_stays() {
        for (query, room) in [
            ("room=a%2Fb+c", Some("a/b+c")),
            ("x=1&room=r", Some("r")),
            ("room", Some("")),
            ("room=100%", Some("100%")),
            ("room=%zz", Some("%zz")),
            ("rooms=r", None),
        ] {
            assert_eq!(parameter(query, "room").as_deref(), room, "{query}");
        }
    }
}
