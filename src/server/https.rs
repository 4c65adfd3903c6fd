//! What `server.domain` puts in front of a role's own routes: while there is no certificate, words instead of pages; and plain
//! HTTP, which leads to HTTPS and answers an authority's challenges (RFC 8555, 8.3).

use std::net::IpAddr;
use std::sync::Arc;

use crate::core::ids::{SessionId, url_host};
use crate::edge::reply::Reply;
use crate::edge::router::{Decision, Entrance, Request, Router};
use crate::edge::tls::names::ServedCertificates;

/// Where an authority looks for an answer.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// How we are is told in any case: it is how operators learn what is waited for.
const ALWAYS: [&str; 4] = ["/api/v1/health", "/healthz", "/readyz", "/metrics"];

/// When whoever meets no certificate may ask again: getting one takes seconds once everything is in place.
const SOON: &str = "10";

/// In front of a role's router.
pub struct HttpsRouter {
    /// The role's.
    pub inner: Arc<dyn Router>,
    /// Says what is waited for, and knows the challenges.
    pub served: Arc<ServedCertificates>,
    /// `server.domain`: where plain HTTP leads to, and nowhere else.
    pub names: Vec<String>,
}

impl Router for HttpsRouter {
    fn route(&self, request: &Request<'_>) -> Decision {
        if request.entrance == Entrance::Plain {
            return Decision::Reply(self.plain(request));
        }
        // Operators come where there is no certificate too, and see what is waited for.
        let waits = self.served.waits_for().filter(|_| request.entrance.speaks_tls());
        match waits {
            Some(words) if !ALWAYS.contains(&request.path) => {
                Decision::Reply(no_certificate(request.accepts_html, &words))
            }
            _ => self.inner.route(request),
        }
    }

    fn is_operator(&self, authorization: &str) -> bool {
        self.inner.is_operator(authorization)
    }

    fn is_awaited(&self, path: &str) -> bool {
        path.strip_prefix(CHALLENGES).is_some_and(|token| self.served.http_challenge(token).is_some())
    }

    fn is_proof(&self, proof: &str) -> bool {
        self.inner.is_proof(proof)
    }

    fn session_of(&self, path: &str) -> Option<SessionId> {
        self.inner.session_of(path)
    }

    fn form(&self, path: &str) -> Option<fn(Reply) -> Reply> {
        self.inner.form(path)
    }

    fn frame_ancestors(&self) -> String {
        self.inner.frame_ancestors()
    }
}

impl HttpsRouter {
    fn plain(&self, request: &Request<'_>) -> Reply {
        match request.path.strip_prefix(CHALLENGES) {
            Some(_) if !matches!(request.method, "GET" | "HEAD") => {
                Reply::error(405, "method not allowed", "a challenge is fetched with GET")
                    .with("Allow", "GET, HEAD")
            }
            Some(token) => match self.served.http_challenge(token) {
                Some(answer) => text(&answer),
                None => Reply::error(404, "no such challenge", "no challenge with this token is under way"),
            },
            None => {
                let path = if request.path == "*" { "/" } else { request.path };
                let query = request.query.map(|query| format!("?{query}")).unwrap_or_default();
                let host = host_of(&self.names, request.host);
                // 308 keeps the method, which 301 does not; it is not stored, so that a name can leave us again.
                Reply { status: 308, ..Reply::redirect(format!("https://{host}{path}{query}")) }
            }
        }
    }
}

/// The name of ours that a client means, as a URL has it; else the first.
fn host_of(names: &[String], asked: &str) -> String {
    let host = match asked.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => asked.split_once(':').map_or(asked, |(host, _)| host),
    };
    let address = host.parse::<IpAddr>().ok();
    let means = |name: &&String| match address {
        Some(address) => name.parse() == Ok(address),
        None => name.eq_ignore_ascii_case(host),
    };
    let name = names.iter().find(means).or(names.first()).map(String::as_str).unwrap_or_default();
    name.parse().map_or_else(|_| name.to_owned(), url_host)
}

fn text(body: &str) -> Reply {
    Reply { content_type: "text/plain", ..Reply::html(200, body.to_owned()) }
}

