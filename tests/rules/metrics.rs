//! `docs/metrics.md` is made of the table in the code; dashboard and alerts use what is there, and all of it.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::process::Command;

use hydraneckwebrtc::metrics::table::{Kind, LIMITS, METRICS, Metric, On};
use serde_yaml::Value;

use crate::none;
use crate::source::{read, sources};

const PAGE: &str = "docs/metrics.md";

/// What stands around the part that is made.
const BEGIN: &str = "<!-- made of src/metrics/table.rs -->\n";
const END: &str = "<!-- end -->\n";

/// Set, the page is written anew instead of compared.
const WRITE: &str = "WRITE_DOCS";

fn rows(title: &str, on: On) -> String {
    let mut out = format!("### {title}\n\n| name | kind | labels | |\n|---|---|---|---|\n");
    for Metric { name, kind, labels, help, .. } in METRICS.iter().filter(|metric| metric.on == on) {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        writeln!(out, "| `{name}` | {} | {} | {help} |", kind.word(), labels.join(", ")).expect("a String");
    }
    out
}

// SPEC 9 metrics: [docs/metrics.md](docs/metrics.md) is made of the table in the code
#[test]
fn the_page_of_metrics_is_made_of_the_table() {
    let page = read(PAGE);
    let (before, rest) = page.split_once(BEGIN).expect("where the made part begins");
    let (_, after) = rest.split_once(END).expect("where it ends");
    let parts = [("Both roles", On::Both), ("Controller", On::Controller), ("Worker", On::Worker)];
    let made = parts.map(|(title, on)| rows(title, on)).join("\n");
    let expected = format!("{before}{BEGIN}\n{made}\n{END}{after}");
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(format!("{}/{PAGE}", env!("CARGO_MANIFEST_DIR")), &expected).expect("written");
        return;
    }
    assert!(
        page == expected,
        "{PAGE} is not what the table makes: {WRITE}=1 cargo test --test rules writes it anew"
    );
}

/// In files that make such replies, each word in quotes that looks like a name of a limit is one.
#[test]
fn every_limit_that_replies_name_is_counted_by_its_name() {
    let is_name = |word: &str| {
        word.contains('_') && word.bytes().all(|byte| byte.is_ascii_lowercase() || b"_.".contains(&byte))
    };
    let mut found = Vec::new();
    let limits = sources("src").into_iter().filter(|source| {
        source.text.contains("over_limit(")
            || source.text.contains("too_fast(")
            || source.text.contains("of_limit(")
    });
    for source in limits {
        let product = source.text.split("#[cfg(test)]").next().unwrap_or_default();
        let quoted = product.lines().filter(|line| !line.trim_start().starts_with("//"));
        let words = quoted.flat_map(|line| line.split('"').skip(1).step_by(2)).filter(|word| is_name(word));
        let unknown = words.filter(|word| !LIMITS.contains(word));
        found.extend(unknown.map(|word| format!("{}: {word}", source.path)));
    }
    none("limits that src/metrics/table.rs does not know", found);
}

const ALERTS: &str = "etc/prometheus/alerts.yaml";
const ALERTS_TEST: &str = "etc/prometheus/alerts_test.yaml";
const DASHBOARD: &str = "etc/grafana/hydraneckwebrtc.json";

/// What neither dashboard nor alerts show, and why.
const NOT_SHOWN: &[(&str, &str)] = &[
    ("hydraneckwebrtc_lease_leads", "of pairs of controllers only; health says who leads"),
    ("hydraneckwebrtc_lease_number", "of pairs of controllers only"),
    (
        "hydraneckwebrtc_lease_left_seconds",
        "of pairs of controllers only; hydraneckwebrtc_problems counts it",
    ),
    ("hydraneckwebrtc_lease_queries_total", "of pairs of controllers only"),
    ("hydraneckwebrtc_ready", "for balancers and scripts; the dashboard has what it is made of"),
    ("hydraneckwebrtc_log_lines_held_back_total", "nothing is lost by it that an operator misses"),
    ("hydraneckwebrtc_fleet_settling", "two heartbeats after each start"),
    ("hydraneckwebrtc_moves_total", "how drains went, for whoever drains"),
    ("hydraneckwebrtc_edge_connections_accepted_total", "for rates when looking into a flood"),
    ("hydraneckwebrtc_outbox_bytes", "the disk's free bytes tell what matters"),
    ("process_virtual_memory_bytes", "a number that means little, but that tools expect"),
];

/// Every string below `key` in a document.
fn strings<'d>(document: &'d Value, key: &str, found: &mut Vec<&'d str>) {
    match document {
        Value::Mapping(map) => {
            for (name, value) in map {
                match value.as_str() {
                    Some(text) if name.as_str() == Some(key) => found.push(text),
                    _ => strings(value, key, found),
                }
            }
        }
        Value::Sequence(list) => list.iter().for_each(|value| strings(value, key, found)),
        _ => {}
    }
}

