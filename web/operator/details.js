// One session, with all that its worker knows of it: what support needs to answer "why did my stream stop?".

let opened = null;

async function openDetails(row) {
    opened = row;
    put(byId("details-title"), say("details.title", { session: row.short }));
    byId("details-body").replaceChildren(make("p", "soft", {}, say("details.asked")));
    if (!byId("details").open) {
        byId("details").showModal();
    }
    const reply = await ask("GET", `sessions/${row.id}`);
    if (opened !== row) {
        return;
    }
    const facts = reply?.ok ? await reply.json() : null;
    if (opened === row) {
        byId("details-body").replaceChildren(...facts ? detailsOf(row, facts) : [make("p", "error", {}, say("details.none"))]);
    }
}

function detailsOf(row, facts) {
    const pairs = [
        ["column.state", sayOf("state", facts.status)],
        ["fact.reason", facts.reason && sayOf("reason", facts.reason)],
        ["fact.age", lasting(facts.age_seconds * 1000)],
        ["fact.body", facts.body_ip],
        ["column.worker", facts.worker_id],
        ["fact.experience", facts.experience],
        ["fact.district", facts.district],
        ["fact.engine", facts.engine],
        ["fact.viewers", NUMBER.format(facts.connections)],
        ["fact.restarts", facts.restarts == null ? null : NUMBER.format(facts.restarts)],
        ["fact.failure", facts.failure && (facts.failure.detail ?? facts.failure.error)],
    ].filter(([, value]) => value);
    const list = make("dl", "", {}, ...pairs.map(([key, value]) => make("div", "", {}, make("dt", "", {}, say(key)), make("dd", "", {}, String(value)))));
    const parts = [list];
    if (facts.warnings?.length) {
        parts.push(make("h3", "", {}, say("details.warnings")), make("ul", "", {}, ...facts.warnings.map(words => make("li", "", {}, words))));
    }
    if (facts.timeline?.entries?.length) {
        parts.push(make("h3", "", {}, say("details.timeline")), timelineOf(facts.timeline));
    }
    if (facts.log?.length) {
        parts.push(make("h3", "", {}, say("details.log")), make("pre", "", { tabindex: "0", "aria-label": say("details.log") }, facts.log.join("\n")));
    }
    if (fleet.sessions.has(row.id)) {
        parts.push(make("div", "actions", {}, button("main danger", say("act.end"), () => ACTS.end(row))));
    }
    return parts;
}

function timelineOf(timeline) {
    const list = make("ol", "timeline");
    for (const entry of timeline.entries) {
        const time = make("time", "", { datetime: new Date(entry.at_unix_ms).toISOString() }, CLOCK_WITH_SECONDS.format(entry.at_unix_ms));
        list.append(make("li", entry.event, {}, time, make("span", "", {}, wordsOf(entry))));
    }
    if (timeline.peak) {
        const words = say("event.peak", { count: NUMBER.format(timeline.peak.connections), time: CLOCK_WITH_SECONDS.format(timeline.peak.at_unix_ms) });
        return make("div", "", {}, list, make("p", "soft", {}, words));
    }
    return list;
}

function wordsOf(entry) {
    const more = parts => parts.filter(Boolean).join(", ");
    switch (entry.event) {
        case "status":
            return more([sayOf("state", entry.status), entry.reason && sayOf("reason", entry.reason)]);
        case "restart":
            return say("event.restart", { number: entry.number, why: entry.why });
        case "interruption":
            return more([say("event.interruption", { number: entry.number }), entry.why, entry.pair, entry.rtt_ms && `${entry.rtt_ms} ms`]);
        default:
            return entry.event;
    }
}