fn no_certificate(html: bool, words: &str) -> Reply {
    let reply = match html {
        false => Reply::error(503, "no certificate yet", words),
        true => {
            let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            Reply::html(
                503,
                format!(
                    "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content={SOON}>\
                     <meta name=viewport content=\"width=device-width\"><title>No certificate yet</title>\
                     <h1>No certificate yet</h1><p>This server waits for its certificate: {words}.<p>This page looks again by itself.\n"
                ),
            )
        }
    };
    reply.with("Retry-After", SOON)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Inner;

    impl Router for Inner {
        fn route(&self, _: &Request<'_>) -> Decision {
            Decision::Reply(text("inner"))
        }
    }

    fn router(names: &[&str]) -> HttpsRouter {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let served = Arc::new(ServedCertificates::waiting(&names).unwrap());
        HttpsRouter { inner: Arc::new(Inner), served, names }
    }

    fn request<'a>(entrance: Entrance, host: &'a str, target: &'a str) -> Request<'a> {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let peer = [192, 0, 2, 1].into();
        Request {
            method: "GET",
            path,
            query,
            host,
            entrance,
            accepts_html: false,
            upgrade: false,
            lost_upgrade: false,
            preflight: false,
            prefix: "",
            authorization: None,
            fields: &[],
            peer,
            from_here: false,
            client: peer,
            network: None,
        }
    }

    fn replied(router: &HttpsRouter, request: Request<'_>) -> (u16, String) {
        let Decision::Reply(reply) = router.route(&request) else { panic!("no reply") };
        let location = reply.headers.iter().find(|(name, _)| *name == "Location");
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        (reply.status, location.map_or(text, |(_, to)| to.clone()))
    }

    #[test]
    fn plain_http_leads_to_a_name_of_ours_only() {
        let router = router(&["neck.example", "b.example", "192.0.2.7", "2001:db8::1"]);
        for (host, target, location) in [
            ("neck.example", "/", "https://neck.example/"),
            ("B.Example:8080", "/a%20b/?c=d&e", "https://b.example/a%20b/?c=d&e"),
            ("192.0.2.7:80", "/x?", "https://192.0.2.7/x?"),
            ("[2001:DB8:0::1]:80", "/x", "https://[2001:db8::1]/x"),
            ("evil.example", "/x", "https://neck.example/x"),
            ("neck.example.evil.example", "//evil.example/x", "https://neck.example//evil.example/x"),
            ("", "/x", "https://neck.example/x"),
            ("neck.example", "*", "https://neck.example/"),
        ] {
            let got = replied(&router, request(Entrance::Plain, host, target));
            assert_eq!(got, (308, location.to_owned()), "{host} {target}");
        }
    }

    #[test]
    fn a_challenge_is_answered_on_plain_http_and_never_redirected() {
        let router = router(&["neck.example"]);
        router.served.answer_http_challenge("token", "token.print");
        let ask = |entrance, path| replied(&router, request(entrance, "neck.example", path));
        assert_eq!(ask(Entrance::Plain, "/.well-known/acme-challenge/token"), (200, "token.print".into()));
        for path in ["/.well-known/acme-challenge/other", "/.well-known/acme-challenge/"] {
            assert_eq!(ask(Entrance::Plain, path).0, 404, "{path}");
        }
        assert_eq!(ask(Entrance::Main, "/.well-known/acme-challenge/token").0, 503);
        assert!(router.is_awaited("/.well-known/acme-challenge/token"));
        assert!(!router.is_awaited("/.well-known/acme-challenge/other") && !router.is_awaited("/"));
    }

    // SPEC edge: Without a certificate yet both ports of `server.domain` answer: with 503 and what
    // is waited for, and with health
    // Also: `words_are_said_until_there_is_a_certificate`,
    // `server_domain_serves_both_ports_while_it_waits_for_a_certificate`
    #[test]
    fn without_a_certificate_words_stand_for_everything_but_health() {
        let router = router(&["neck.example"]);
        router.served.waiting_for("the authority <b> answers");
        let ask = |path| replied(&router, request(Entrance::Main, "neck.example", path));
        let (status, said) = ask("/");
        assert!(status == 503 && said.contains("the authority <b> answers"), "{status} {said}");
        let page = Request { accepts_html: true, ..request(Entrance::Main, "neck.example", "/") };
        let (status, said) = replied(&router, page);
        assert!(status == 503 && said.contains("the authority &lt;b&gt; answers"), "{status} {said}");
        for path in ALWAYS {
            assert_eq!(ask(path), (200, "inner".into()), "{path}");
        }
    }
}
