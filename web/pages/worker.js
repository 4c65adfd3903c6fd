// What a worker says of itself, as everybody may ask it. It takes no token: pages of sessions are of this origin, and their scripts
// could read along. Whoever wants more asks `hydraneckwebrtc sessions`, or the operators' page of the controller.
const sayOf = key => (WORKER_WORDS[language] ?? WORKER_WORDS.en)[key] ?? key;
const byId = id => document.getElementById(id);
for (const element of document.querySelectorAll("[data-say]")) {
    element.textContent = sayOf(element.dataset.say);
}

const cellsOf = (session, names) => {
    const row = document.createElement("tr");
    for (const name of names) {
        const cell = document.createElement("td");
        cell.textContent = String(session[name] ?? "");
        row.append(cell);
    }
    return row;
};

let timer = 0;
const lookAtHealth = async () => {
    clearTimeout(timer);
    if (!byId("own").open || document.hidden) {
        return;
    }
    try {
        const reply = await fetch("api/v1/health", { cache: "no-store" });
        const { status, version, extra } = await reply.json();
        byId("health").textContent = `${sayOf(status)} · ${version} · ${extra.uptime}`;
        byId("load").textContent = `${extra.active_sessions} / ${extra.max_sessions}${extra.draining ? ` · ${sayOf("draining")}` : ""}`;
        byId("problems").replaceChildren(...extra.problems.map(words => {
            const item = document.createElement("li");
            item.textContent = words;
            return item;
        }));
        const names = ["id", "status", "engine", "body_ip", "active_connections", "age"];
        byId("sessions").hidden = extra.sessions.length === 0;
        byId("rows").replaceChildren(...extra.sessions.map(session => cellsOf(session, names)));
    } catch {
        byId("health").textContent = sayOf("away");
    }
    timer = setTimeout(lookAtHealth, 2000);
};
byId("own").addEventListener("toggle", lookAtHealth);
document.addEventListener("visibilitychange", lookAtHealth);
// Who came from this very machine is who runs it.
byId("own").open = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