fn parsed(path: &str) -> Value {
    // JSON is YAML.
    serde_yaml::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn expressions(path: &str) -> Vec<String> {
    let (document, mut found) = (parsed(path), Vec::new());
    strings(&document, "expr", &mut found);
    assert!(found.len() > 20, "{path} has {} expressions", found.len());
    found.into_iter().map(|text| text.replace("$__rate_interval", "5m")).collect()
}

/// Words of expressions that are names of metrics of ours.
fn used() -> BTreeSet<String> {
    let all = expressions(ALERTS).into_iter().chain(expressions(DASHBOARD));
    let words = all.flat_map(|text| {
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
        words.map(str::to_owned).collect::<Vec<_>>()
    });
    words.filter(|word| word.starts_with("hydraneckwebrtc_") || word.starts_with("process_")).collect()
}

// SPEC 9 metrics: Dashboard and alerts use metrics that exist, and every metric but those listed
// with a reason; Prometheus understands each expression
// Also: `prometheus_understands_every_expression`, `the_dashboard_can_be_provisioned`
#[test]
fn dashboard_and_alerts_use_metrics_that_exist_and_every_metric_or_say_why_not() {
    let (used, mut found) = (used(), Vec::new());
    let samples = |metric: &Metric| -> Vec<String> {
        let parts: &[&str] =
            if metric.kind == Kind::Histogram { &["_bucket", "_count", "_sum"] } else { &[""] };
        parts.iter().map(|part| format!("{}{part}", metric.name)).collect()
    };
    let there: BTreeSet<String> = METRICS.iter().flat_map(samples).collect();
    found.extend(used.difference(&there).map(|name| format!("{name} is used, and not written")));
    for metric in METRICS {
        let shown = samples(metric).iter().any(|name| used.contains(name));
        let reason = NOT_SHOWN.iter().find(|(name, _)| *name == metric.name);
        match (shown, reason) {
            (false, None) => found.push(format!("{} is in neither dashboard nor alerts", metric.name)),
            (true, Some(_)) => found.push(format!("{} is shown: take it out of NOT_SHOWN", metric.name)),
            _ => {}
        }
    }
    let names = NOT_SHOWN.iter().filter(|(name, _)| METRICS.iter().all(|metric| metric.name != *name));
    found.extend(names.map(|(name, _)| format!("{name} is no metric: take it out of NOT_SHOWN")));
    none("metrics in dashboard and alerts", found);
}

#[test]
fn the_dashboard_can_be_provisioned() {
    let dashboard = parsed(DASHBOARD);
    assert!(dashboard["id"].is_null() && dashboard["uid"] == "hydraneckwebrtc", "what provisioning needs");
    assert!(dashboard.get("__inputs").is_none(), "only an import by hand asks for inputs");
    let panels = dashboard["panels"].as_sequence().expect("panels");
    let ids: BTreeSet<u64> = panels.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    assert_eq!(ids.len(), panels.len(), "each panel has an id of its own");
    let mut sources = Vec::new();
    strings(&dashboard["panels"], "uid", &mut sources);
    assert!(sources.iter().all(|uid| *uid == "${DS_PROMETHEUS}"), "{sources:?}");
    let mut found = Vec::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        let at = &panel["gridPos"];
        let right = at["x"].as_u64().expect("x") + at["w"].as_u64().expect("w");
        if right > 24 || panel["description"].as_str().is_none_or(str::is_empty) {
            found.push(format!("{:?}: is too wide, or says nothing", panel["title"]));
        }
    }
    none("panels", found);
}

/// Runs promtool. `None`: there is none here, which is said.
fn promtool(arguments: &[&str]) -> Option<(bool, String)> {
    let Ok(output) = Command::new("promtool").args(arguments).output() else {
        println!("skipped: no promtool (apt-get install prometheus)");
        return None;
    };
    let said = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&said).into_owned()))
}

fn at_root(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

// SPEC 9 metrics: Each alert fires in its case and is silent in another; with the real program and
// a real Prometheus none holds while all is well, and those hold whose state is made: fleet full,
// crashes, worker killed, outbox stuck, dead letters, no WireGuard, controller away, disk full,
// descriptors nearly out, streamer gone
// Also: `alerts_are_silent_while_all_is_well_and_hold_when_it_is_not`,
// `a_worker_in_trouble_of_every_kind_has_an_alert_for_each`
#[test]
fn each_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() {
    let tests = parsed(ALERTS_TEST);
    let cases = tests["tests"].as_sequence().expect("tests").iter();
    let cases: Vec<&Value> =
        cases.filter_map(|test| test["alert_rule_test"].as_sequence()).flatten().collect();
    let alerts = parsed(ALERTS);
    let rules = alerts["groups"][0]["rules"].as_sequence().expect("rules");
    let mut found = Vec::new();
    for rule in rules {
        let expected = |fires: bool| {
            cases.iter().any(|case| {
                let alerts = case["exp_alerts"].as_sequence().is_some_and(|alerts| !alerts.is_empty());
                case["alertname"] == rule["alert"] && alerts == fires
            })
        };
        if !expected(true) || !expected(false) {
            found.push(format!("{:?}", rule["alert"]));
        }
    }
    none("alerts without their two cases", found);
    if let Some((fine, said)) = promtool(&["test", "rules", &at_root(ALERTS_TEST)]) {
        assert!(fine, "{said}");
    }
}

#[test]
fn prometheus_understands_every_expression() {
    if let Some((fine, said)) = promtool(&["check", "rules", "--lint=all", &at_root(ALERTS)]) {
        assert!(fine, "{said}");
    }
    let rules: Vec<serde_json::Value> = (expressions(DASHBOARD).into_iter().enumerate())
        .map(|(number, text)| serde_json::json!({"record": format!("dashboard:{number}"), "expr": text}))
        .collect();
    // JSON is YAML.
    let document = serde_json::json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let file = std::env::temp_dir().join(format!("neck-dashboard-{}.yaml", std::process::id()));
    std::fs::write(&file, document.to_string()).expect("a file");
    let checked = promtool(&["check", "rules", &file.to_string_lossy()]);
    let _ = std::fs::remove_file(&file);
    if let Some((fine, said)) = checked {
        assert!(fine && said.contains(&format!("{} rules found", rules.len())), "{said}");
    }
}
