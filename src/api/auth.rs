//! Bearer tokens (RFC 6750) and the rules for requests that carry none.

use crate::api::reply::Answer;
use crate::api::server::Call;
use crate::core::whip;

/// The token of an `Authorization: Bearer` field. The scheme is case-insensitive (RFC 9110, 11.1).
pub fn bearer(field: Option<&str>) -> Option<&str> {
    let (scheme, token) = field?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The answer to a call without the right token.
pub fn refusal(presented: bool) -> Answer {
    let challenge = if presented { "Bearer error=\"invalid_token\"" } else { "Bearer" };
    let detail = "send the admin token: `Authorization: Bearer TOKEN` (server.admin_token of this role; for heartbeats \
                  workers.token of the controller, if it is set)";
    Answer::error(401, "unauthorized", detail).with("WWW-Authenticate", challenge)
}

/// What most calls of a page carry.
pub const JSON: &[&str] = &["application/json"];

/// The rules for a browser's unauthenticated call: same site only, and a body of one of these types, none of which a form of
/// another site can send (SPEC 6); without any type, the call has no body. `outside` are URLs under which the page is served
/// besides the host that was asked.
pub fn check_browser_call(call: &Call, outside: &[&str], types: &[&str]) -> Result<(), Answer> {
    let media_type = call.header("Content-Type");
    if !types.is_empty() && !types.iter().any(|allowed| whip::is_media_type(media_type, allowed)) {
        return Err(Answer::error(415, "unsupported media type", format!("send {}", types.join(" or "))));
    }
    if is_cross_site(call, outside) {
        return Err(Answer::error(
            403,
            "cross-site request",
            "this may only be called by the session's own page",
        ));
    }
    Ok(())
}

/// `Sec-Fetch-Site` decides where the browser sends it, which is over HTTPS only; else `Origin` must name the host the
/// browser asked.
fn is_cross_site(call: &Call, outside: &[&str]) -> bool {
    match call.header("Sec-Fetch-Site") {
        Some("same-origin" | "none") => return false,
        Some(_) => return true,
        None => {}
    }
    let Some(origin) = call.header("Origin") else { return false };
    let asked = call.header("X-Forwarded-Host").or(call.header("Host")).unwrap_or_default();
    // A worker behind its controller is asked by an inside name; the outside one it knows from its configuration.
    let is_ours = outside.iter().any(|url| url.trim_end_matches('/').eq_ignore_ascii_case(origin));
    !is_ours && origin.split_once("://").map(|(_, host)| host) != Some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_of_another_site_is_refused() {
        let form = Call::with_fields(&[("content-type", "application/x-www-form-urlencoded")]);
        assert_eq!(check_browser_call(&form, &[], JSON).unwrap_err().status, 415);
        let json = ("Content-Type", "application/json; charset=utf-8");
        for bad in [
            ("Sec-Fetch-Site", "cross-site"),
            ("Sec-Fetch-Site", "same-site"),
            ("Origin", "https://evil"),
            ("Origin", "null"),
        ] {
            let call = Call::with_fields(&[json, ("Host", "neck.example"), bad]);
            let refused = check_browser_call(&call, &["https://outside.example"], JSON);
            assert_eq!(refused.unwrap_err().status, 403, "{bad:?}");
        }
        for good in [("Sec-Fetch-Site", "same-origin"), ("Origin", "https://neck.example"), ("X-Nothing", "")]
        {
            assert!(
                check_browser_call(&Call::with_fields(&[json, ("Host", "neck.example"), good]), &[], JSON)
                    .is_ok(),
                "{good:?}"
            );
        }
        let through_controller =
            Call::with_fields(&[json, ("Host", "10.0.0.3"), ("Origin", "http://neck.example:8080")]);
        assert!(check_browser_call(&through_controller, &["http://neck.example:8080/"], JSON).is_ok());
    }

    #[test]
    fn the_forwarded_host_is_the_one_the_browser_asked() {
        let headers = [
            ("Content-Type", "application/json"),
            ("Host", "10.0.0.3:47990"),
            ("X-Forwarded-Host", "neck.example"),
            ("Origin", "https://neck.example"),
        ];
        assert!(check_browser_call(&Call::with_fields(&headers), &[], JSON).is_ok());
    }

    #[test]
    fn the_scheme_is_case_insensitive() {
        assert_eq!(bearer(Some("bEARER abc")), Some("abc"));
        assert_eq!(bearer(Some("Basic abc")), None);
        assert_eq!(bearer(Some("abc")), None);
    }
}
