// What stands above the table: capacity, curves, problems.

const SVG = "http://www.w3.org/2000/svg";

/** Slots by what becomes of them. */
function slots() {
    const sum = { active: 0, starting: 0, free: 0, closed: 0, away: 0 };
    for (const row of fleet.workers.values()) {
        const used = row.active + row.starting;
        if (row.state === "down" || row.state === "unreachable") {
            sum.away += Math.max(row.max, used);
            continue;
        }
        sum.active += row.active;
        sum.starting += row.starting;
        const left = Math.max(0, row.max - used);
        const takes = row.state === "up" && row.troubles.length === 0;
        sum[takes ? "free" : "closed"] += left;
    }
    return sum;
}

function drawCapacity() {
    const sum = slots();
    const all = Object.values(sum).reduce((a, b) => a + b, 0);
    put(byId("capacity-words"), say("capacity.words", { active: NUMBER.format(sum.active), all: NUMBER.format(all), free: NUMBER.format(sum.free) }));
    const bar = byId("capacity-bar");
    const legend = byId("capacity-legend");
    const parts = Object.entries(sum);
    if (bar.children.length === 0) {
        bar.append(...parts.map(([name]) => make("span", `part ${name}`)));
        legend.append(...parts.map(([name]) => make("li", name)));
    }
    const words = parts.map(([name, count]) => say(`slots.${name}`, { count: NUMBER.format(count) }));
    parts.forEach(([, count], index) => {
        bar.children[index].style.flexGrow = String(count);
        put(legend.children[index], words[index]);
        legend.children[index].hidden = count === 0 && index !== 0 && index !== 2;
    });
    set(bar, "aria-label", words.filter((_, index) => parts[index][1] > 0).join(", ") || say("slots.none"));
}

const CURVES = [["curve.active", 0, false], ["curve.created", 1, true], ["curve.failed", 2, true]];

/** Points drawn: one for each dozen of an hour's, its highest for what lives, its sum for what is counted. */
function thinned(place, isCounted) {
    const points = [];
    for (let at = fleet.history.length; at > 0; at -= 12) {
        const some = fleet.history.slice(Math.max(0, at - 12), at).map(point => point[place]);
        points.unshift(isCounted ? some.reduce((a, b) => a + b, 0) : Math.max(...some));
    }
    // One point alone is no line.
    return points.length === 1 ? [points[0], points[0]] : points;
}

function drawCurves() {
    const box = byId("curves");
    if (box.children.length === 0) {
        for (const [key] of CURVES) {
            const svg = document.createElementNS(SVG, "svg");
            svg.setAttribute("viewBox", "0 0 60 24");
            svg.setAttribute("preserveAspectRatio", "none");
            svg.setAttribute("role", "img");
            svg.append(document.createElementNS(SVG, "path"), document.createElementNS(SVG, "polyline"));
            box.append(make("figure", key.split(".")[1], {}, make("figcaption", "", {}, make("span", "", {}, say(key)), make("b")), svg));
        }
    }
    CURVES.forEach(([key, place, isCounted], index) => {
        const points = thinned(place, isCounted);
        const most = Math.max(1, ...points);
        const values = fleet.history.map(point => point[place]);
        const total = isCounted ? values.reduce((a, b) => a + b, 0) : fleet.head?.active ?? 0;
        const figure = box.children[index];
        const [, svg] = figure.children;
        const at = points.map((value, step) => `${60 - (points.length - 1 - step) * 60 / 59},${(23 - 22 * value / most).toFixed(2)}`);
        svg.children[1].setAttribute("points", at.join(" "));
        svg.children[0].setAttribute("d", at.length ? `M${at[0].split(",")[0]},24 L${at.join(" L")} L60,24 Z` : "");
        put(figure.querySelector("b"), NUMBER.format(total));
        set(svg, "aria-label", say("curve.words", { what: say(key), now: NUMBER.format(total), most: NUMBER.format(most) }));
    });
}

function drawProblems() {
    const head = fleet.head;
    const problems = [...head?.problems ?? []];
    if (head?.closing) {
        problems.unshift(say("closing"));
    }
    if (head?.settling) {
        problems.unshift(say("settling"));
    }
    const list = byId("problem-list");
    byId("problems").hidden = problems.length === 0;
    while (list.children.length > problems.length) {
        list.lastChild.remove();
    }
    problems.forEach((words, index) => {
        if (!list.children[index]) {
            list.append(make("li"));
        }
        put(list.children[index], words);
    });
    // What scrolls is reached by the keyboard.
    set(list, "tabindex", list.scrollHeight > list.clientHeight + 1 ? "0" : null);
}
