// Puts the parts together: words, tabs, filters, and one drawing a frame however many events come.

let frame = 0;

function draw() {
    frame ||= requestAnimationFrame(() => {
        frame = 0;
        drawCapacity();
        drawCurves();
        drawProblems();
        drawTabs();
        drawLive();
        showFound();
    });
}

function showFound() {
    const rows = shownRows();
    const all = { workers: fleet.workers.size, sessions: fleet.sessions.size, ends: fleet.ends.length }[view.tab];
    const words = rows.length === all ? "" : say("found", { count: NUMBER.format(rows.length), all: NUMBER.format(all) });
    put(byId("found"), all === 0 ? say(`none.${view.tab}`) : words);
    showRows(rows);
}

function drawTabs() {
    const counts = { workers: fleet.workers.size, sessions: fleet.sessions.size, ends: fleet.ends.length };
    const tabs = byId("tabs");
    if (tabs.children.length === 0) {
        tabs.append(...TABS.map(tab => button("tab", "", () => {
            Object.assign(view, { tab, state: "", worker: tab === "workers" ? "" : view.worker });
            changed();
        })));
        set(tabs, "aria-label", say("tabs"));
    }
    TABS.forEach((tab, index) => {
        put(tabs.children[index], `${say(`tab.${tab}`)} ${NUMBER.format(counts[tab])}`);
        set(tabs.children[index], "aria-current", tab === view.tab ? "page" : null);
    });
}

/** What is looked for is another thing now. */
function changed() {
    writeHash();
    if (!table.element?.classList.contains(view.tab)) {
        openTable();
        fillStates();
    }
    byId("search").value = view.q;
    byId("state").value = view.state;
    byId("only").hidden = !view.worker || view.tab === "workers";
    put(byId("only"), say("only", { worker: view.worker }));
    draw();
}

function fillStates() {
    const [kind, codes] = {
        workers: ["worker", ORDER],
        sessions: ["state", ["requested", "preparing", "starting", "pairing", "ready", "streaming", "idle", "ending", "moving", "down"]],
        ends: ["reason", Object.keys(TABLES.en).filter(key => key.startsWith("reason.")).map(key => key.slice(7))],
    }[view.tab];
    byId("state").replaceChildren(make("option", "", { value: "" }, say("filter.all")),
        ...codes.map(code => make("option", "", { value: code }, sayOf(kind, code))));
}

function speak() {
    speakPage();
    document.title = `${say("login.title")} · hydraneckwebrtc`;
    byId("search").placeholder = say("search");
}

function listen() {
    byId("login").addEventListener("submit", logIn);
    byId("logout").addEventListener("click", logOut);
    byId("search").addEventListener("input", event => { view.q = event.target.value; changed(); });
    byId("state").addEventListener("change", event => { view.state = event.target.value; changed(); });
    byId("only").addEventListener("click", () => { view.worker = ""; changed(); byId("search").focus(); });
    byId("sure-yes").addEventListener("click", () => byId("sure").close("yes"));
    byId("sure-no").addEventListener("click", () => byId("sure").close("no"));
    byId("details-close").addEventListener("click", () => byId("details").close());
    byId("details").addEventListener("close", () => { opened = null; });
    addEventListener("hashchange", () => { readHash(); changed(); });
    addEventListener("scroll", drawRows, { passive: true });
    addEventListener("resize", () => { measure(); draw(); });
    document.addEventListener("keydown", event => {
        const isWriting = event.target.closest?.("input, select, textarea, dialog");
        if (event.key === "/" && !isWriting) {
            event.preventDefault();
            byId("search").focus();
        } else {
            moveFocus(event);
        }
    });
    // A hidden page holds none of the few connections that a browser makes to one host.
    document.addEventListener("visibilitychange", () => {
        if (byId("app").hidden) {
            return;
        }
        if (document.hidden) {
            hangUp();
        } else {
            follow();
        }
    });
    // Ages go on.
    setInterval(() => {
        if (!document.hidden && !byId("app").hidden) {
            drawLive();
            drawRows();
        }
    }, 1000);
}

speak();
listen();
readHash();
changed();
ask("GET", "login").then(reply => {
    if (reply?.ok) {
        follow();
    } else {
        showLogin(reply === null ? say("login.unreached") : "");
    }
});
