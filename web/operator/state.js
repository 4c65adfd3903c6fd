// What is known of the fleet, as the events tell it, and what of it the person wants to see.

const fleet = { head: null, workers: new Map(), sessions: new Map(), ends: [], history: [], ahead: 0, heard: 0 };

/** Points of an hour; the controller keeps as many. */
const HOUR = 720;

/** The controller's time. */
const fleetNow = () => Date.now() + fleet.ahead;

const textOf = row => Object.values(row).filter(value => typeof value === "string" || typeof value === "number").join(" ").toLowerCase();

/** Takes an event. What it says of workers' states is told too. */
function learn(message) {
    fleet.heard = performance.now();
    fleet.ahead = message.now - Date.now();
    const news = [];
    if (message.full) {
        fleet.workers.clear();
        fleet.sessions.clear();
        fleet.history = message.history ?? [];
    }
    fleet.head = message.head ?? fleet.head;
    for (const row of message.workers ?? []) {
        const before = fleet.workers.get(row.id);
        if (before && before.state !== row.state) {
            news.push(say("news.worker", { worker: row.id, state: sayOf("worker", row.state) }));
        }
        row.text = textOf(row);
        fleet.workers.set(row.id, row);
    }
    for (const row of message.sessions ?? []) {
        row.short = row.id.slice(0, 8);
        row.text = textOf(row);
        fleet.sessions.set(row.id, row);
    }
    (message.gone_workers ?? []).forEach(id => fleet.workers.delete(id));
    (message.gone ?? []).forEach(id => fleet.sessions.delete(id));
    if (message.ends) {
        fleet.ends = message.ends;
        fleet.ends.forEach(row => { row.text = textOf(row); });
    }
    if (message.point) {
        fleet.history = [...fleet.history, message.point].slice(-HOUR);
    }
    return news;
}

/** What the address after `#` says: it can be sent to a colleague. */
const view = { tab: "workers", q: "", state: "", worker: "" };
const TABS = ["workers", "sessions", "ends"];

function readHash() {
    const given = new URLSearchParams(location.hash.slice(1));
    for (const name of Object.keys(view)) {
        view[name] = given.get(name) ?? "";
    }
    view.tab = TABS.includes(view.tab) ? view.tab : "workers";
}

function writeHash() {
    const kept = Object.entries(view).filter(([name, value]) => value !== "" && (name !== "tab" || value !== "workers"));
    const hash = kept.length ? `#${new URLSearchParams(kept)}` : "";
    if (hash !== location.hash) {
        history.replaceState(null, "", hash || location.pathname + location.search);
    }
}

/** Troubled workers first: they are what an operator looks for. */
const ORDER = ["down", "unreachable", "late", "stopping", "draining", "up"];

function shownRows() {
    const words = view.q.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const found = row => words.every(word => row.text.includes(word));
    if (view.tab === "workers") {
        const rows = [...fleet.workers.values()].filter(row => found(row) && (!view.state || row.state === view.state));
        const rank = row => ORDER.indexOf(row.state) - (row.troubles.length ? ORDER.length : 0);
        return rows.sort((a, b) => rank(a) - rank(b) || (a.id < b.id ? -1 : 1));
    }
    const wanted = row => found(row) && (!view.worker || row.worker === view.worker);
    if (view.tab === "ends") {
        return fleet.ends.filter(row => wanted(row) && (!view.state || row.reason === view.state));
    }
    const rows = [];
    for (const row of fleet.sessions.values()) {
        if (wanted(row) && (!view.state || row.state === view.state)) {
            rows.push(row);
        }
    }
    return rows.sort((a, b) => b.since - a.since || (a.id < b.id ? -1 : 1));
}
