// A real controller whose workers are only said to be there: their heartbeats come from here.
import { randomBytes } from "node:crypto";
import http from "node:http";
import { until } from "./browser.mjs";
import { startRole } from "./role.mjs";

/** A controller with a page for operators. `worker(name)` makes a worker that beats until it is told otherwise. */
export async function startFleet({ interval = 500, timeout = "5s" } = {}) {
    const controller = await startRole("controller", () => ({
        server: { operator_listen: "127.0.0.1:0" }, workers: { heartbeat_interval: `${interval}ms`, heartbeat_timeout: timeout },
    }));
    // What the controller finds when it calls one of them.
    const answers = http.createServer((request, reply) => { reply.writeHead(200, { "Content-Type": "application/json" }).end("{}"); });
    await new Promise(done => answers.listen(0, "127.0.0.1", done));
    const workers = [];
    const fleet = { ...controller };
    fleet.stop = async () => {
        workers.forEach(worker => worker.die());
        answers.close();
        answers.closeAllConnections();
        await controller.stop();
    };
    fleet.kill = () => controller.signal("SIGKILL");
    const boot = Date.now();
    fleet.worker = (name, facts = {}) => {
        const worker = { name, max: 8, wireguard: true, sessions: [], hindrances: [], seq: 0, alive: true, draining: false, drainLeft: 300_000, ...facts };
        const beat = async () => {
            const body = {
                worker_id: name, generation: { boot_ms: boot, nonce: workers.indexOf(worker) + 1 }, seq: worker.seq += 1, url: null,
                port: answers.address().port, tls: false, version: "0.1.0", max: worker.max, wireguard: worker.wireguard,
                draining: worker.draining, stopping: false, status: worker.hindrances.length ? "degraded" : "ok", interval_ms: worker.interval ?? interval,
                hindrances: worker.hindrances, sessions: worker.sessions.map(asOfNow), ...worker.draining ? { drain_left_ms: worker.drainLeft } : {},
            };
            const { json } = await fleet.api("POST", "/api/v1/workers/heartbeat", body);
            worker.draining = json?.draining ?? worker.draining;
            for (const { session_id, reason } of json?.end ?? []) {
                worker.sessions.filter(each => each.id === session_id).forEach(each => Object.assign(each, { status: "ended", reason, ended: Date.now() }));
            }
            return json;
        };
        /** Beats now, without waiting for the turn. */
        worker.beat = () => worker.alive ? beat().catch(() => null) : null;
        worker.timer = setInterval(worker.beat, worker.interval ?? interval);
        worker.die = () => { worker.alive = false; clearInterval(worker.timer); };
        workers.push(worker);
        return worker;
    };
    try {
        fleet.page = `http://${await until("its page", async () => (await fleet.api("GET", "/api/v1/health")).json?.extra?.operators_page)}/`;
    } catch (error) {
        await fleet.stop();
        throw error;
    }
    return fleet;
}

/** It grows older; once it has ended it only began longer ago. */
function asOfNow({ born, ended, ...brief }) {
    const now = Date.now();
    return { ...brief, started_ms_ago: now - born, age_ms: (ended ?? now) - born };
}

/** A session as a worker lists it. */
export function session(number, facts = {}) {
    return {
        id: randomBytes(16).toString("hex"), body: `10.10.${number >> 8 & 255}.${number & 255}`, status: "streaming", reason: null, born: Date.now() - 60_000 - number * 977,
        connections: 1, experience: ["Desktop", "Space Explorer", "Anatomy Atlas"][number % 3], district: "Rotterdam",
        facts: { engine: "moonlight", mic: number % 4 === 0, interruptions: number % 7 === 0 ? 2 : 0, warning: null, ...facts.facts }, ...facts,
    };
}

/** Opens the page and logs in. */
export async function logIn(page, fleet, hash = "") {
    await page.goto(fleet.page + hash);
    await page.locator("#token").fill(fleet.token);
    await page.locator("#login button").click();
    await page.locator("#app").waitFor();
}
