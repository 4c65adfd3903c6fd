//! `etc/openapi.yaml` and the routes say the same.

use std::collections::BTreeMap;

use hydraneckwebrtc::api::routes::{Auth, Links, On, ROUTES, Route};
use hydraneckwebrtc::core::session::reason::EndReason;
use serde_yaml::Value;

use crate::none;
use crate::source::read;

const METHODS: [&str; 7] = ["get", "put", "post", "delete", "patch", "options", "head"];

fn document() -> Value {
    serde_yaml::from_str(&read("etc/openapi.yaml")).expect("etc/openapi.yaml is YAML")
}

/// `METHOD /path/{id}` of everything that is documented.
fn documented() -> BTreeMap<String, Value> {
    let document = document();
    let mut found = BTreeMap::new();
    for (path, item) in document["paths"].as_mapping().expect("paths") {
        let path = path
            .as_str()
            .expect("a path is text")
            .replace("{session_id}", "{id}")
            .replace("{worker_id}", "{id}")
            .replace("{namespace}", "{id}")
            .replace("{token_id}", "{peer}");
        for method in METHODS {
            if let Some(operation) = item.get(method) {
                found.insert(format!("{} {path}", method.to_uppercase()), operation.clone());
            }
        }
    }
    found
}

fn key(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

fn has_reply(operation: &Value, status: &str) -> bool {
    operation["responses"].get(status).is_some()
}

// SPEC 3: `etc/openapi.yaml` and the routes are the same, tokens and refusals included
// Also: `who_may_call_and_how_they_are_refused_is_documented`, `references_lead_somewhere`,
// `the_documented_reasons_are_the_reasons`
#[test]
fn every_route_is_documented_and_nothing_else() {
    let documented: Vec<String> = documented().into_keys().collect();
    let mut routes: Vec<String> = ROUTES.iter().map(key).collect();
    routes.sort();
    assert_eq!(routes, documented, "src/api/routes.rs (left), etc/openapi.yaml (right)");
}

#[test]
fn who_may_call_and_how_they_are_refused_is_documented() {
    let (documented, mut found) = (documented(), Vec::new());
    assert_eq!(
        document()["security"][0]["bearer"],
        Value::Sequence(Vec::new()),
        "the default is the admin token"
    );
    for route in ROUTES {
        let Some(operation) = documented.get(&key(route)) else { continue };
        let open = operation.get("security").is_some_and(|list| {
            let list = list.as_sequence().expect("security is a list");
            list.is_empty() || list.iter().any(|one| one.as_mapping().is_some_and(|map| map.is_empty()))
        });
        // A route that judges by itself documents how: to watch takes no token, to publish does; who scrapes from this host needs none.
        // To log in is to show a token: who does has no cookie yet.
        let judges = route.auth == Auth::Own || key(route) == "POST /_neck/operator/login";
        if !judges && open != matches!(route.auth, Auth::None | Auth::Scrape) {
            found.push(format!("{}: security says open={open}, the route {:?}", key(route), route.auth));
        }
        if (route.auth != Auth::None) != has_reply(operation, "401") {
            found.push(format!("{}: 401 belongs to routes with a token", key(route)));
        }
        if route.path.contains("{id}") && !has_reply(operation, "404") {
            found.push(format!("{}: an unknown id is 404", key(route)));
        }
        let roles: Vec<&str> =
            operation["x-roles"].as_sequence().into_iter().flatten().filter_map(Value::as_str).collect();
        // What a worker serves to browsers, its controller passes on.
        let expected: &[&str] = match route.on {
            On::Controller => &["controller"],
            // Copies of namespaces are brought to their worker.
            On::Worker if !route.path.starts_with("/session/") => &["worker"],
            _ => &["controller", "worker"],
        };
        if roles != expected {
            found.push(format!("{}: x-roles {roles:?}, expected {expected:?}", key(route)));
        }
    }
    none("security and refusals in etc/openapi.yaml", found);
}

#[test]
fn which_of_a_sessions_links_may_ask_is_documented() {
    let (documented, mut found) = (documented(), Vec::new());
    for route in ROUTES {
        let Some(operation) = documented.get(&key(route)) else { continue };
        let links: Vec<&str> =
            operation["x-links"].as_sequence().into_iter().flatten().filter_map(Value::as_str).collect();
        let expected: &[&str] = match (route.path.starts_with("/session/"), route.links) {
            (false, _) => &[],
            (true, Links::Owner) => &["owner"],
            (true, Links::Both) => &["owner", "viewers"],
        };
        if links != expected {
            found.push(format!("{}: x-links {links:?}, expected {expected:?}", key(route)));
        }
        if expected == ["owner"] && !has_reply(operation, "403") {
            found.push(format!("{}: a viewers' link is 403", key(route)));
        }
    }
    none("links in etc/openapi.yaml", found);
}

/// Every `$ref` leads somewhere, and every component is used.
#[test]
fn references_lead_somewhere() {
    let (text, document, mut found) = (read("etc/openapi.yaml"), document(), Vec::new());
    for reference in text.split("\"#/").skip(1).filter_map(|rest| rest.split('"').next()) {
        let target = reference.split('/').try_fold(&document, |at, part| at.get(part));
        if target.is_none() {
            found.push(format!("#/{reference} is not there"));
        }
    }
    for kind in ["headers", "parameters", "responses", "schemas"] {
        for (name, _) in document["components"][kind].as_mapping().expect(kind) {
            let path = format!("\"#/components/{kind}/{}\"", name.as_str().expect("a name"));
            if !text.contains(&path) {
                found.push(format!("{path} is not used"));
            }
        }
    }
    none("references in etc/openapi.yaml", found);
}

#[test]
fn the_documented_reasons_are_the_reasons() {
    let document = document();
    let listed = document["components"]["schemas"]["EndReason"]["enum"].as_sequence().expect("enum").iter();
    let listed: Vec<String> = listed.filter_map(|word| word.as_str().map(str::to_owned)).collect();
    let ours: Vec<String> = EndReason::ALL.iter().map(ToString::to_string).collect();
    assert_eq!(listed, ours, "etc/openapi.yaml (left), core/reason.rs (right)");
}
