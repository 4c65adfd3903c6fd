// The controller: logging in and out, the stream of events, what an operator does.

/** The stream says something every five seconds; after twice that the page says how old it is. */
const STALE_MS = 10_000;

const BASE = "_neck/operator/";

let stream = null;
let retry = 0;

/** Asks; `null`: nobody answers. Somebody who is logged out sees where to log in. */
async function ask(method, path, headers = {}) {
    try {
        const reply = await fetch(BASE + path, { method, cache: "no-store", credentials: "same-origin", headers: { "X-Neck-Operator": "1", ...headers } });
        if (reply.status === 401 && path !== "login") {
            showLogin();
        }
        return reply;
    } catch {
        return null;
    }
}

function showLogin(words = "") {
    hangUp();
    for (const dialog of document.querySelectorAll("dialog[open]")) {
        dialog.close();
    }
    byId("app").hidden = true;
    byId("entry").hidden = false;
    put(byId("refused"), words);
    byId("token").focus();
}

async function logIn(event) {
    event.preventDefault();
    const token = byId("token").value.trim();
    // A header carries bytes.
    const bytes = String.fromCharCode(...new TextEncoder().encode(token));
    const reply = await ask("POST", "login", { Authorization: `Bearer ${bytes}` });
    if (reply?.status === 204) {
        byId("token").value = "";
        put(byId("refused"), "");
        follow();
    } else {
        const wait = reply?.headers.get("Retry-After");
        put(byId("refused"), reply === null ? say("login.unreached") : wait ? say("login.wait", { seconds: wait }) : say("login.wrong"));
        byId("token").select();
    }
}

async function logOut() {
    await ask("POST", "logout");
    fleet.workers.clear();
    fleet.sessions.clear();
    Object.assign(fleet, { head: null, ends: [], history: [] });
    showLogin();
}

function hangUp() {
    stream?.close();
    stream = null;
    clearTimeout(retry);
}

function follow() {
    hangUp();
    byId("entry").hidden = true;
    byId("app").hidden = false;
    // A row has its height only where it is shown.
    measure();
    fleet.heard = performance.now();
    stream = new EventSource(`${BASE}events`);
    stream.addEventListener("fleet", event => {
        learn(JSON.parse(event.data)).forEach(words => announce(words));
        draw();
    });
    for (const name of ["again", "over"]) {
        stream.addEventListener(name, () => later(500));
    }
    stream.addEventListener("error", () => {
        if (stream?.readyState === EventSource.CLOSED) {
            later(2000);
        }
    });
}

/** Looks whether somebody is still logged in, then follows again. */
function later(ms) {
    hangUp();
    retry = setTimeout(async () => {
        const reply = await ask("GET", "login");
        if (reply?.status === 401) {
            showLogin(say("login.over"));
        } else if (reply?.ok) {
            follow();
        } else {
            later(2000);
        }
    }, ms);
}

/** One line for whoever looks: is this how things stand? */
function drawLive() {
    const silent = performance.now() - fleet.heard;
    const isStale = silent > STALE_MS;
    byId("stale").hidden = !isStale;
    if (isStale) {
        put(byId("stale"), say("stale", { time: lasting(silent) }));
    }
    set(byId("live"), "data-live", isStale ? "no" : "yes");
    put(byId("live"), say(isStale ? "live.not" : "live"));
}

/** Does something, and says how that went. */
async function act(method, path, done) {
    const reply = await ask(method, path);
    if (reply?.ok) {
        announce(done);
        return;
    }
    let why = "";
    try {
        const said = await reply.json();
        why = said.detail ?? said.error;
    } catch {
        why = reply ? String(reply.status) : say("login.unreached");
    }
    announce(say("failed", { why }), true);
}

const ACTS = {
    drain: async row => {
        if (await askWhether(say("drain.title", { worker: row.id }), say("drain.text"), say("act.drain"))) {
            await act("POST", `workers/${encodeURIComponent(row.id)}/drain`, say("drain.done", { worker: row.id }));
        }
    },
    undrain: row => act("DELETE", `workers/${encodeURIComponent(row.id)}/drain`, say("undrain.done", { worker: row.id })),
    forget: async row => {
        if (await askWhether(say("forget.title", { worker: row.id }), say("forget.text"), say("act.forget"))) {
            await act("DELETE", `workers/${encodeURIComponent(row.id)}`, say("forget.done", { worker: row.id }));
        }
    },
    end: async row => {
        if (await askWhether(say("end.title", { session: row.short }), say("end.text", { body: row.body }), say("act.end"))) {
            byId("details").close();
            await act("DELETE", `sessions/${row.id}`, say("end.done", { session: row.short }));
        }
    },
    sessions: row => {
        Object.assign(view, { tab: "sessions", worker: row.id, state: "", q: "" });
        changed();
    },
};
