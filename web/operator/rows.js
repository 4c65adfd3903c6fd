// The table: however many rows there are, only those in sight are elements. A row's element stays the same while it is shown, and
// the one with the focus stays even out of sight.

/** Rows beyond the window, so that the focus finds the next one and scrolling shows no gap. */
const BEYOND = 8;

const WORKER_COLUMNS = [
    ["name", "column.worker", row => ({ strong: row.id, soft: `${row.version} · ${row.source}` })],
    ["state", "column.state", row => ({ pill: row.state, words: sayOf("worker", row.state), soft: sinceOf(row) })],
    ["load", "column.load", row => ({ meter: [row.active + row.starting, row.max], soft: loadOf(row) })],
    ["more", "column.more", row => ({ soft: [say(row.wireguard ? "wireguard.up" : "wireguard.down"),
        row.late ? say("late", { count: NUMBER.format(row.late) }) : "", row.proved ? "" : say("unproved")].filter(Boolean).join(" · ") })],
    ["note", "column.trouble", row => ({ trouble: row.troubles.length > 0, soft: troubleOf(row) })],
    ["doing", "column.act", row => ({ acts: [
        row.state === "down" ? ["forget", row] : row.drain ? ["undrain", row] : ["drain", row], ["sessions", row]] })],
];

const SESSION_COLUMNS = [
    ["name", "column.session", row => ({ opens: row, strong: row.short, soft: row.experience ?? "" })],
    ["state", "column.state", row => ({ pill: row.ending ? "ending" : row.state,
        words: row.ending ? say("state.ending") : sayOf("state", row.state), soft: lasting(fleetNow() - row.since) })],
    ["load", "column.where", row => ({ soft: `${row.body} · ${row.worker}` })],
    ["more", "column.people", row => ({ soft: [say("viewers", { count: NUMBER.format(row.connections) }), row.mic ? say("mic.on") : "",
        row.interruptions ? say("interruptions", { count: NUMBER.format(row.interruptions) }) : "", row.engine ?? ""]
        .filter(Boolean).join(" · ") })],
    ["note", "column.trouble", row => ({ trouble: Boolean(row.warning), soft: row.warning ?? "" })],
    ["doing", "column.act", row => ({ acts: [["end", row]] })],
];

const END_COLUMNS = [
    ["name", "column.session", row => ({ strong: row.id, soft: row.experience ?? "" })],
    ["state", "column.reason", row => ({ pill: row.reason === "crashed" || row.reason === "create_failed" ? "down" : "ended",
        words: sayOf("reason", row.reason ?? "unknown"), soft: say("ago", { time: lasting(fleetNow() - row.at) }) })],
    ["load", "column.where", row => ({ soft: `${row.body} · ${row.worker}` })],
    ["more", "column.lived", row => ({ soft: lasting(row.lived) })],
    ["note", "column.trouble", row => ({ trouble: Boolean(row.warning), soft: row.warning ?? "" })],
];

const TABLES_OF = { workers: WORKER_COLUMNS, sessions: SESSION_COLUMNS, ends: END_COLUMNS };

function sinceOf(row) {
    return row.drains_until ? say("ends.by", { time: CLOCK.format(row.drains_until) }) : say("since", { time: lasting(fleetNow() - row.since) });
}

function loadOf(row) {
    const load = say("load", { count: NUMBER.format(row.active), max: NUMBER.format(row.max) });
    return row.starting ? `${load}, ${say("load.starting", { count: NUMBER.format(row.starting) })}` : load;
}

function troubleOf(row) {
    if (row.troubles.length) {
        return row.troubles.join("; ");
    }
    const [at, text] = row.failure ?? [];
    return text ? `${say("ago", { time: lasting(fleetNow() - at) })}: ${text}` : "";
}

/** A cell's elements, made once. */
function makeCell(area, filled) {
    const cell = make("div", `cell ${area}`, { role: "cell" });
    cell.parts = {};
    const add = (name, element) => { cell.parts[name] = element; cell.append(element); };
    if (filled.opens) {
        add("strong", make("button", "open", { type: "button" }));
    } else if ("strong" in filled) {
        add("strong", make("span", "strong"));
    }
    if (filled.pill) {
        add("pill", make("span", "pill"));
    }
    if (filled.meter) {
        add("meter", make("span", "meter", {}, make("span")));
    }
    if ("soft" in filled) {
        add("soft", make("span", "soft"));
    }
    if (filled.acts) {
        add("acts", make("span", "acts"));
    }
    return cell;
}

