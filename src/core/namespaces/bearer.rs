//! Where the token of a request for rooms is, and how the request looks without it.
//!
//! A browser cannot set a field of its own on a WebSocket, so the token may come in `Authorization`, as the subprotocol behind
//! `Bearer`, or in the query. In the query it would stand in the logs of whoever passes the request on, so it is taken out.

use std::borrow::Cow;

/// The field of clients that call the token a key.
pub const KEY_FIELD: &str = "X-API-Key";

/// Parameters of the query that may hold the token, best first.
const PARAMETERS: [&str; 2] = ["jwt", "api_key"];

/// The token of an `Authorization: Bearer` field. The scheme is case-insensitive (RFC 9110, 11.1).
pub fn of_field(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// What `Sec-WebSocket-Protocol` fields say of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subprotocols<'a> {
    /// `Bearer`, as the client spells it: what is agreed on.
    pub scheme: Option<&'a str>,
    /// What stands behind it. It is never sent back.
    token: Option<&'a str>,
}

impl<'a> Subprotocols<'a> {
    /// Of the values of all such fields, in their order.
    pub fn of(fields: impl IntoIterator<Item = &'a str>) -> Subprotocols<'a> {
        let members = fields.into_iter().flat_map(|value| value.split(',')).map(str::trim);
        let mut members = members.filter(|member| !member.is_empty());
        let scheme = members.by_ref().find(|member| member.eq_ignore_ascii_case("bearer"));
        Subprotocols { scheme, token: scheme.and_then(|_| members.next()) }
    }
}

/// What of a request may hold its token.
#[derive(Clone, Copy, Default)]
pub struct Sources<'a> {
    /// The first `Authorization` field.
    pub authorization: Option<&'a str>,
    /// The first [`KEY_FIELD`].
    pub key: Option<&'a str>,
    /// `Sec-WebSocket-Protocol`, of an upgrade.
    pub subprotocols: Subprotocols<'a>,
    /// The query without `?`, of an upgrade.
    pub query: Option<&'a str>,
}

impl<'a> Sources<'a> {
    /// The token: of a field, else of the subprotocols, else of the query. What is no text of a field is no token: it is
    /// written into one.
    pub fn token(self) -> Option<Cow<'a, str>> {
        let key = self.key.map(str::trim).filter(|key| !key.is_empty());
        let said = self.authorization.and_then(of_field).or(key).or(self.subprotocols.token);
        let token = said.map(Cow::Borrowed).or_else(|| {
            let of = |name: &&str| parameter(self.query?, name).filter(|token| !token.is_empty());
            PARAMETERS.iter().find_map(of)
        });
        token.filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()))
    }
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

    fn token(
        authorization: Option<&'static str>,
        offered: &[&'static str],
        query: Option<&'static str>,
    ) -> Option<Cow<'static, str>> {
        let subprotocols = Subprotocols::of(offered.iter().copied());
        Sources { authorization, key: None, subprotocols, query }.token()
    }

    #[test]
    fn a_token_is_taken_from_the_field_then_the_subprotocol_then_the_query() {
        let (field, offered, query) = (Some("bEARER f"), ["Bearer, p"].as_slice(), Some("room=r&jwt=q%2D1"));
        assert_eq!(token(field, offered, query).as_deref(), Some("f"));
        assert_eq!(token(Some("Basic x"), offered, query).as_deref(), Some("p"));
        assert_eq!(token(None, &["chat, bearer,p2 , x"], query).as_deref(), Some("p2"));
        assert_eq!(token(None, &["Bearer", "p3"], query).as_deref(), Some("p3"), "of two fields");
        assert_eq!(token(None, &["chat"], query).as_deref(), Some("q-1"));
        assert_eq!(token(None, &[], Some("api_key=k")).as_deref(), Some("k"));
        let key = Sources { key: Some(" k2 "), query: Some("jwt=q"), ..Sources::default() };
        assert_eq!(key.token().as_deref(), Some("k2"));
        for query in [
            Some("jwt=a%0D%0AX-Y:b"),
            Some("jwt=a%20b"),
            Some("jwt=%C3%A4"),
            None,
            Some("jwt="),
            Some("jwt"),
            Some("xjwt=a"),
            Some("room=jwt=a"),
        ] {
            assert_eq!(token(Some("Bearer "), &["Bearer"], query), None, "{query:?}");
        }
    }

    #[test]
    fn bearer_is_agreed_on_as_it_is_spelled_and_nothing_else() {
        let agreed = |fields: &[&'static str]| Subprotocols::of(fields.iter().copied()).scheme;
        assert_eq!(agreed(&["chat, bEARER, secret"]), Some("bEARER"));
        assert_eq!(agreed(&["chat", "Bearer"]), Some("Bearer"));
        assert_eq!(agreed(&["chat, secret"]), None);
        assert_eq!(agreed(&[]), None);
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