function fillCell(cell, filled) {
    const { strong, pill, meter, soft, acts } = cell.parts;
    if (strong) {
        put(strong, filled.strong);
        if (filled.opens) {
            set(strong, "aria-label", say("open", { session: filled.strong }));
            strong.onclick = () => openDetails(filled.opens);
        } else {
            set(strong, "title", filled.strong);
        }
    }
    if (pill) {
        set(pill, "data-state", filled.pill);
        put(pill, filled.words);
    }
    if (meter) {
        const [value, most] = filled.meter;
        meter.firstChild.style.width = `${most ? Math.min(100, 100 * value / most) : 0}%`;
        set(meter, "data-full", most > 0 && value >= most ? "yes" : null);
    }
    if (soft) {
        put(soft, filled.soft);
        set(soft, "title", filled.soft.length > 24 ? filled.soft : null);
        cell.classList.toggle("trouble", Boolean(filled.trouble));
    }
    if (acts) {
        fillActs(acts, filled.acts);
    }
}

function fillActs(acts, wanted) {
    const names = wanted.map(([name]) => name).join(" ");
    if (acts.dataset.names !== names) {
        acts.dataset.names = names;
        acts.replaceChildren(...wanted.map(([name]) => make("button", "act", { type: "button" }, say(`act.${name}`))));
    }
    wanted.forEach(([name, row], index) => {
        const element = acts.children[index];
        element.onclick = () => ACTS[name](row);
        set(element, "aria-label", say(`act.${name}.of`, { name: row.short ?? row.id }));
    });
}

/** The table that is shown. */
const table = { element: null, body: null, columns: null, rows: [], elements: new Map(), height: 52 };

function openTable() {
    const columns = TABLES_OF[view.tab];
    const head = make("div", "row head", { role: "row" },
        ...columns.map(([area, key]) => make("div", `cell ${area}`, { role: "columnheader" }, say(key))));
    table.body = make("div", "body", { role: "rowgroup" });
    table.element = make("div", `rows ${view.tab}`, { role: "table", "aria-label": say(`tab.${view.tab}`) },
        make("div", "", { role: "rowgroup" }, head), table.body);
    Object.assign(table, { columns, rows: [], elements: new Map() });
    byId("table").replaceChildren(table.element);
    measure();
}

function measure() {
    const probe = make("div", "row", { "aria-hidden": "true" });
    table.body.append(probe);
    table.height = probe.offsetHeight || table.height;
    probe.remove();
}

function showRows(rows) {
    table.rows = rows;
    set(table.element, "aria-rowcount", String(rows.length + 1));
    table.body.style.height = `${rows.length * table.height}px`;
    drawRows();
}

/** Draws what is in sight. */
function drawRows() {
    if (!table.body) {
        return;
    }
    const top = -table.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / table.height) - BEYOND);
    const last = Math.min(table.rows.length, Math.ceil((top + innerHeight) / table.height) + BEYOND);
    const focused = document.activeElement?.closest?.(".row[data-id]")?.dataset.id;
    const wanted = new Map();
    for (let index = first; index < last; index += 1) {
        wanted.set(table.rows[index].id, index);
    }
    if (focused && !wanted.has(focused)) {
        const index = table.rows.findIndex(row => row.id === focused);
        if (index >= 0) {
            wanted.set(focused, index);
        }
    }
    // Who scrolls fast sees all others in each frame: the elements of those that are gone become theirs.
    const spare = [];
    for (const [id, element] of table.elements) {
        if (!wanted.has(id)) {
            spare.push(element);
            table.elements.delete(id);
        }
    }
    for (const [id, index] of wanted) {
        drawRow(id, index, spare);
    }
    spare.forEach(element => element.remove());
}

function drawRow(id, index, spare = []) {
    const row = table.rows[index];
    const filled = table.columns.map(([, , fill]) => fill(row));
    let element = table.elements.get(id);
    if (!element) {
        element = spare.pop();
        if (!element) {
            element = make("div", "row", { role: "row" }, ...table.columns.map(([area], at) => makeCell(area, filled[at])));
            table.body.append(element);
        }
        element.dataset.id = id;
        table.elements.set(id, element);
    }
    set(element, "aria-rowindex", String(index + 2));
    const place = `translateY(${index * table.height}px)`;
    if (element.style.transform !== place) {
        element.style.transform = place;
    }
    filled.forEach((each, at) => fillCell(element.children[at], each));
}

/** Arrow keys go from row to row. */
function moveFocus(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const here = step && event.target.closest?.(".row[data-id]");
    if (!here) {
        return;
    }
    const index = table.rows.findIndex(row => row.id === here.dataset.id) + step;
    const next = table.rows[index];
    if (!next) {
        return;
    }
    event.preventDefault();
    drawRow(next.id, index);
    const place = [...here.querySelectorAll("button")].indexOf(event.target);
    const buttons = table.elements.get(next.id).querySelectorAll("button");
    (buttons[place] ?? buttons[0])?.focus({ preventScroll: true });
    table.elements.get(next.id).scrollIntoView({ block: "nearest" });
}
